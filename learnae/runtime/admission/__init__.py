"""How a peer comes into a swarm that is not open, and lets others in, over the links of this machine."""
