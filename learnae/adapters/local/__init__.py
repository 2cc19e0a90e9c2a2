"""Ports on this machine's disk and clock: blocks, heads, state, status, the peer's lock."""
