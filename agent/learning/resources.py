"""The board's resources as measured, and a learner that keeps to the governor's limits."""

import time
from collections.abc import Sequence
from pathlib import Path

from agent.learning.governor import Governor, Usage
from learnae.basics.memory import Group, available
from learnae.basics.overriding import override
from learnae.models.wrapped_learner import WrappedLearner
from learnae.ports import Learner, Trained

_THERMAL = Path("/sys/class/thermal")
_MEMORY = Path("/proc/meminfo")


class Board:
    """Measures this process, its machine and its control ``groups``, by the files of the kernel."""

    def __init__(self, thermal: Path = _THERMAL, memory: Path = _MEMORY, groups: Sequence[Group] = ()) -> None:
        self._thermal = thermal
        self._memory = memory
        self._groups = groups

    def usage(self, traffic: int) -> Usage:
        """Return all that is used up to now; ``traffic`` is the peer's bytes out and in."""
        return Usage(time.monotonic(), time.process_time(), traffic, self.temperature(), self.memory())

    def temperature(self) -> float | None:
        """Return the temperature of the hottest thermal zone, in °C."""
        found = []
        for file in self._thermal.glob("thermal_zone*/temp"):
            try:
                found.append(int(file.read_bytes()) / 1000)
            except (OSError, ValueError):  # a zone that is switched off says so by an error
                continue
        return max(found, default=None)

    def memory(self) -> float | None:
        """Return the MiB that this process may still take, of the machine's and of its control groups'."""
        return available(self._memory, self._groups)


class GovernedLearner(WrappedLearner):
    """Takes at most ``most`` steps at once, as many as the governor allows, and tells it how long they took."""

    def __init__(self, learner: Learner, governor: Governor, most: int) -> None:
        super().__init__(learner)
        self._governor = governor
        self._most = most

    @override
    def train(self, steps: int) -> Trained:
        """Take up to ``steps`` steps, as many as the governor allows, perhaps none; the first one ever is measured."""
        wanted = min(steps, self._most)
        if self._governor.has_measured:
            return self._take(wanted)
        first = self._take(wanted)
        if not first.steps or first.steps == wanted:
            return first
        rest = self._take(wanted - first.steps)
        taken = first.steps + rest.steps
        loss = (first.loss * first.steps + rest.loss * rest.steps) / taken
        return Trained(taken, rest.rows or first.rows, loss)

    def _take(self, wanted: int) -> Trained:
        allowed = self._governor.steps(wanted)
        begun = time.monotonic()
        trained = self.inner.train(allowed) if allowed else Trained(0, 0, 0.0)
        self._governor.trained(trained.steps, time.monotonic() - begun)
        return trained
