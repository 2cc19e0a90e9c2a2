"""From a board's ticks to Unix time: offset and drift, estimated from timed answers.

Every answer says that the board's clock showed ``ticks`` between two times of the host's clock; the shorter
that was, the more it says (Cristian 1989, as in NTP's clock filter, RFC 5905, section 10). A line through the best
answers gives the drift.
"""

from collections import deque
from dataclasses import dataclass

import numpy as np

_MAX_ANSWERS = 64  # kept: a minute of one a second, then thinned to one in 16 s: seventeen minutes
_THIN_SECONDS = 16.0  # between answers that are kept once the first _MAX_ANSWERS are in
_MIN_SPAN_SECONDS = 0.002  # of an answer: a board's main loop and a USB adapter make shorter differences meaningless
_DRIFT_SECONDS = 20.0  # of answers before a drift is believed: 2 ms of error are 100 ppm then
_MAX_DRIFT = 0.05  # an RC oscillator; what drifts further has no working serial port
_STEP_SECONDS = 1.0  # beyond the answer's own doubt: the system clock was set, or the board has slept
_WRAP = 1 << 32


@dataclass(frozen=True, slots=True)
class _Answer:
    board: float  # seconds of the board's clock
    host: float  # Unix seconds, middle
    doubt: float  # half of what it took


class BoardClock:
    """Maps the ticks of one session, 32 bits that wrap, to Unix seconds."""

    def __init__(self, ticks_per_second: int) -> None:
        self.steps = 0  # how often one of the clocks has jumped
        self._rate = ticks_per_second
        self._answers: deque[_Answer] = deque(maxlen=_MAX_ANSWERS)
        self._last = 0  # 64 bits
        self._last_host = float("-inf")
        self._slope = 1.0
        self._base = (0.0, 0.0)  # board, host: a point of the line

    @property
    def is_set(self) -> bool:
        """Return True once there was an answer."""
        return bool(self._answers)

    @property
    def drift(self) -> float:
        """Return how much slower the board's clock is than the host's, in parts of 1 (1e-6: a second in 11 days)."""
        return self._slope - 1

    @property
    def doubt(self) -> float:
        """Return the seconds that times may be wrong by, as far as the best answer tells."""
        return min((answer.doubt for answer in self._answers), default=float("inf"))

    def observe(self, ticks: int, sent: float, received: float) -> None:
        """Note that the board answered ``ticks`` between ``sent`` and ``received`` (Unix seconds)."""
        middle, doubt = (sent + received) / 2, max(received - sent, _MIN_SPAN_SECONDS) / 2
        board = self.extend(ticks, middle) / self._rate
        if self._answers and abs(self._host(board) - middle) > _STEP_SECONDS + doubt + self.doubt:
            self._answers.clear()
            self.steps += 1
        self._last_host = middle
        answer = _Answer(board, middle, doubt)
        is_crowded = len(self._answers) > _MAX_ANSWERS // 2 and middle - self._answers[-2].host < _THIN_SECONDS
        if is_crowded:  # of two that are close, the better stays
            answer = min(answer, self._answers.pop(), key=lambda each: each.doubt)
        self._answers.append(answer)
        self._fit()

    def extend(self, ticks: int, near: float | None = None) -> int:
        """Extend these 32 bits to a number that never wraps: the one closest to what the board should show.

        ``near`` is the Unix time at which the board showed them, if it is known better than "just after the last".
        """
        expected = self._last
        if near is not None and self._last_host > float("-inf"):
            expected += round(max(0.0, near - self._last_host) * self._rate)
        whole = expected + ((ticks - expected + _WRAP // 2) % _WRAP) - _WRAP // 2
        if near is not None:
            self._last = whole
        return whole

    def time(self, ticks: int) -> float:
        """Return the Unix seconds at which the board showed (or will show) ``ticks``."""
        return self._host(self.extend(ticks) / self._rate)

    def _host(self, board: float) -> float:
        return self._base[1] + (board - self._base[0]) * self._slope

    def _fit(self) -> None:
        best = min(self._answers, key=lambda each: each.doubt)
        self._base, self._slope = (best.board, best.host), 1.0
        good = [each for each in self._answers if each.doubt <= 2 * best.doubt]
        board = np.array([each.board for each in good])
        if np.ptp(board) < _DRIFT_SECONDS:
            return
        host = np.array([each.host for each in good])
        slope, _ = np.polyfit(board - board.mean(), host - host.mean(), 1)
        if abs(slope - 1) <= _MAX_DRIFT:
            self._base, self._slope = (float(board.mean()), float(host.mean())), float(slope)
