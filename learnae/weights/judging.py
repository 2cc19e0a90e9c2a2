"""Judging replicas before they are merged: which are muted, and which are added to the mean. Pure.

A liar's replica is bad at rows of everybody's kind: the *proxy set*, drawn from what members publish of their rows.
Rules that look at weights alone (trimmed mean, median, Krum) lose honest members where data differ between people,
and own rows alone mute them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from learnae.basics.light_numpy import norm
from learnae.weights.codecs import Vector
from learnae.weights.merge import NO_MOMENTS, Moments, Vote, between, consensus, vote_weights

LossOf = Callable[[Vector], float]  # of weights (n,): the mean over the proxy set, each row's capped
LossesOf = Callable[[Iterable[Vector]], Sequence[float]]  # of several, which costs less together
_COORDINATES = 512  # that movements are told by: each peer draws its own, and tells no other
_FEWEST = 3  # others: of two that differ it is not told which does harm
_FEWEST_HARMFUL = 2  # one alone does little, and is mostly an honest peer that differs
_AHEAD, _VALUES = 16, 1 << 18  # means that are made before it is known whether one is taken; weights in all
PACE = 0.2  # of the moving averages of harm and suspicion


@dataclass(frozen=True, slots=True)
class JudgingPolicy:
    """When a replica is muted: a loss beyond ``loss_ratio`` times the best and ``loss_slack``; a length beyond
    ``length_ratio`` times the own, or below ``least_length`` times it; a ``movement`` of less than that share of the
    own one, over the last ``updates``. So is one without which the loss of the mean of all has long been lower by more
    than ``harm``. The mean takes in what does not raise its loss by more than ``tolerance``; all are merged if that is
    no worse by ``slack``.
    One whose loss is beyond ``suspect_ratio`` times the best, and at least ``nothing``, is never merged, and suspect
    when an average over time of that is beyond ``suspicion``.
    """

    loss_ratio: float = 2.0
    loss_slack: float = 0.1
    length_ratio: float = 3.0
    least_length: float = 0.0
    movement: float = 0.15
    updates: int = 8
    harm: float = 0.01
    tolerance: float = 0.015
    slack: float = 0.03
    suspect_ratio: float = 3.0
    nothing: float = 0.0
    suspicion: float = 0.6


@dataclass(frozen=True, slots=True)
class Judgement:
    """Which authors' replicas are merged, in the order of their losses, and why each other one is not."""

    kept: tuple[bytes, ...]
    muted: Mapping[bytes, str]


def running(
    mean: Vector, total: float, votes: Sequence[Vote], weights: Sequence[float], moments: Moments
) -> Iterator[tuple[Vector, float]]:
    """Yield the mean (n,) of weight ``total`` with ever more ``votes`` in it, and its weight then."""
    for vote, weight in zip(votes, weights, strict=True):
        share = weight / (total + weight) if total + weight > 0 else 0.0
        mean, total = between(mean, vote.vector, share, moments), total + weight
        yield mean, total


@dataclass(eq=False)
class Judge:
    """Judges the replicas of others by ``loss_of``, by their length and by how they move.

    ``losses_of`` gives the same of several weights; at most ``ahead`` means are made that may be of no use.

    A hint, never a proof: what it says holds for one merge, and ``suspects`` are for people.

    >>> def loss_of(weights):
    ...     return float(np.abs(weights - 1).mean())
    >>> own, good, bad = (Vote(np.full(4, value, np.float32), 100, 0, False) for value in (0.9, 1.1, -1.0))
    >>> Judge(loss_of).judge(own, {b"good": good, b"bad": bad}, half_life=1000, now=0)
    Judgement(kept=(b'good',), muted={b'bad': 'a loss of 2.00, the best has 0.10'})
    """

    loss_of: LossOf
    policy: JudgingPolicy = JudgingPolicy()
    moments: Moments = NO_MOMENTS
    rng: np.random.Generator = field(default_factory=np.random.default_rng)
    losses_of: LossesOf | None = None
    ahead: int = _AHEAD

    def __post_init__(self) -> None:
        one = self.loss_of
        self._losses_of: LossesOf = self.losses_of or (lambda vectors: [one(vector) for vector in vectors])
        self._places: np.ndarray | None = None
        self._own_trail: deque[Vector] = deque(maxlen=self.policy.updates + 1)
        self._trails: dict[bytes, deque[Vector]] = {}
        self._losses: dict[bytes, tuple[Vote, float]] = {}
        self._newest: dict[bytes, Vector] = {}  # the last in each trail
        self._suspicion: dict[bytes, float] = {}
        self._harm: dict[bytes, float] = {}

    @property
    def suspects(self) -> list[bytes]:
        """Return the authors whose replicas have been bad for long."""
        return [author for author, value in self._suspicion.items() if value > self.policy.suspicion]

    def forget_losses(self) -> None:
        """Judge every replica anew: the proxy set is another."""
        self._losses = {}

    def note_own(self, merged: Vector) -> None:
        """Take in the own weights (n,) after a merge: others' movements are compared with theirs."""
        self._own_trail.append(self._sampled(merged))

    def judge(self, own: Vote, others: Mapping[bytes, Vote], half_life: int, now: int) -> Judgement:
        """Return what of ``others``, by author, to merge with the ``own`` vote; ``half_life`` and ``now`` in ms."""
        self._forget_all_but(others)
        own_loss, losses = self.loss_of(own.vector), self._look_at(others)
        most = self._suspect_above(own_loss, losses)
        self._note_suspicion(losses, most)
        length = norm(own.vector)
        unlike = {author: why for author, vote in others.items() if (why := self._why_unlike(author, vote, length))}
        heard = [(author, vote) for author, vote in others.items() if author not in unlike]
        found = self._among(own, own_loss, heard, losses, most, half_life, now)
        return Judgement(found.kept, {**unlike, **found.muted})

    def _among(
        self,
        own: Vote,
        own_loss: float,
        heard: Sequence[tuple[bytes, Vote]],
        losses: Mapping[bytes, float],
        most: float,
        half_life: int,
        now: int,
    ) -> Judgement:
        """Judge those that are ``heard``, by their losses and by those of means; beyond ``most`` is far from honest."""
        best = min([own_loss, *losses.values()])
        bad = {author: why for author, _ in heard if (why := self._why_bad(losses[author], best))}
        muted = self._harmful(own, heard, half_life, now)
        muted |= {author: why for author, why in bad.items() if not losses[author] <= most}
        everybody = sorted((each for each in heard if each[0] not in muted), key=lambda each: losses[each[0]])
        good = [each for each in everybody if each[0] not in bad]
        kept, raised, loss = self._add(own, own_loss, good, half_life, now)
        if len(kept) < len(everybody) and self._mean_loss(own, everybody, half_life, now) <= loss + self.policy.slack:
            return Judgement(tuple(author for author, _ in everybody), muted)  # honest peers differ, too
        return Judgement(tuple(kept), {**muted, **bad, **raised})

    def _suspect_above(self, own_loss: float, losses: Mapping[bytes, float]) -> float:
        """Return which loss is the most that honest peers that differ have for long."""
        policy = self.policy
        return max(policy.suspect_ratio * min([own_loss, *losses.values()]) + policy.loss_slack, policy.nothing)

    def _look_at(self, others: Mapping[bytes, Vote]) -> dict[bytes, float]:
        """Return the losses of replicas: computed once for each, and its place in the trail noted then."""
        known = self._losses
        new = {a: vote for a, vote in others.items() if a not in known or known[a][0].vector is not vote.vector}
        found = self._losses_of(vote.vector for vote in new.values())
        for (author, vote), loss in zip(new.items(), found, strict=True):
            known[author] = vote, loss if np.isfinite(loss) else np.inf
        for author, vote in others.items():
            if self._newest.get(author) is not vote.vector:
                self._newest[author] = vote.vector
                trail = self._trails.setdefault(author, deque(maxlen=self.policy.updates + 1))
                trail.append(self._sampled(vote.vector))
        return {author: known[author][1] for author in others}

    def _why_bad(self, loss: float, best: float) -> str:
        if loss <= self.policy.loss_ratio * best + self.policy.loss_slack:
            return ""
        return f"a loss of {loss:.2f}, the best has {best:.2f}"

    def _why_unlike(self, author: bytes, vote: Vote, own_length: float) -> str:
        policy, length = self.policy, norm(vote.vector)
        if not policy.least_length * own_length <= length <= policy.length_ratio * own_length and own_length > 0:
            return f"its weights are {length / own_length:.1f} times as long as the own"
        movement = self._movement(author)
        if movement is not None and movement < policy.movement and not vote.settled:
            return f"it has moved {movement:.2f} times as far as the own weights"
        return ""

    def _movement(self, author: bytes) -> float | None:
        """Return how far a replica has moved, to how far the own weights have; None before there is enough to tell."""
        trail, own = self._trails[author], self._own_trail
        if len(trail) <= self.policy.updates or len(own) <= self.policy.updates:
            return None
        way = norm(own[-1] - own[0])
        return norm(trail[-1] - trail[0]) / way if way > 0 else None

    def _add(
        self, own: Vote, own_loss: float, ordered: Sequence[tuple[bytes, Vote]], half_life: int, now: int
    ) -> tuple[list[bytes], dict[bytes, str], float]:
        """Add replicas to the running weighted mean while its loss does not rise; return also the loss at the end.

        Means are made ahead, as if all were taken in: their losses cost less together.
        """
        own_weight, *weights = vote_weights([own, *(vote for _, vote in ordered)], half_life, now)
        mean, total, loss, place = own.vector, own_weight, own_loss, 0
        kept, raised = [], {}
        ahead = most = max(1, min(self.ahead, _VALUES // len(own.vector)))
        while place < len(ordered):
            until = min(place + ahead, len(ordered))
            more = [vote for _, vote in ordered[place:until]]
            means = list(running(mean, total, more, weights[place:until], self.moments))
            found, ahead = self._losses_of(candidate for candidate, _ in means), min(2 * ahead, most)
            for (candidate, weight), its in zip(means, found, strict=True):
                author, place = ordered[place][0], place + 1
                if not its <= loss + self.policy.tolerance:
                    raised[author] = f"the mean's loss would rise from {loss:.3f} to {its:.3f}"
                    ahead = 1
                    break
                mean, total, loss = candidate, weight, its
                kept.append(author)
        return kept, raised, loss

    def _harmful(self, own: Vote, others: Sequence[tuple[bytes, Vote]], half_life: int, now: int) -> dict[bytes, str]:
        """Return those without which the mean of all has long been better, and by how much."""
        if len(others) < _FEWEST:
            return {}
        votes = [own, *(vote for _, vote in others)]
        mean = consensus(votes, half_life, now, self.moments)
        loss, weights = self.loss_of(mean), vote_weights(votes, half_life, now)[1:]
        voting = [(author, vote, each) for (author, vote), each in zip(others, weights, strict=True) if each < 1]
        rest = (between(mean, vote.vector, -each / (1 - each), self.moments) for _, vote, each in voting)
        for (author, _, _), without in zip(voting, self._losses_of(rest), strict=True):
            before = self._harm.get(author, 0.0)
            self._harm[author] = before + PACE * (loss - without - before)
        found = [author for author, _ in others if self._harm.get(author, 0.0) > self.policy.harm]
        if len(found) < _FEWEST_HARMFUL:
            return {}
        return {author: f"without it the mean of all has been better by {self._harm[author]:.3f}" for author in found}

    def _mean_loss(self, own: Vote, others: Sequence[tuple[bytes, Vote]], half_life: int, now: int) -> float:
        return self.loss_of(consensus([own, *(vote for _, vote in others)], half_life, now, self.moments))

    def _note_suspicion(self, losses: Mapping[bytes, float], most: float) -> None:
        policy = self.policy
        for author, loss in losses.items():
            movement = self._movement(author)
            is_bad = not loss <= most
            is_bad |= movement is not None and movement < policy.movement
            before = self._suspicion.get(author, 0.0)
            self._suspicion[author] = before + PACE * (is_bad - before)

    def _forget_all_but(self, others: Mapping[bytes, Vote]) -> None:
        for kept in (self._trails, self._losses, self._newest, self._suspicion, self._harm):
            for author in [author for author in kept if author not in others]:
                del kept[author]

    def _sampled(self, vector: Vector) -> Vector:
        if self._places is None:
            count = min(_COORDINATES, len(vector))
            self._places = np.sort(self.rng.choice(len(vector), count, replace=False))
        return vector.take(self._places)
