"""Waiting: until something that failed is tried again, and until something is so."""

import time
from collections.abc import Callable

_POLL_SECONDS = 0.02


def wait_until(condition: Callable[[], object], seconds: float) -> bool:
    """Look again and again until ``condition`` is true; return False if it is not within some ``seconds``."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


class Backoff:
    """Waits ``least`` seconds after the first failure, doubled after each further one, never more than ``most``.

    ``seconds`` is how long the next wait is.

    >>> backoff = Backoff(least=1.0, most=3.0)
    >>> [backoff.failed() for _ in range(3)]
    [1.0, 2.0, 3.0]
    >>> backoff.succeeded()
    >>> backoff.seconds
    1.0
    """

    def __init__(self, least: float, most: float) -> None:
        self._least = least
        self._most = most
        self.seconds = min(least, most)

    def failed(self) -> float:
        """Return how many seconds to wait now; the next wait is twice as long."""
        wait = self.seconds
        self.seconds = min(self._most, 2 * wait)
        return wait

    def succeeded(self) -> None:
        """Begin with the shortest wait again."""
        self.seconds = min(self._least, self._most)
