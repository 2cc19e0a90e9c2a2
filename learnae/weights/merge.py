"""The merge: moving one's own weights towards the replicas of others; and what all agree on. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from learnae.weights.codecs import Vector

_TILE = 1 << 15  # values: 128 KiB, so that sum and product stay in the second-level cache
_LEAST_PACE = 0.3  # of the average over time: half of it is from the last two updates
_MOST_CLAIM = 2  # times the median claim of samples: no claim buys more


MEAN, JUDGED, OWN, TRIMMED = RULES = ("mean", "judged", "own", "trimmed")
_TRIMMED = 3, 8  # of the votes: so many of so many at each end are left out of a trimmed mean


@dataclass(frozen=True, slots=True)
class MergePolicy:
    """``step`` in (0, 1]; a replica ``half_life`` ms older than the freshest one counts half.

    By the ``rule`` mean all that are followed are merged; with judged, those that do well on rows of everybody's kind;
    with own, those that do not badly on own held-out rows; with trimmed, of each weight those in the middle.
    ``momentum`` is the beta of Momentum; 0 for none.
    """

    step: float = 1.0
    half_life: int = 60_000
    rule: str = MEAN
    momentum: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Where a model's weights are ``means`` and ``variances`` of what peers have seen: positions (channels,) of both.

    Weights are averaged. Of rows in several places the variance is that of the mixture: the average of the variances
    and the variance of the means (the law of total variance). A variance below 0 counts as 0.
    """

    means: NDArray[np.int64]
    variances: NDArray[np.int64]

    def complete(self, result: Vector, vectors: Sequence[Vector], weights: Sequence[float]) -> None:
        """Set the variances in ``result``, which holds the weighted mean of ``vectors``."""
        if not len(self.means):
            return
        total, centre = np.zeros(len(self.means)), result[self.means].astype(np.float64)
        for vector, weight in zip(vectors, weights, strict=True):
            away = vector[self.means] - centre
            total += weight * (np.maximum(vector[self.variances], 0) + away * away)
        result[self.variances] = total


NO_MOMENTS = Moments(np.zeros(0, np.int64), np.zeros(0, np.int64))


@dataclass(frozen=True, slots=True)
class Vote:
    """One replica's claim in a merge: its ``vector`` (n,), its author's samples and its time (ms).

    A ``settled`` one does not age: its author has nothing to add.
    """

    vector: Vector
    samples: int
    time: int
    settled: bool


def counted(claims: Sequence[int]) -> list[int]:
    """Return as how many samples each of these ``claims`` counts: up to twice the median (the lower one of two).

    >>> counted([400, 400, 10**6, 0])
    [400, 400, 800, 0]
    """
    some = sorted(claim for claim in claims if claim)
    most = _MOST_CLAIM * some[(len(some) - 1) // 2] if some else 0
    return [min(claim, most) for claim in claims]


def vote_weights(votes: Sequence[Vote], half_life: int, now: int) -> list[float]:
    """Return weights that sum to 1: proportional to samples, halved with every ``half_life`` (ms) of age.

    What others claim moves little: samples count up to a bound (``counted``), and age is counted at the reader's
    ``now`` (ms), so that a date ahead is worth no more than one of now. A swarm that pauses does not fade: ages are
    counted from the freshest vote. Peers without samples have no vote, unless none has any.

    >>> nothing = np.zeros(1, np.float32)
    >>> votes = [Vote(nothing, samples, time=0, settled=False) for samples in (400, 400, 10**6)]
    >>> vote_weights(votes, half_life=1000, now=0)
    [0.25, 0.25, 0.5]
    """
    samples = counted([vote.samples for vote in votes])
    freshest = min((max(0, now - vote.time) for vote in votes if not vote.settled), default=0)
    ages = [0 if vote.settled else max(0, now - vote.time) - freshest for vote in votes]
    raw = [count * 0.5 ** (age / half_life) for count, age in zip(samples, ages, strict=True)]
    total = sum(raw)
    return [value / total for value in raw] if total > 0 else [1 / len(votes)] * len(votes)


def consensus(
    votes: Sequence[Vote], half_life: int, now: int, moments: Moments = NO_MOMENTS, rule: str = MEAN
) -> Vector:
    """Return the consensus estimate at ``now`` (ms): the weighted mean (n,) of live replicas, one's own included.

    By the ``rule`` TRIMMED it is their ``trimmed_mean``; the other rules say whose votes these are.
    """
    vectors, weights = [vote.vector for vote in votes], vote_weights(votes, half_life, now)
    if rule == TRIMMED:
        return trimmed_mean(vectors, weights)
    result = weighted_sum(vectors, weights)
    moments.complete(result, vectors, weights)
    return result


def merge(own: Vector, votes: Sequence[Vote], policy: MergePolicy, now: int, moments: Moments = NO_MOMENTS) -> Vector:
    """Return ``own + step * sum_j w_j (replica_j - own)``, a new vector (n,); its ``moments`` are the mixture's.

    ``votes`` holds one's own replica too. (Asynchronous decentralised SGD: Lian et al. 2018,
    eq. 4, with weights by samples as in McMahan et al. 2017.)

    >>> own, other = np.zeros(2, np.float32), np.ones(2, np.float32)
    >>> votes = [Vote(own, 100, time=0, settled=False), Vote(other, 300, time=0, settled=False)]
    >>> merge(own, votes, MergePolicy(step=0.5), now=0)
    array([0.33333334, 0.33333334], dtype=float32)
    """
    return between(own, consensus(votes, policy.half_life, now, moments, policy.rule), policy.step, moments)


def between(own: Vector, target: Vector, share: float, moments: Moments) -> Vector:
    """Return ``own + share * (target - own)``, a new vector (n,)."""
    result = target - own
    result *= np.float32(share)
    result += own
    moments.complete(result, [own, target], [1 - share, share])
    return result


def weighted_sum(vectors: Sequence[Vector], weights: Sequence[float]) -> Vector:
    """Return ``sum_j weights_j * vectors_j`` in float32, tile by tile: each vector is read once."""
    result = np.empty_like(vectors[0])
    product = np.empty(_TILE, np.float32)
    factors = [np.float32(weight) for weight in weights]
    for start in range(0, len(result), _TILE):
        total = result[start : start + _TILE]
        part = product[: len(total)]
        np.multiply(vectors[0][start : start + _TILE], factors[0], out=total)
        for vector, factor in zip(vectors[1:], factors[1:], strict=True):
            np.multiply(vector[start : start + _TILE], factor, out=part)
            np.add(total, part, out=total)
    return result


def distance(one: Vector, other: Vector) -> float:
    """Return the norm of ``other - one`` (n,), tile by tile: the difference is never there as a whole."""
    squares = 0.0
    for start in range(0, len(one), _TILE):
        part = other[start : start + _TILE] - one[start : start + _TILE]
        squares += float(np.dot(part, part))
    return math.sqrt(squares)


def trimmed_mean(vectors: Sequence[Vector], weights: Sequence[float]) -> Vector:
    """Return for each weight (n,) the mean of those in the middle: three eighths at each end are left out.

    No more than three of eight liars can move a weight beyond what honest votes have. Of two it is the mean, of three
    to five one is left out at each end. Votes of no weight do not count, unless all
    are such. (Coordinate-wise trimmed mean: Yin et al. 2018, definition 2, with weights for those that are left.)

    >>> votes = [np.array([value, -value], np.float32) for value in (1, 2, 3, 1000)]
    >>> trimmed_mean(votes, [0.25] * 4)
    array([ 2.5, -2.5], dtype=float32)
    """
    counted = [index for index, weight in enumerate(weights) if weight > 0] or list(range(len(weights)))
    cut = _TRIMMED[0] * len(counted) // _TRIMMED[1]
    shares = np.array([weights[index] for index in counted])
    shares = np.where(shares > 0, shares, 1.0)
    result = np.empty_like(vectors[0])
    for start in range(0, len(result), _TILE):
        tile = np.stack([vectors[index][start : start + _TILE] for index in counted])
        order = np.argsort(tile, axis=0, kind="stable")[cut : len(counted) - cut]
        kept, own = np.take_along_axis(tile, order, axis=0), shares[order]
        result[start : start + _TILE] = (kept * own).sum(axis=0) / own.sum(axis=0)
    return result


@dataclass(eq=False)
class ConsensusEstimate:
    """The weighted mean of the live replicas, averaged over time by a peer that follows only some of them.

    The votes differ from one merge to the next, as the peers followed are redrawn: their average over time is
    near the mean of all. (Polyak and Juditsky 1992.) A peer that follows all needs no average.
    An estimate older than ``half_life`` (ms), as in MergePolicy, is replaced.
    """

    vector: Vector
    half_life: int
    moments: Moments = NO_MOMENTS
    rule: str = MEAN
    _time: int | None = None  # not made yet by this process

    def renew(self, votes: Sequence[Vote], live: int, now: int) -> None:
        """Take in ``votes``, at least one, from ``live`` peers; ``now`` in ms."""
        current = consensus(votes, self.half_life, now, self.moments, self.rule)
        is_fresh = self._time is not None and now - self._time <= self.half_life
        if is_fresh and len(votes) < live:
            current = between(self.vector, current, max(len(votes) / live, _LEAST_PACE), self.moments)
        self.vector, self._time = current, now
