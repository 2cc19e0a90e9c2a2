"""What a swarm trains: the model's definition, and the NumPy reference learner."""
