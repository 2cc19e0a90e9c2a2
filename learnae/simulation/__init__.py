"""A whole swarm in one process: ports in memory, a virtual clock, delay, loss, partitions."""
