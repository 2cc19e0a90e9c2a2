"""A peer in a process: its workspace, its links, its run loop; and a swarm seen from outside."""
