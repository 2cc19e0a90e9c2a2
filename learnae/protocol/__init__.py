"""What peers say to each other: identities, signed messages, the tangle, every bound (docs/protocol.md)."""
