"""What went wrong without stopping the peer: counted by name, the last case of each kept."""

from __future__ import annotations

from collections import Counter

from learnae.errors import LearnaeError


class Problems:
    """Counts of named errors, for ``status``."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.last: dict[str, str] = {}

    def count(self, error: LearnaeError) -> None:
        """Note that ``error`` was met and survived."""
        name = type(error).__name__
        self.counts[name] += 1
        self.last[name] = str(error)[:400]


class Traffic:
    """Bytes that this peer has put out for others and taken in from them, in blocks and messages."""

    def __init__(self, bytes_out: int = 0, bytes_in: int = 0) -> None:
        self.bytes_out = bytes_out
        self.bytes_in = bytes_in
