"""Contribution profiles: how useful others' weights are to a peer, and what all say of that together."""
