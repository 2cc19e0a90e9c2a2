"""Whom a peer hears in a large swarm: authors have places, and each peer alone chooses a few zones of these. Pure."""
