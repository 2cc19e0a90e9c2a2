"""A swarm, and all that goes wrong in it, from one seed; what must hold whatever happens; the least that breaks it."""
