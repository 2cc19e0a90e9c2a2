"""ports.Clock of this machine."""

from __future__ import annotations

import time


class SystemClock:
    """ports.Clock of this machine."""

    def now(self) -> int:
        """Unix milliseconds."""
        return time.time_ns() // 1_000_000

    def uptime(self) -> int:
        """See ports.Clock."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000
