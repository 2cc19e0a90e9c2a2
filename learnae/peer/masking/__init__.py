"""Masked sums: what a member says and waits for, so that totals are seen and no vector alone."""
