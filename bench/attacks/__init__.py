"""Liars in a swarm: what each kind costs the others, with each rule of merging."""
