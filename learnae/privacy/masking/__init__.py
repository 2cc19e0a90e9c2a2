"""Sums of vectors that are never seen alone: masks that cancel in the total, and each member's share of its noise."""
