"""The governor: how much of a board the agent may use, and what it does to keep to it. Pure: no clock, no I/O.

It lowers the agent's duty, longer pauses and fewer steps, and never fails.
"""

from dataclasses import dataclass
from typing import Any

from agent.config import ResourcesSection

_MAX_TRAIN_SECONDS = 10.0  # that one call of the learner may take: the watchdog waits for it
_LEAST_SECONDS = 1e-9  # that a step takes, by a coarse clock
_MAX_SLOWDOWN = 64.0  # times slower than configured: then the heat is not the agent's
_HYSTERESIS = 3.0  # °C below the limit before the agent takes up speed again
_BURSTS_PER_DAY = 24  # so large a part of a day's bytes may be spent at once
_MIN_SHARE = 0.1  # of the CPU share that is left to training when sampling takes nearly all of it
DAY_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True)
class Usage:
    """What the process has used up to now: ``time`` (monotonic) and ``cpu`` in seconds, ``bytes`` out and in.

    ``temperature`` of the board in °C and ``memory`` available in MiB, None where it is not known.
    """

    time: float
    cpu: float
    bytes: int
    temperature: float | None = None
    memory: float | None = None


class Governor:
    """Decides when the peer may tick next and how many steps it may take then; ``pause`` s lie between two ticks."""

    def __init__(self, limits: ResourcesSection, pause: float) -> None:
        self._pause = pause
        self._limits = limits
        self._slower = 1.0  # by heat
        self._step_seconds = 0.0
        self._next = float("-inf")
        self._begun: Usage | None = None
        self._ended: Usage | None = None
        self._counted: Usage | None = None  # until where bytes are
        self._available = 0.0  # bytes; below 0 the agent neither sends nor receives
        self._reasons: list[str] = []
        self._skipped = 0
        self._busy = 0.0  # CPU seconds of the last tick

    # -- questions

    def may_tick(self, usage: Usage) -> bool:
        """Return True if a tick may begin now, and note that it does."""
        self._count_bytes(usage)
        if usage.time < self._next or not self.may_listen:
            return False
        self._begun = usage
        return True

    @property
    def may_listen(self) -> bool:
        """Return True if bytes of others may come in now."""
        return self._available >= 0

    def steps(self, wanted: int) -> int:
        """Return how many of ``wanted`` optimiser steps are taken now: one, until it is known how long they take."""
        if self._begun is not None and self._is_short_of_memory(self._begun):
            self._skipped += 1
            return 0
        if not self.has_measured:
            return min(wanted, 1)
        most = min(wanted / self._slower, _MAX_TRAIN_SECONDS / self._step_seconds)
        return min(wanted, max(1, int(most)))

    @property
    def has_measured(self) -> bool:
        """Return True once it is known how long a step takes."""
        return self._step_seconds > 0

    def _is_short_of_memory(self, usage: Usage) -> bool:
        return usage.memory is not None and usage.memory < self._limits.memory

    # -- what happened

    def change_pause(self, pause: float) -> None:
        """Let another pause lie between two ticks, from the one before the next tick on."""
        self._next += pause - self._pause
        self._pause = pause

    def trained(self, steps: int, seconds: float) -> None:
        """Note that the learner took ``steps`` steps in ``seconds``."""
        if steps:
            self._step_seconds = max(seconds / steps, _LEAST_SECONDS)

    def end(self, usage: Usage) -> None:
        """Note that a tick has ended, and decide when the next one may begin."""
        begun = self._begun or usage
        self._count_bytes(usage)
        self._heat(usage.temperature)
        pauses = {
            "temperature": self._pause * self._slower if self._slower > 1 else 0.0,
            "cpu": self._cpu_pause(begun, usage),
        }
        self._reasons = [reason for reason, pause in pauses.items() if pause > self._pause]
        self._busy = usage.cpu - begun.cpu
        self._next = usage.time + max(self._pause, *pauses.values())
        self._ended = usage

    def _heat(self, temperature: float | None) -> None:
        limit = self._limits.temperature
        if not limit or temperature is None:
            return
        if temperature >= limit:
            self._slower = min(2 * self._slower, _MAX_SLOWDOWN)
        elif temperature < limit - _HYSTERESIS:
            self._slower = max(self._slower / 2, 1.0)

    def _cpu_pause(self, begun: Usage, ended: Usage) -> float:
        """Return the pause that makes the tick's CPU seconds the allowed share of the time from its begin to the next.

        What sampling uses between two ticks is not the tick's to spend.
        """
        if not self._limits.cpu:
            return 0.0
        idle = 0.0
        if self._ended is not None and begun.time > self._ended.time:
            idle = (begun.cpu - self._ended.cpu) / (begun.time - self._ended.time)
        share = max(self._limits.cpu - idle, self._limits.cpu * _MIN_SHARE)
        return (ended.cpu - begun.cpu) / share - (ended.time - begun.time)

    def _count_bytes(self, usage: Usage) -> None:
        """Keep a token bucket that fills with the day's bytes and holds an hour's; one tick may overdraw it."""
        last, self._counted = self._counted or usage, usage
        if self._limits.bytes_per_day:
            burst = self._limits.bytes_per_day / _BURSTS_PER_DAY
            rate = (self._limits.bytes_per_day - burst) / DAY_SECONDS  # so that no 24 hours see more than the limit
            self._available = min(self._available + rate * (usage.time - last.time), burst)
            self._available -= usage.bytes - last.bytes

    def status(self) -> dict[str, Any]:
        """Return what is measured, and what it keeps the agent from, for people."""
        usage = self._ended
        return {
            "step_milliseconds": round(self._step_seconds * 1000, 3),
            "tick_cpu_seconds": round(self._busy, 4),
            "temperature": usage.temperature if usage else None,
            "memory_mib": round(usage.memory) if usage and usage.memory is not None else None,
            "slowed_by": [
                *self._reasons,
                *(["memory"] if usage is not None and self._is_short_of_memory(usage) else []),
                *([] if self.may_listen else ["bytes"]),
            ],
            "times_slower_by_heat": self._slower,
            "ticks_without_memory": self._skipped,
        }
