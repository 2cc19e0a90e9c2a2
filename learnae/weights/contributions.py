"""What each replica adds to a merge: the loss that the mean of all loses on the proxy set by it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from learnae.weights.codecs import Vector
from learnae.weights.judging import JudgingPolicy, LossesOf, running
from learnae.weights.merge import NO_MOMENTS, Moments, Vote, between, vote_weights

_POLICY = JudgingPolicy()


def gains(
    votes: Mapping[bytes, Vote],
    losses_of: LossesOf,
    half_life: int,
    now: int,
    rng: np.random.Generator,
    moments: Moments = NO_MOMENTS,
    orders: int = 2,
) -> dict[bytes, float]:
    """Return by author how far its replica lowers the loss of the mean of all; below 0 where it raises that.

    Replicas are drawn one after another into the weighted mean, those of more weight sooner, so many times as there are
    ``orders``. What each lowers the loss by when its turn comes is its gain; the first is compared with what one drawn
    alone has in the mean. So gains sum to what all have by merging, and over many orders they are weighted Shapley
    values (Kalai & Samet 1987; drawn as by Castro, Gomez & Tejada 2009). What is far worse than the best alone is no
    part of the mean: its gain is what the mean of all others would lose by it. ``half_life`` and ``now`` in ms, as in
    the merge.

    >>> def losses_of(several):
    ...     return [float(np.abs(weights - 1).mean()) for weights in several]
    >>> values = {b"good": 1.0, b"usual": 0.5, b"bad": -1.0}
    >>> votes = {name: Vote(np.full(4, value, np.float32), 100, 0, False) for name, value in values.items()}
    >>> found = gains(votes, losses_of, 1000, 0, np.random.default_rng(1), orders=100)
    >>> sorted(found, key=found.get)
    [b'bad', b'usual', b'good']
    """
    weights = dict(zip(votes, vote_weights(list(votes.values()), half_life, now), strict=True))
    losses = dict(zip(votes, losses_of(vote.vector for vote in votes.values()), strict=True))
    most = _POLICY.loss_ratio * min(losses.values()) + _POLICY.loss_slack
    good = [author for author in votes if losses[author] <= most and weights[author] > 0]
    found, mean = dict.fromkeys(votes, 0.0), (next(iter(votes.values())).vector, 0.0)
    if not good:
        return found
    alone = sum(weights[author] * losses[author] for author in good) / sum(weights[author] for author in good)

    def means(order: Sequence[bytes]) -> Iterator[Vector]:
        """Yield the means one by one: models may be large."""
        nonlocal mean
        vectors, each = [votes[author] for author in order], [weights[author] for author in order]
        for mean in running(vectors[0].vector, 0.0, vectors, each, moments):
            yield mean[0]

    before = alone
    for _ in range(orders):
        order, before = _drawn(good, weights, rng), alone
        for author, after in zip(order, losses_of(means(order)), strict=True):
            found[author] += (before - after) / orders
            before = after
    bad = [author for author in votes if losses[author] > most and weights[author] > 0]
    with_it = losses_of(_with(mean, votes[author].vector, weights[author], moments) for author in bad)
    return found | {author: before - loss for author, loss in zip(bad, with_it, strict=True)}


def _drawn(authors: Sequence[bytes], weights: Mapping[bytes, float], rng: np.random.Generator) -> list[bytes]:
    """Return all authors, drawn one after another with chances as their weights (Efraimidis & Spirakis 2006)."""
    keys = rng.exponential(size=len(authors)) / np.array([weights[author] for author in authors])
    return [authors[place] for place in np.argsort(keys)]


def _with(mean: tuple[Vector, float], vector: Vector, weight: float, moments: Moments) -> Vector:
    """Return a mean, which has a weight, with one more ``vector`` (n,) of this ``weight`` in it."""
    return between(mean[0], vector, weight / (mean[1] + weight), moments)
