"""A learner whose weights are differentially private releases, around one that sums clipped gradients of rows."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from learnae.basics.overriding import override
from learnae.errors import NotWrittenError
from learnae.models.batch_learner import ClippedSum
from learnae.models.dataset import Dataset
from learnae.models.optimisers import Optimiser, OptimiserPolicy
from learnae.models.wrapped_learner import WrappedLearner
from learnae.ports import Learner, Trained
from learnae.privacy.accountant import epsilon_of, noise_multiplier
from learnae.privacy.budget import Price
from learnae.privacy.budget_file import RowBudget
from learnae.privacy.noise.correlated import CorrelatedNoise, cost_of
from learnae.privacy.noise.gaussian import Normals, fresh_normals
from learnae.privacy.noise.grid import Integers, chunks_of, from_grid, sensitivity, to_grid
from learnae.privacy.policy import TrainingPrivacy
from learnae.privacy.spent import PRIVATE_SAMPLES, PrivacySpent

_log = logging.getLogger(__name__)

_NONE = Trained(0, 0, 0.0)


class SumsClipped(Learner, Protocol):
    """A learner that also sums the gradients of rows, each at most so long (BatchLearner.clipped_sum)."""

    def clipped_sum(self, rows: NDArray[Any], targets: NDArray[Any], bound: float) -> ClippedSum:
        """Sum the gradients of ``rows`` (n, *input_shape) at the own weights, each at most ``bound`` long."""


class PrivateLearner(WrappedLearner):
    """Takes each step on all rows of ``data.train`` that can pay for it, with noise: for one row more or less.

    The sum of clipped gradients, with noise, is divided by PRIVATE_SAMPLES, as the number of rows is private: a rate of
    SGD is for that many rows; Adam does not mind. What ``train`` returns is of no row. Rows that are alike are one.

    ``path`` names the file that counts releases, one of its own for each peer, or is None where nothing outlives the
    process. A reading that is in ``overlap`` rows is protected with as much more noise. With several partitions a row
    takes part in one step of so many, with correlated noise: of BISR with a ``width``, else of BSR.

    Not hidden is whether there are rows that can pay at all: without any no step is taken.
    """

    def __init__(
        self,
        inner: SumsClipped,
        data: Dataset,
        policy: TrainingPrivacy,
        optimiser: OptimiserPolicy,
        path: Path | None = None,
        overlap: int = 1,
        width: int = 0,
        normals: Normals = fresh_normals,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        """Open the budget. Raises ModelError for a model in which rows have no gradient of their own, StateError."""
        inner.clipped_sum(data.train.rows[:0], data.train.targets[:0], policy.clip)
        super().__init__(inner)
        self._sums = inner
        self._rows, self._policy, self._overlap = data.train, policy, overlap
        self._count = len(inner.weights())
        self._optimiser = Optimiser(optimiser, self._count)
        self._new_noise = partial(CorrelatedNoise, policy.partitions, width, normals)
        self._noise = self._new_noise()
        multiplier = overlap * noise_multiplier(policy.epsilon, policy.delta, policy.releases)
        own_cost = cost_of(policy.partitions, width, policy.releases)
        self._deviation = multiplier * math.sqrt(own_cost) * sensitivity(self._count)
        self._budget = RowBudget(path, Price(1 / multiplier**2, policy.releases, policy.partitions), entropy)
        self._digests, self._births = np.zeros(0, np.uint64), np.zeros(0, np.int64)
        self._turns = self._budget.ledger.turns(self._digests, self._births)
        self._is_first = np.zeros(0, np.bool_)  # of rows that are alike
        self._chunks: list[NDArray[np.int64]] = []  # of the rows at these positions
        self._arranged = np.zeros(0, np.int64)
        self._seen = self._overwritten = 0
        self._is_halted = self._is_warned = False

    @property
    def spent(self) -> PrivacySpent:
        """Return what all releases so far tell of any row, those that are paid for and not taken included."""
        ledger, policy = self._budget.ledger, self._policy
        epsilon = epsilon_of(self._overlap * math.sqrt(ledger.most_spent), policy.delta)
        return PrivacySpent(epsilon, policy.delta, ledger.releases, policy.protects)

    def recall(self, releases: int) -> None:
        """Take in how many releases own messages tell of: the file may be older (RowBudget.recall)."""
        if releases > self._budget.ledger.releases:  # else what later steps take back of the noise is not forgotten
            self._budget.recall(releases)
            self._turns = self._budget.ledger.turns(self._digests, self._births)
            self._noise = self._new_noise()

    @override
    def train(self, steps: int) -> Trained:
        """Take up to ``steps`` steps, each a release that is paid for before; none if that cannot be written down."""
        try:
            self._enter_rows()
            releases = self._affordable(steps)
            if not releases:
                return _NONE
            first = self._budget.pay(releases)
        except NotWrittenError as error:
            if not self._is_warned:
                _log.warning("no step is taken until it can be paid for: %s", error)
            self._is_warned = True
            return _NONE
        self._is_warned = False
        for release in range(first, first + releases):
            self._step(release)
        return Trained(releases, PRIVATE_SAMPLES, 0.0)

    def close(self) -> None:
        """Let go of the file."""
        self._budget.close()

    @override
    def state(self) -> Mapping[str, NDArray[Any]]:
        return self._optimiser.state

    @override
    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        self._optimiser.restore(state)

    def _enter_rows(self) -> None:
        """Let new rows be born."""
        rows = self._rows
        if rows.written == self._seen:
            return
        changed = rows.since(self._seen)
        replaced = changed[changed < len(self._digests)]
        if rows.overwritten > self._overwritten and (self._turns.ends[replaced] > self._budget.ledger.releases).any():
            _log.error("no more steps: rows were overwritten that had not left yet; keep more, or collect fewer")
            self._is_halted = True
        fresh = self._budget.digests(rows.rows[changed], rows.targets[changed])
        births = self._budget.enter(fresh)
        self._digests, self._births = np.resize(self._digests, len(rows)), np.resize(self._births, len(rows))
        self._digests[changed], self._births[changed] = fresh, births
        self._turns = self._budget.ledger.turns(self._digests, self._births)
        self._is_first = np.zeros(len(rows), np.bool_)
        self._is_first[np.unique(self._digests, return_index=True)[1]] = True
        self._seen, self._overwritten, self._arranged = rows.written, rows.overwritten, np.zeros(0, np.int64)

    def _affordable(self, steps: int) -> int:
        """Return how many of ``steps`` any row can pay for."""
        if self._is_halted or not len(self._digests):
            return 0
        return max(0, min(steps, int(self._turns.ends.max()) - self._budget.ledger.releases))

    def _step(self, release: int) -> None:
        total = self._sum(np.flatnonzero(self._turns.taking_part(release) & self._is_first))
        total += np.rint(self._noise.next(self._count) * self._deviation).astype(np.int64)
        gradient = from_grid(total, self._policy.clip) / PRIVATE_SAMPLES
        weights = self.inner.weights()
        self._optimiser.apply(weights, gradient.astype(np.float32))
        self.inner.load(weights)

    def _sum(self, chosen: NDArray[np.int64]) -> Integers:
        """Return the sum (count,) of clipped gradients of the rows at the positions ``chosen``, on the grid."""
        total = np.zeros(self._count, np.int64)
        if not np.array_equal(chosen, self._arranged):
            self._chunks, self._arranged = [chosen[chunk] for chunk in chunks_of(self._digests[chosen])], chosen
        for chunk in self._chunks:
            total += to_grid(self._sum_chunk(chunk), self._policy.clip)
        return total

    def _sum_chunk(self, chosen: NDArray[np.int64]) -> NDArray[np.float64]:
        rows, targets, bound = self._rows.rows[chosen], self._rows.targets[chosen], self._policy.clip
        found = self._sums.clipped_sum(rows, targets, bound)
        if _is_finite(found):
            return found.gradient.astype(np.float64)
        # weights of others may let a row's gradient overflow: it is left out, and changes nothing for its neighbours
        each = [self._sums.clipped_sum(rows[n : n + 1], targets[n : n + 1], bound) for n in range(len(rows))]
        return np.sum([one.gradient for one in each if _is_finite(one)], axis=0, dtype=np.float64) + np.zeros(
            self._count
        )


def _is_finite(found: ClippedSum) -> bool:
    return bool(np.isfinite(found.norms).all() and np.isfinite(found.gradient).all())
