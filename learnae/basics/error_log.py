"""Errors that were met and survived, counted by name: what ``status`` shows as problems."""

import threading
from collections import Counter

from learnae.errors import LearnaeError

_MAX_CHARACTERS = 400  # of an error's text in a status


class ErrorLog:
    """Counts survived errors of a whole process. Safe to use from several threads.

    It is made first and given to the constructors of all parts that meet errors.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._last: dict[str, str] = {}

    def count(self, error: LearnaeError) -> None:
        """Note that ``error`` was met and survived."""
        name = type(error).__name__
        with self._lock:
            self._counts[name] += 1
            self._last[name] = str(error)[:_MAX_CHARACTERS]

    @property
    def counts(self) -> dict[str, int]:
        """Return how many errors were counted, by class name."""
        with self._lock:
            return dict(self._counts)

    @property
    def last(self) -> dict[str, str]:
        """Return the newest error's text, by class name."""
        with self._lock:
            return dict(self._last)
