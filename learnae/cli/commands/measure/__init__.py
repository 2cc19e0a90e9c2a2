"""Commands that measure: a model on a file, a swarm over time."""
