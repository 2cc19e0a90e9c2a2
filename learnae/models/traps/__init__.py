"""Weights that are made to carry single rows away: signs of them, seen before anything is trained on them."""
