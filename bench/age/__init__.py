"""A swarm of any age: what it costs a peer, a newcomer, a returner and a disk."""
