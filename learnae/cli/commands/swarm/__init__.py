"""Make a swarm, and a peer of one."""
