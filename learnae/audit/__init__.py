"""Attacks on the own rows, offline, before others try them."""
