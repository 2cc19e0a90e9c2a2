"""The reference learner, in NumPy."""
