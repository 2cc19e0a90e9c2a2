"""The board's resources as measured, and a learner that keeps to the governor's limits."""

import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from agent.learning.governor import Governor, Usage
from learnae.overriding import override
from learnae.ports import Learner, Trained
from learnae.protocol.bodies import Metrics
from learnae.weights.codecs import Vector

_THERMAL = Path("/sys/class/thermal")
_MEMORY = Path("/proc/meminfo")
_AVAILABLE = re.compile(r"^MemAvailable:\s+(\d+) kB$", re.MULTILINE)


class Board:
    """Measures this process and its machine, by the files of the kernel."""

    def __init__(self, thermal: Path = _THERMAL, memory: Path = _MEMORY) -> None:
        self._thermal = thermal
        self._memory = memory

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
        """Return the available memory, in MiB."""
        try:
            found = _AVAILABLE.search(self._memory.read_text())
        except OSError:
            return None
        return int(found[1]) / 1024 if found else None


class GovernedLearner(Learner):
    """Takes as many steps as the governor allows, and tells it how long they took."""

    def __init__(self, learner: Learner, governor: Governor) -> None:
        self._learner = learner
        self._governor = governor

    @override
    def weights(self) -> Vector:
        return self._learner.weights()

    @override
    def load(self, weights: Vector) -> None:
        self._learner.load(weights)

    @override
    def train(self, steps: int) -> Trained:
        """Take up to ``steps`` steps, as many as the governor allows, perhaps none."""
        allowed = self._governor.steps(steps)
        begun = time.monotonic()
        trained = self._learner.train(allowed) if allowed else Trained(0, 0, 0.0)
        self._governor.trained(trained.steps, time.monotonic() - begun)
        return trained

    @override
    def evaluate(self, weights: Vector) -> Metrics | None:
        return self._learner.evaluate(weights)

    @override
    def state(self) -> Mapping[str, NDArray[Any]]:
        return self._learner.state()

    @override
    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        self._learner.restore(state)
