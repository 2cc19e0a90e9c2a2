"""The weights that one cycle of training passes through, and which of them is the best."""

import math
from collections.abc import Callable

from learnae.ports import Keep, Learner, in_memory
from learnae.weights.codecs import Vector

_COST = 4  # rows trained on for each held-out row judged: a look costs less than a tenth of the training before it
_NEVER = 1 << 50  # steps


class Trajectory:
    """Looks at the own holdout after ``first`` steps of a cycle, and at distances that double; keeps the best weights.

    A machine that takes thousands of steps between two merges learns its own rows by heart meanwhile. What it hands on
    is the point before that: early stopping (Prechelt 1998), of one cycle. A step has ``batch`` rows. While it
    ``wants_more`` there is no such point yet (ReleaseFloor).
    """

    def __init__(
        self,
        learner: Learner,
        first: int,
        batch: int,
        wants_more: Callable[[], bool] = lambda: False,
        keep: Keep = in_memory,
    ) -> None:
        self._keep = keep
        self._learner = learner
        self._first = first
        self._batch = batch
        self._wants_more = wants_more
        self._least = 0  # steps between two looks that the holdout's size is worth
        self.begin()

    def begin(self) -> None:
        """Forget the last cycle."""
        self._distance = max(self._first, self._least)
        self._next = self._distance
        self._best: Vector | None = None
        self._loss = math.inf

    def left(self, taken: int) -> int:
        """Return how many steps are left to the next look, after ``taken`` of this cycle; looks if it is time."""
        if taken >= self._next and self._wants_more():
            self._next = taken + self._distance
        elif taken >= self._next:
            has_holdout = self._look()
            self._distance = max(2 * self._distance, self._least) if has_holdout else _NEVER
            self._next = taken + self._distance
        return self._next - taken

    def choose(self) -> None:
        """Go back to the best weights of this cycle, if there was more than one look at them."""
        if self._best is not None:
            self._look()
            self._learner.load(self._best)

    def _look(self) -> bool:
        """Keep the weights if they are the best so far; return False if nothing is held out."""
        weights = self._learner.weights()
        metrics = self._learner.evaluate(weights)
        if metrics is None:
            return False
        self._least = math.ceil(_COST * metrics.rows / self._batch)
        if self._best is None or metrics.loss < self._loss:  # not where it is no number
            self._best, self._loss = self._keep(weights), metrics.loss
        return True
