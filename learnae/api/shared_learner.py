"""The learner of a peer whose owner has a training loop: it trains nothing, and takes in what the loop hands over."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learnae.basics.overriding import override
from learnae.errors import DataError
from learnae.models.passive_learner import PassiveLearner
from learnae.peer.learning.jury import OwnLoss
from learnae.ports import Trained
from learnae.privacy.floors import DrawnRows
from learnae.protocol.bodies import Metrics
from learnae.weights.codecs import Vector
from learnae.weights.merge import NO_MOMENTS, Moments

MOST_SAMPLES = 10**9
METRICS = ("loss", "accuracy", "mae", "r2", "rows")  # of held-out rows: no other name leaves
_MOST_STEPS = 10**9

Measure = Callable[[Vector], Metrics | None]


@dataclass(frozen=True, slots=True)
class Offer:
    """What a loop has made of the weights it was given: a ``vector`` (count,), of ``samples`` rows in ``steps``."""

    vector: Vector
    samples: int
    steps: int


class SharedLearner(PassiveLearner):
    """Takes an offer where others train. ``measure`` tells how good weights are; without it the loop's word counts.

    It is the caller's, and asked only while ``is_called``. ``is_free`` while the loop trains on nothing: merges may
    then replace the weights. ``was_replaced`` says that this happened at another time, by a step back.
    """

    def __init__(self, count: int, moments: Moments = NO_MOMENTS, measure: Measure | None = None) -> None:
        super().__init__(count, moments)
        self.is_free = self.is_called = True
        self.was_replaced = False
        self.told: Metrics | None = None
        self.failure: Exception | None = None  # of ``measure``
        self._measure = measure
        self._offer: Offer | None = None

    @override
    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        super().restore(state)
        self.was_replaced = True

    @property
    def measures(self) -> bool:
        """Return True if it can tell by itself how good weights are."""
        return self._measure is not None

    def offer(self, offer: Offer) -> None:
        """Let the next ``train`` take this."""
        self._offer = offer

    def withdraw(self) -> None:
        """Take nothing, if the offer was not taken yet."""
        self._offer = None

    @override
    def train(self, steps: int) -> Trained:
        offer, self._offer = self._offer, None
        if offer is None:
            return Trained(0, 0, 0.0)
        self.load(offer.vector)
        return Trained(offer.steps, offer.samples, math.nan)

    @override
    def evaluate(self, weights: Vector) -> Metrics | None:
        if self._measure is None:
            return self.told
        if not self.is_called:
            return None
        try:
            return self._measure(weights)
        except Exception as error:  # noqa: BLE001 - a caller's function: the peer goes on, and its caller hears of it
            self.failure = error
            return None


class CallersLoss(OwnLoss):
    """Asks a caller's function how good weights are, in the caller's structure: a number, or metrics with a loss.

    It is asked within the caller's own calls alone; what it raises is kept for these, and counts as the worst loss.
    """

    def __init__(self, function: Callable[[Any], object], learner: Callable[[], SharedLearner]) -> None:
        self.rebuild: Callable[[Vector], Any] = lambda vector: vector
        self._function = function
        self._learner = learner

    @property
    @override
    def may_be_asked(self) -> bool:
        return self._learner().is_called

    @override
    def __call__(self, weights: Vector) -> float:
        try:
            metrics = self.measure(weights)
        except Exception as error:  # noqa: BLE001 - the caller hears of it when the call ends
            self._learner().failure = error
            return math.inf
        return metrics.loss if metrics else math.inf

    def measure(self, weights: Vector) -> Metrics | None:
        """Return what the function says; None if the loss is no finite number. Raises what it raises, DataError."""
        told = self._function(self.rebuild(weights))
        if isinstance(told, Mapping):
            return metrics_of(told)
        try:
            loss = float(told)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            raise DataError(f"loss returned {told!r:.60}", "return a number, or a dict of metrics with loss") from None
        return Metrics(loss, None, 0) if math.isfinite(loss) else None


class ClaimedRows(DrawnRows):
    """Rows that only a loop has: it tells how many, and each counts as another. More than ``most`` are not told apart.

    >>> claimed = ClaimedRows(most=256)
    >>> claimed.draw(100)
    >>> claimed.written, claimed.rows.shape
    (100, (100, 1))
    """

    def __init__(self, most: int) -> None:
        self.on_draw: Callable[[NDArray[np.integer]], None] | None = None
        self._most = most
        self._count = 0

    @property
    @override
    def rows(self) -> NDArray[np.int64]:
        return np.arange(self._count)[:, None]

    @property
    @override
    def written(self) -> int:
        return self._count

    def draw(self, samples: int) -> None:
        """Note that weights were trained on so many rows."""
        drawn = min(samples, self._most)
        self._count = max(self._count, drawn)
        if self.on_draw:
            self.on_draw(np.arange(drawn))


def metrics_of(given: Mapping[str, object]) -> Metrics:
    """Read what a caller measured on held-out rows: numbers under known names; raises DataError."""
    for name, value in given.items():
        is_number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
        if name not in METRICS:
            raise DataError(f"metrics holds {name!r}", f"members know {', '.join(METRICS)}: leave out all others")
        if not is_number or not math.isfinite(float(value)):  # type: ignore[arg-type]
            raise DataError(f"metrics: {name} is {value!r:.40}", "give a finite number, or leave it out")
    if "loss" not in given:
        raise DataError(f"metrics has {', '.join(given) or 'nothing'}", "give loss, too: what others go by")
    numbers = {name: float(value) for name, value in given.items()}  # type: ignore[arg-type]
    bounds = {"accuracy": (0.0, 1.0), "mae": (0.0, math.inf), "r2": (-math.inf, 1.0), "rows": (0.0, MOST_SAMPLES)}
    for name, (least, most) in bounds.items():
        if not least <= numbers.get(name, least) <= most:
            raise DataError(f"metrics: {name} is {numbers[name]:g}", f"it lies between {least:g} and {most:g}")
    rows = numbers.get("rows", 0.0)
    if rows != int(rows):
        raise DataError(f"metrics: rows is {rows:g}", "give a whole number")
    return Metrics(numbers["loss"], numbers.get("accuracy"), int(rows), numbers.get("mae"), numbers.get("r2"))


def check_whole(name: str, value: object, most: int = _MOST_STEPS) -> int:
    """Return a whole number of 1 to ``most``; raises DataError that names it."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not 1 <= value <= most:
        raise DataError(f"{name} is {value!r:.40}", f"give a whole number from 1 to {most}")
    return int(value)
