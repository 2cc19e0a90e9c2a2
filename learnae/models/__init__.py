"""What a swarm trains: the model's definition, losses, optimisers, rows, and the NumPy reference learner."""
