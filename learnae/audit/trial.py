"""Attacks on a member of a swarm, tried on rows of this machine before anything is sent, and what comes of them."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learnae.audit.channel import telling, told
from learnae.audit.imprint import imprint, inputs_of
from learnae.audit.membership import LOOKED_AT, membership
from learnae.audit.own_rows import OwnRows
from learnae.audit.reconstruction import changes, errors, only_row, quotients
from learnae.audit.victim import published
from learnae.errors import ModelError
from learnae.models.dataset import Dataset
from learnae.models.reference.numpy_learner import NumpyLearner
from learnae.models.reference.numpy_model import predict
from learnae.models.traps.trap_check import TrapCheck
from learnae.ports import Learner
from learnae.swarm.manifest import CLASSIFICATION, Manifest
from learnae.weights.codecs import Vector

Array = NDArray[Any]
LearnerFactory = Callable[[Manifest, Dataset, np.random.Generator], Learner]

NEAR = 0.2  # relative error of a row that counts as rebuilt
_TRAPPED_UPDATES = 8
_CHANNEL_ROWS = 200
_MOST_INPUTS, _MOST_KNOWN = 1000, 4000  # rows or patches that are looked for, and that the author has
_SEED = 1
_USUAL_ROWS = 100  # that membership is tried with where no floor says how many


@dataclass(frozen=True, slots=True)
class Tried:
    """One attack: its ``value`` on a member that nothing protects, and on this one; ``why`` nothing comes of it here.

    ``kind`` is an AUC of 0.5 (a guess) to 1, a share of rows rebuilt, or a relative error. None where the attack does
    not apply, or where nothing is published that it could work on.
    """

    attack: str
    kind: str
    bare: float | None
    guarded: float | None
    why: str = ""


AUC, SHARE, ERROR = "auc", "rows rebuilt", "relative error"


@dataclass(frozen=True, slots=True)
class Guarding:
    """What protects this member: its learner, the least ``rows`` and ``draws`` of an update, and the look for traps.

    Its updates take ``steps`` optimiser steps, 0 for as many as the manifest says.
    """

    learner: LearnerFactory
    rows: int
    draws: int
    steps: int
    looks_for_traps: bool
    shows_scores: bool


def unprotected(manifest: Manifest, data: Dataset, rng: np.random.Generator) -> Learner:
    """Make a learner that neither clips nor adds noise."""
    batch = manifest.training.batch
    return NumpyLearner(manifest.definition, manifest.objective, manifest.optimiser, data, batch, rng)


class Trial:
    """Tries attacks on ``own`` rows; ``like`` (n, *input) is what an author has. Each ends after ``seconds``, or so."""

    def __init__(self, manifest: Manifest, own: OwnRows, like: Array, guarding: Guarding, seconds: float) -> None:
        self._manifest, self._own, self._like = manifest, own, like
        self._guarding, self._seconds = guarding, seconds
        self._model = manifest.definition
        order = np.random.default_rng(_SEED).permutation(len(own.rows))
        self._shuffled = own.part(order)

    def run(self, say: Callable[[str], None] = lambda _: None) -> list[Tried]:
        """Try all attacks that apply, and ``say`` before each what is tried."""
        found = []
        for name, attack in (
            ("one row, and what its first update tells", self._one_row),
            ("which rows were trained on", self._membership),
            ("weights made to part the rows", self._trap),
            ("what the model says of a window", self._channel),
        ):
            say(name)
            found.append(attack(name))
        return found

    def _one_row(self, name: str) -> Tried:
        one = self._shuffled.part(np.arange(1))
        found = changes(self._model, self._updates(unprotected, one, 1))
        row = only_row(found[0]) if found else None
        if row is None:
            return Tried(name, ERROR, None, None, "no unit of the first layer tells it")
        bare = float(errors(row[None], inputs_of(self._model, one.rows)).min())
        if self._guarding.rows > 1:
            return Tried(name, ERROR, bare, None, f"nothing is published of fewer than {self._guarding.rows} rows")
        row = only_row(changes(self._model, self._updates(self._guarding.learner, one, 1))[0])
        guarded = None if row is None else float(errors(row[None], inputs_of(self._model, one.rows)).min())
        return Tried(name, ERROR, bare, guarded)

    def _membership(self, name: str) -> Tried:
        count = len(self._own.rows)
        size = min(self._guarding.rows or _USUAL_ROWS, count // 2)
        if size < 1:
            return Tried(name, AUC, None, None, "there are too few rows to hold them against")
        own, others = self._shuffled.part(np.arange(size)), self._shuffled.part(np.arange(size, count))
        both = [self._updates(learner, own, LOOKED_AT) for learner in (unprotected, self._guarding.learner)]
        bare, guarded = (self._separation(seen, own, others) for seen in _as_many(*both))
        if bare is None:
            return Tried(name, AUC, None, None, "the first layer has no weights that rows go into")
        if size < self._guarding.rows:
            return Tried(name, AUC, bare, None, f"nothing is published of fewer than {self._guarding.rows} rows")
        return Tried(name, AUC, bare, guarded, f"with {size} rows, against others of the same origin")

    def _separation(self, seen: list[Vector], own: OwnRows, others: OwnRows) -> float | None:
        if not changes(self._model, seen[:2]):
            return None
        rows, strangers = (each.rows.reshape(len(each.rows), -1) for each in (own, others))
        width = changes(self._model, seen[:2])[0].kernel.shape[0]
        if rows.shape[1] != width:  # patches of a window: the window counts as its mean one
            patches = [inputs_of(self._model, each.rows) for each in (own, others)]
            rows, strangers = (
                part.reshape(len(each.rows), -1, width).mean(axis=1)
                for part, each in zip(patches, (own, others), strict=True)
            )
        return membership(self._model, seen, rows, strangers)

    def _trap(self, name: str) -> Tried:
        try:
            trap = imprint(self._model, self._known(), np.random.default_rng(_SEED))
        except ModelError as error:
            return Tried(name, SHARE, None, None, error.problem)
        rows = _spread(inputs_of(self._model, self._own.rows), _MOST_INPUTS)
        without = self._updates(unprotected, self._own, _TRAPPED_UPDATES, trap)
        if self._guarding.looks_for_traps:
            check = TrapCheck(
                self._model, self._manifest.objective, self._dataset(self._own).train, self._guarding.draws
            )
            start = self._model.initial(self._manifest.seed)
            if why := check(trap, start, start):
                return Tried(name, SHARE, self._rebuilt(without, rows), None, f"not trained on: {why}")
        here = self._updates(self._guarding.learner, self._own, _TRAPPED_UPDATES, trap)
        bare, guarded = (self._rebuilt(seen, rows) for seen in _as_many(without, here))
        return Tried(name, SHARE, bare, guarded)

    def _rebuilt(self, seen: list[Vector], rows: Array) -> float:
        """Return the share of ``rows`` that are rebuilt, and that the author's own do not come as near to."""
        known = errors(self._known().astype(np.float64), rows)
        near = errors(quotients(changes(self._model, seen)), rows)
        return float(np.mean((near < NEAR) & (near < known / 2)))

    def _known(self) -> Array:
        return _spread(inputs_of(self._model, self._like), _MOST_KNOWN)

    def _channel(self, name: str) -> Tried:
        if self._manifest.task != CLASSIFICATION:
            why = "a number, a forecast or an anomaly is itself a reading: it is shown by consent alone"
            return Tried(name, ERROR, None, None, why)
        try:
            weights = telling(self._model, 0)
        except ModelError as error:
            return Tried(name, ERROR, None, None, error.problem)
        rows = self._own.rows[:_CHANNEL_ROWS]
        scores = predict(self._model, weights, rows)[:, -1]
        with np.errstate(divide="ignore"):
            bare, coarse = (float(np.median(np.abs(told(each) - rows[:, 0]))) for each in (scores, np.round(scores, 1)))
        if not self._guarding.shows_scores:
            return Tried(name, ERROR, bare, None, "no score is shown: at most which class is likeliest")
        return Tried(name, ERROR, bare, coarse, "a score in tenths is shown")

    def _dataset(self, rows: OwnRows) -> Dataset:
        data = Dataset(self._manifest.model, self._manifest.objective, autoencoder=self._manifest.is_autoencoder)
        data.add(rows.rows, rows.targets)
        return data

    def _updates(self, factory: LearnerFactory, rows: OwnRows, count: int, trap: Vector | None = None) -> list[Vector]:
        """Return what followers have at the start and after each update; fewer of them if the time is over."""
        learner = factory(self._manifest, self._dataset(rows), np.random.default_rng(_SEED))
        start = self._model.initial(self._manifest.seed)
        seen, deadline = [], time.monotonic() + self._seconds
        steps = 0 if factory is unprotected else self._guarding.steps
        for replica in islice(published(self._manifest, learner, start, lambda _: trap, steps), count + 1):
            seen.append(replica)
            if len(seen) > 1 and time.monotonic() > deadline:
                break
        return seen if trap is None else [trap, *seen[1:]]


def _as_many(*series: list[Vector]) -> Iterator[list[Vector]]:
    """Cut all to the shortest, so that what a slow machine had no time for is in none."""
    return (seen[: min(map(len, series))] for seen in series)


def _spread(array: Array, most: int) -> Array:
    """Return at most so many of ``array`` (n, ...), evenly spread."""
    return array if len(array) <= most else array[np.linspace(0, len(array) - 1, most).astype(np.int64)]
