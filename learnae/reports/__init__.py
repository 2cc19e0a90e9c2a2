"""What a machine tells its people of a swarm: how good a model is on a file, curves over time, a page."""
