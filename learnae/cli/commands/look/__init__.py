"""Show a swarm, and what this machine has for it."""
