"""Commands about who is in a swarm."""
