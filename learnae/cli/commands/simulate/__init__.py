"""``learnae simulate``: a whole swarm in one process."""
