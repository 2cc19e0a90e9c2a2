"""Content addressing: CIDs, canonical dag-cbor, and checked reading of its fields. Pure; knows nothing of peers."""
