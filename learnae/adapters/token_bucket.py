"""How much of something may happen: a token bucket."""

from __future__ import annotations

import time


class TokenBucket:
    """``burst`` at once, and ``rate`` a second after that."""

    def __init__(self, burst: float, rate: float) -> None:
        self._burst = burst
        self._rate = rate
        self._left, self._filled = burst, time.monotonic()

    def take(self, amount: float = 1.0) -> bool:
        """Whether ``amount`` may happen now; then it counts."""
        now = time.monotonic()
        self._left = min(self._burst, self._left + (now - self._filled) * self._rate)
        self._filled = now
        if self._left < amount:
            return False
        self._left -= amount
        return True
