"""Gaussian noise on a grid of integers, fresh from the operating system, and correlated over time. Pure."""
