"""The swarm's task in Flower's simulation engine, as its own documentation has it; run by a Python that has it."""
