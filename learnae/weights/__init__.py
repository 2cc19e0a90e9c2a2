"""Weights on their way: codecs, frames, the merge, the consensus estimate. Pure NumPy."""
