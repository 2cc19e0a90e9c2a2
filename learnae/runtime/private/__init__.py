"""Differential privacy of a peer's updates: what it keeps to, its learner, and what others are shown of it."""
