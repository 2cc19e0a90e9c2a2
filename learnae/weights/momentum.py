"""Outer momentum: a merge goes on, beyond what it gives, on the way that merges have gone. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from learnae.basics.light_numpy import norm
from learnae.weights.codecs import Vector
from learnae.weights.merge import NO_MOMENTS, Moments, distance

FREE = 0.3  # what needs no bound: with more of it many peers together run away from what they have learnt
EARLY = MOST = 0.9
_EARLY_MERGES = 16
_LONGEST = 2.0  # times the own last phase: how far one merge counts, so that a liar's leap is not gone on with
_FEWEST = 2  # others
_PLAIN_FIRST = 2  # merges: they take a beginner to where the others are, which is no way to go on
_MORE_LOSS, _LEAST_LOSS = 1.02, 0.01  # what may be lost beyond the plain merge: times its loss, and so much

LossOf = Callable[[Vector], float | None]  # of weights (n,) on own rows; None where these may not be asked


def beyond(merged: Vector, move: Vector, velocity: Vector | None, beta: float) -> tuple[Vector, Vector]:
    """Return ``merged + beta * v`` and ``v = beta * velocity + move``, new vectors (n,): Nesterov's momentum.

    ``merged`` is what the plain merge gives, ``move`` how far that is from where the own last phase began. Beyond FREE
    the old velocity, None for none, counts as if it were no longer than the move. (Of merges: Douillard et al. 2023.)

    >>> one = np.ones(2, np.float32)
    >>> beyond(merged=3 * one, move=one, velocity=one, beta=0.25)
    (array([3.3125, 3.3125], dtype=float32), array([1.25, 1.25], dtype=float32))
    """
    faster = move
    if velocity is not None:
        length, before = norm(move), norm(velocity)
        kept = beta if beta <= FREE or before <= length else beta * length / before
        faster = np.float32(kept) * velocity
        faster += move
    result = np.float32(beta) * faster
    result += merged
    return result, faster


@dataclass(eq=False)
class Momentum:
    """The velocity of one peer's merges; with a ``beta`` of 0 merges are plain.

    While a swarm is young, all go one way: up to EARLY counts then in the first merges. The velocity is 0 at first, and
    when no phase of training was merged for a ``half_life`` (ms). How far a merge goes counts up to twice the length of
    the own last phase. Statistics (``moments``) have no velocity.

    >>> momentum, weights = Momentum(beta=0.25, half_life=1000), np.zeros(1, np.float32)
    >>> for now in range(4):
    ...     weights = momentum.go_on(weights + 1, weights + 1, others=2, now=now)
    ...     print(weights)
    [1.]
    [2.]
    [3.25]
    [4.5625]
    """

    beta: float
    half_life: int
    moments: Moments = NO_MOMENTS
    keep: Callable[[Vector], Vector] = lambda vector: vector
    _base: Vector | None = None  # (n,): what the last merge gave, and the own last phase began with
    _velocity: Vector | None = None
    _merges: int = 0
    _time: int = 0

    def forget(self) -> None:
        """Begin anew: the own weights are replaced by others than a merge's."""
        self._base, self._velocity, self._merges = None, None, 0

    def stop(self, base: Vector) -> None:
        """Go on from ``base`` (n,), in place of what ``go_on`` gave last, without a velocity."""
        self._base, self._velocity = self.keep(base), None

    def go_on(
        self,
        own: Vector,
        merged: Vector,
        others: int,
        now: int,
        loss_of: LossOf = lambda _: None,
        fresh: bool = False,
        young: bool = False,
    ) -> Vector:
        """Return the weights (n,) that the next phase begins with, given what the last has made of them (``own``).

        ``merged`` is what the plain merge with so many ``others`` gives at ``now`` (ms); ``fresh`` says that they are
        not those of the last merge, ``young`` that they have not learnt for long. Beyond FREE ``loss_of`` must not rise
        much; what it does not know has no more.
        """
        if not self.beta:
            return merged
        if self._base is not None and np.array_equal(own, self._base):  # no phase since: who pauses goes no way
            self._base = self.keep(merged)
            return merged
        is_late = not 0 <= now - self._time <= self.half_life
        self._merges, self._time = self._merges + 1, now
        base = self._base
        if base is None or fresh or is_late or others < _FEWEST or self._merges <= _PLAIN_FIRST:
            self.stop(merged)
            return merged
        most = max(self.beta, EARLY) if young and self._merges <= _EARLY_MERGES else self.beta
        move = self._counted(merged - base, distance(own, base))
        loss = loss_of(merged) if most > FREE else None
        if loss is not None:
            result, faster = beyond(merged, move, self._velocity, most)
            if is_near(loss_of(result), loss):
                self._base, self._velocity = self.keep(result), self.keep(faster)
                return result
            if self.beta > FREE:
                self.stop(merged)
                return merged
        result, faster = beyond(merged, move, self._velocity, min(self.beta, FREE))
        self._base, self._velocity = self.keep(result), self.keep(faster)
        return result

    def _counted(self, move: Vector, own_length: float) -> Vector:
        """Return ``move`` (n,), changed in place: without statistics, and no longer than counts."""
        move[self.moments.means] = move[self.moments.variances] = 0
        length, most = norm(move), _LONGEST * own_length
        if length > most:
            move *= np.float32(most / length)
        return move


def is_near(loss: float | None, plain: float) -> bool:
    """Return True if a ``loss`` on own held-out rows is hardly above that of the ``plain`` merge, or of before."""
    return loss is not None and loss <= _MORE_LOSS * plain + _LEAST_LOSS
