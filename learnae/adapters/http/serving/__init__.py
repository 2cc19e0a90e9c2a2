"""The side that answers: a bounded HTTP server, and what of a swarm it gives."""
