"""Machines of one network: beacons and mDNS that give addresses, and codes that are read aloud (docs/codes.md)."""
