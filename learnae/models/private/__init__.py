"""Training whose weights may be seen: with clipped gradients, noise, and a budget for each row."""
