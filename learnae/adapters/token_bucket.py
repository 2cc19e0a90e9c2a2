"""How much of something may happen: a token bucket."""

import threading
import time
from collections.abc import Callable

from learnae.basics.bounded_dict import BoundedDict

_MOST_ASKERS = 256  # remembered, those last heard


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
        may = self.has(amount)
        self._left -= amount if may else 0.0
        return may

    def has(self, amount: float = 1.0) -> bool:
        """Return True if ``amount`` may happen now."""
        now = self._monotonic()
        self._left = min(self._burst, self._left + (now - self._filled) * self._rate)
        self._filled = now
        return self._left >= amount

    def spend(self, amount: float) -> None:
        """Count what has happened already: what is too much is paid off first."""
        self._left -= amount

    def give(self, amount: float) -> None:
        """Allow more, up to the burst."""
        self._left = min(self._burst, self._left + amount)


class Spending:
    """Says whether so many bytes may go out now, and how many went; safe to use from several threads.

    One asker takes at most half of what goes out, at once and in time, so that some is left for the others. What goes
    out is also spent from the ``purse`` that several ways share, if there is one.

    >>> spend = Spending(burst=8, rate=0)
    >>> spend(3, b"ann"), spend(3, b"ann"), spend(3, b"bob"), spend(3), spend.taken(), spend.taken()
    (True, False, True, False, 6, 0)
    >>> purse = Spending(burst=4, rate=0)
    >>> [Spending(burst=8, rate=0, purse=purse)(3, b"ann") for way in ("mqtt", "http")]
    [True, False]
    """

    def __init__(
        self,
        burst: float,
        rate: float,
        monotonic: Callable[[], float] = time.monotonic,
        purse: Callable[[int], bool] | None = None,
    ) -> None:
        self._purse = purse or (lambda _: True)
        self._bucket = TokenBucket(burst, rate, monotonic)
        self._of_one = burst / 2, rate / 2, monotonic
        self._askers = BoundedDict[bytes, TokenBucket](_MOST_ASKERS)
        self._lock = threading.Lock()
        self._spent = 0

    def __call__(self, size: int, asker: bytes = b"") -> bool:
        """Return True if ``size`` bytes may go out now, to an ``asker`` of that name, and count them."""
        with self._lock:
            if asker:
                own = self._askers.get(asker) or TokenBucket(*self._of_one)
                self._askers.renew(asker, own)
                if not own.take(size):
                    return False
            if not (self._bucket.has(size) and self._purse(size)):
                return False
            self._bucket.spend(size)
            self._spent += size
            return True

    def taken(self) -> int:
        """Return how many bytes went since this was last asked."""
        with self._lock:
            spent, self._spent = self._spent, 0
            return spent
