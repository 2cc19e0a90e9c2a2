"""The public Python API: one's own training loop as a peer. ``import learnae`` gives its names (docs/api.md)."""
