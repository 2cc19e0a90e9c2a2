"""``learnae simulate``: a whole swarm in this process, in virtual time."""
