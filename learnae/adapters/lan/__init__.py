"""Machines of one network: beacons and mDNS that give addresses to try, and codes that are read aloud (docs/lan.md)."""
