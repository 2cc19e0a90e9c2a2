"""Learnae: peers with private data train one model together, without a coordinator."""

__version__ = "0.1.0"
