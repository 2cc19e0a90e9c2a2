"""How much of something may happen: a token bucket."""

import time
from collections.abc import Callable


class TokenBucket:
    """Allows ``burst`` at once, and ``rate`` a second after that.

    >>> seconds = iter([0.0, 0.0, 0.0, 3.0])
    >>> bucket = TokenBucket(burst=2, rate=1, monotonic=lambda: next(seconds))
    >>> bucket.take(2), bucket.take(), bucket.take()
    (True, False, True)
    """

    def __init__(self, burst: float, rate: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._burst = burst
        self._rate = rate
        self._monotonic = monotonic
        self._left, self._filled = burst, monotonic()

    def take(self, amount: float = 1.0) -> bool:
        """Return True if ``amount`` may happen now, and count it."""
        now = self._monotonic()
        self._left = min(self._burst, self._left + (now - self._filled) * self._rate)
        self._filled = now
        if self._left < amount:
            return False
        self._left -= amount
        return True
