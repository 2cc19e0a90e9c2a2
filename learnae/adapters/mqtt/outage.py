"""The time without a broker: since when, why, how long until the next attempt, and each reason in the log once."""

import logging
import random
import threading
import time

from learnae.system.backoff import Backoff

_log = logging.getLogger(__name__)

TAKEN_OVER = 142  # MQTT 5's reason code: another connection has this one's client id, which is made of the peer's key
RIVAL = (
    "another process with this peer's key or client id is connected: stop one of the two, or give one a key of its "
    "own; if it is none of yours, let the broker have use_username_as_clientid (docs/mqtt.md)"
)
_FIRST_DELAY, _MOST_DELAY = 0.5, 10.0  # seconds between attempts, before jitter
_MOST_YIELD = 30.0  # seconds, where each attempt throws off the rival, whose next one throws off this
_JITTER = 0.5, 1.5  # many peers lose one broker at one time
_QUIET = 4.0  # times the longest of these delays without a sign of it: two of them, with jitter, last three times


class Outage:
    """Describes how the broker ``name`` is lost, over and over perhaps. Safe to use from several threads.

    ``most_yield`` is the longest delay after a takeover, in seconds.
    """

    def __init__(self, name: str, most_yield: float = _MOST_YIELD) -> None:
        self._name = name
        self._lock = threading.RLock()
        self._since = time.time()
        self._cause = ""  # of this attempt's failure
        self._reason = ""  # of the last one's
        self._logged = ""
        self._backoff = Backoff(_FIRST_DELAY, _MOST_DELAY)
        self._yielding = Backoff(_FIRST_DELAY, most_yield)
        self._quiet = _QUIET * most_yield
        self._contested = float("-inf")  # time.monotonic, of the last sign of a rival

    @property
    def is_contested(self) -> bool:
        """Return True if another process has had this peer's session lately."""
        with self._lock:
            return time.monotonic() - self._contested < self._quiet

    def describe(self) -> str:
        """Return what the status says."""
        with self._lock:
            since = time.strftime("%H:%M:%S", time.localtime(self._since))
            return f"away since {since}: {self._reason or 'connecting'}"

    def try_again(self) -> None:
        """Begin another attempt."""
        with self._lock:
            self._cause = ""

    def blame(self, cause: str) -> None:
        """Note why this attempt fails; the first cause counts."""
        with self._lock:
            self._cause = self._cause or cause

    @property
    def cause(self) -> str:
        """Return why this attempt fails; empty while that is not known."""
        with self._lock:
            return self._cause

    def correct(self, cause: str) -> None:
        """Note a better word for why this attempt fails."""
        with self._lock:
            self._cause = cause

    def cut(self, cause: str, code: int) -> None:
        """Note that a connection has ended, with a reason ``code`` of MQTT 5: a rival does it, while there is one."""
        if code == TAKEN_OVER:
            self.contest()
        self.blame(RIVAL if self.is_contested else cause)

    def contest(self) -> None:
        """Note that another process has this peer's session, or has had it; log it if that is new."""
        with self._lock:
            is_new = not self.is_contested
            self._contested = time.monotonic()
            self._logged = RIVAL
            if is_new:
                self._yielding.succeeded()
        if is_new:
            _log.warning("MQTT broker %s: %s", self._name, RIVAL)

    def go_on(self, reason: str, was_connected: bool, is_wanted: bool) -> None:
        """End an attempt, for ``reason`` if there is no cause; log it if it is new, unless the end ``is_wanted``."""
        with self._lock:
            if was_connected or not self._logged:
                self._since = time.time()
            self._reason = self._cause or reason
            is_new, self._logged = self._logged != self._reason and not is_wanted, self._reason
        if is_new:
            _log.warning("MQTT broker %s is away: %s; trying again", self._name, self._reason)

    def delay(self, was_connected: bool) -> float:
        """Return the seconds until the next attempt, more and more while none lasts."""
        with self._lock:
            if self._cause == RIVAL:
                seconds = self._yielding.failed()
            else:
                if was_connected:
                    self._backoff.succeeded()
                seconds = self._backoff.failed()
        return seconds * random.uniform(*_JITTER)

    def end(self) -> None:
        """Note that the broker has answered; a rival will end that soon, so there it is not news."""
        with self._lock:
            self._reason = ""
            if self.is_contested:
                return
            self._logged = ""
        _log.info("MQTT broker %s: connected", self._name)
