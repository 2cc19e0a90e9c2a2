"""Settling: a peer that learns nothing more falls silent, until there is something new to learn. Pure."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from learnae.basics.light_numpy import norm
from learnae.peer.learning.versions import is_better
from learnae.protocol.bodies import Metrics
from learnae.weights.codecs import Vector

_LESS_LOSS = 0.005  # of the least loss so far: a gain
_MORE_ACCURACY = 0.0005  # a gain: less than one row of a thousand
_MORE_ROWS = 1.05  # times as many as at settling: the own data has grown
_MOVED = 0.1  # of the norm of the consensus estimate: others have learnt something


@dataclass(frozen=True, slots=True)
class Settled:
    """What a peer had when it settled: training ``rows``, the live ``authors``, the consensus ``estimate`` (count,)."""

    rows: int
    authors: frozenset[bytes]
    estimate: Vector


class Settling:
    """Counts own updates without a gain, and tells when a peer settles and when it wakes.

    A gain is less loss or more accuracy of the consensus estimate on the own holdout, or less training loss where
    nothing is held out. After ``patience`` updates without any the peer is to settle; 0 for never. ``since`` says
    since when (Unix ms) it has settled; None while it learns. ``best`` is the estimate (count,) that did best on the
    holdout: what came after it may have learnt the own rows by heart.
    """

    def __init__(self, patience: int) -> None:
        self.patience = patience
        self.since: int | None = None
        self.best: Vector | None = None
        self._best_metrics: Metrics | None = None
        self._basis: Settled | None = None
        self._least_loss, self._most_accuracy = math.inf, -math.inf
        self._without_gain = 0

    def note(
        self,
        metrics: Metrics | None,
        training_loss: float | None,
        estimate: Vector,
        measure: Callable[[Vector], Metrics | None] = lambda _: None,
    ) -> None:
        """Take in what is known of the ``estimate`` (count,) after an own update.

        Where other rows are held out by now than the best one was measured on, that is done again, by ``measure``.
        """
        best = self._best_metrics
        if best and metrics and best.rows != metrics.rows and self.best is not None:
            self._begin_with(measure(self.best))
        if is_better(metrics, self._best_metrics):
            self.best, self._best_metrics = estimate, metrics
        loss = metrics.loss if metrics else training_loss
        accuracy = metrics.accuracy if metrics else None
        gained = False
        if loss is not None and loss < self._least_loss * (1 - _LESS_LOSS):
            self._least_loss, gained = loss, True
        if accuracy is not None and accuracy > self._most_accuracy + _MORE_ACCURACY:
            self._most_accuracy, gained = accuracy, True
        self._without_gain = 0 if gained else self._without_gain + 1

    def _begin_with(self, metrics: Metrics | None) -> None:
        """Let what the best estimate reaches on the present rows be what a gain is counted from."""
        self._best_metrics = metrics
        self._least_loss = metrics.loss if metrics else math.inf
        self._most_accuracy = -math.inf if metrics is None or metrics.accuracy is None else metrics.accuracy

    def forget_best(self) -> None:
        """Forget which estimate did best: one that was made of what must not be published."""
        self.best = self._best_metrics = None

    @property
    def is_due(self) -> bool:
        """Return True if the next update is to be the last one for a while."""
        return self.since is None and 0 < self.patience <= self._without_gain

    def settle(self, now: int, basis: Settled | None = None) -> None:
        """Fall silent at ``now``; without a ``basis``, such as after a restart, the next comparison begins with one."""
        self.since, self._basis = now, basis

    def why_wake(self, rows: int, authors: Iterable[bytes], estimate: Vector) -> str:
        """Return what is new since this peer has settled; empty for nothing."""
        if self._basis is None:
            self._basis = Settled(rows, frozenset(authors), estimate)
            return ""
        if rows > self._basis.rows * _MORE_ROWS:
            return "its own data has grown"
        if not self._basis.authors.issuperset(authors):
            return "a new member speaks"
        before = self._basis.estimate
        if estimate is not before and norm(estimate - before) > _MOVED * norm(before):
            return "the consensus has moved"
        return ""

    def wake(self) -> None:
        """Learn again, and count from the beginning."""
        self.since = self._basis = self.best = self._best_metrics = None
        self._least_loss, self._most_accuracy, self._without_gain = math.inf, -math.inf, 0
