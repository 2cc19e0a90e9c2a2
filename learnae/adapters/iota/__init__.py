"""Gossip and anchors on an IOTA Tangle (docs/iota.md)."""
