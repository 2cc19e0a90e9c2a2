"""A learner that trains for a slice of time at once, so that its peer hears and signals are heard in between."""

import time
from collections.abc import Callable

from learnae.basics.overriding import override
from learnae.models.wrapped_learner import WrappedLearner
from learnae.ports import Learner, Trained

SLICE_SECONDS = 0.2  # a peer is to hear four times a second
_PARTS = 4  # of a slice: how long one call of the learner is to be, so that a slice ends in time
_FIRST_SECONDS = (
    60.0  # that a call may take by the measure of the first step: a trainer's watchdog waits for half an hour
)
_MOST_STEPS = 1 << 16  # in one call, whatever the device: row numbers are drawn for all of them


class PacedLearner(WrappedLearner):
    """Takes as many of the wanted steps as fit into a slice, in calls whose size follows the learner's speed.

    The first call is of one step: who defined the swarm chose ``steps``, and not for this machine. Sizes are then
    ``steps`` times a power of two: a learner that compiles a program for each size compiles few.
    ``seconds`` counts what was spent on training in all, ``last_seconds`` in the last slice.
    """

    def __init__(
        self,
        inner: Learner,
        steps: int,
        slice_seconds: float = SLICE_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(inner)
        self._steps = min(steps, _MOST_STEPS)
        self._has_measured = False
        self.slice_seconds, self._monotonic = slice_seconds, monotonic
        self.seconds = self.last_seconds = 0.0

    @override
    def train(self, steps: int) -> Trained:
        """Take up to ``steps`` steps; at least one call's, as long as there are rows."""
        begun = now = self._monotonic()
        taken, loss, rows = 0, 0.0, 0
        while taken < steps and (not taken or now - begun < self.slice_seconds):
            trained = self.inner.train(min(self._steps if self._has_measured else 1, steps - taken))
            before, now = now, self._monotonic()
            if not trained.steps:
                break
            loss += trained.loss * trained.steps
            taken, rows = taken + trained.steps, trained.rows
            if self._has_measured:
                self._resize(now - before)
            else:
                self._has_measured = True
                self._fit(now - before)
        self.last_seconds = now - begun if taken else 0.0
        self.seconds += self.last_seconds
        return Trained(taken, rows, loss / taken if taken else 0.0)

    def _fit(self, seconds: float) -> None:
        """Halve the steps of a call until they end in time by the first step, which took ``seconds`` to be compiled."""
        while self._steps > 1 and self._steps * seconds > _FIRST_SECONDS:
            self._steps //= 2

    def _resize(self, seconds: float) -> None:
        """Halve or double the steps of a call after one that took ``seconds``."""
        wanted = self.slice_seconds / _PARTS
        if seconds > 2 * wanted:
            self._steps = max(1, self._steps // 2)
        elif seconds < wanted / 2:
            self._steps = min(2 * self._steps, _MOST_STEPS)
