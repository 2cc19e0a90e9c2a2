"""One port over several others at once: blocks, gossip, monitors. A link that fails stops no other."""
