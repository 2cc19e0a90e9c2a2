"""ports.Clock of this machine."""

import time

from learnae.basics.overriding import override
from learnae.ports import Clock


class SystemClock(Clock):
    """ports.Clock of this machine."""

    @override
    def now(self) -> int:
        return time.time_ns() // 1_000_000

    @override
    def uptime(self) -> int:
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000
