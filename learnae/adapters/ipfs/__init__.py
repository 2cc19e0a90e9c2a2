"""Exchange and gossip over a Kubo daemon, and exchange over any trustless gateway (docs/ipfs.md)."""
