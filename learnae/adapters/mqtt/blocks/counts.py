"""Counts of what an exchange has done, for its status."""

from __future__ import annotations

import threading
from collections import Counter


class Counts:
    """Counts events by name. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers: Counter[str] = Counter()

    def add(self, name: str, number: int = 1) -> int:
        """Count ``number`` more events; return how many there were in all."""
        with self._lock:
            self._numbers[name] += number
            return self._numbers[name]

    def __getitem__(self, name: str) -> int:
        with self._lock:
            return self._numbers[name]

    def describe(self) -> str:
        """Return all counts as the status shows them."""
        with self._lock:
            return ", ".join(f"{number} {name}" for name, number in sorted(self._numbers.items())) or "nothing yet"
