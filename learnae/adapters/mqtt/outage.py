"""Why a broker is away, for the status and once for the log."""

from __future__ import annotations

import logging
import threading
import time

_log = logging.getLogger(__name__)


class Outage:
    """The time without the broker ``name``: when it began, and why the last attempt failed. Safe in several threads."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._since = time.time()
        self._cause = ""  # of this attempt's failure
        self._reason = ""  # of the last one's
        self._logged = ""

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

    def go_on(self, reason: str, was_connected: bool, is_wanted: bool) -> None:
        """End an attempt, for ``reason`` if there is no cause; log it if it is new, unless the end ``is_wanted``."""
        with self._lock:
            if was_connected or not self._logged:
                self._since = time.time()
            self._reason = self._cause or reason
            is_new, self._logged = self._logged != self._reason and not is_wanted, self._reason
        if is_new:
            _log.warning("MQTT broker %s is away: %s; trying again", self._name, self._reason)

    def end(self) -> None:
        """Note that the broker has answered."""
        with self._lock:
            self._logged = self._reason = ""
        _log.info("MQTT broker %s: connected", self._name)
