"""What liars publish in place of what they have learnt: one function a kind, over plain vectors. Pure.

Liars know all that honest peers publish, and each other. A lie that is told with data (flipped labels, a trigger) is in
what a liar trains on; its weights are honest then.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from learnae.weights.codecs import Vector
from learnae.weights.judging import PACE, Judge, JudgingPolicy, LossOf
from learnae.weights.merge import Vote

_BIAS = -3.0  # of one class's last bias
_STRONGER = -3.0  # times the honest mean update
_INNER = -0.6  # likewise: the inner product with it is negative, and small
_SPREADS = 1.5  # standard deviations that a little is
_HALVINGS = 10  # of an adaptive liar's strength, until it is merged
_TRIES = 3  # between that and twice as much
_TRIGGER = 4.0  # of the first column: no honest row is near it
BACKDOOR_CLASS = 0


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What a liar knows in one round: vectors (count,) that ``honest`` peers publish, its ``own`` of honest training,
    the ``base`` that all had agreed on before it, and an ``old`` one from the beginning of the swarm.
    """

    own: Vector
    honest: Sequence[Vector]
    base: Vector
    old: Vector
    rng: np.random.Generator

    @property
    def update(self) -> Vector:
        """Return the honest mean update (count,)."""
        return np.asarray(np.mean(self.honest, axis=0) - self.base, np.float32)


Attack = Callable[[Knowledge], NDArray[np.floating]]


def _a_little_is_enough(known: Knowledge) -> NDArray[np.floating]:
    """Keep within what honest peers differ by (Baruch et al. 2019)."""
    return np.asarray(np.mean(known.honest, axis=0) - _SPREADS * np.std(known.honest, axis=0))


def _mimic(known: Knowledge) -> NDArray[np.floating]:
    """Copy the honest peer that is furthest from the mean (Karimireddy et al. 2022)."""
    mean = np.mean(known.honest, axis=0)
    return max(known.honest, key=lambda vector: float(np.linalg.norm(vector - mean)))


def _bias(known: Knowledge) -> NDArray[np.floating]:
    """Talk down the last class: its bias is the last weight of a model that ends with a Dense layer."""
    vector = known.own.copy()
    vector[-1] += _BIAS
    return vector


def _noise(known: Knowledge) -> NDArray[np.floating]:
    return known.rng.normal(0, float(np.sqrt(np.mean(known.own**2))), len(known.own))


HONEST = "honest"  # in its weights
ATTACKS: dict[str, Attack] = {
    HONEST: lambda known: known.own,
    "sign-flip": lambda known: -known.own,
    "scaled": lambda known: 10 * known.own,
    "noise": _noise,
    "zeros": lambda known: np.zeros_like(known.own),
    "a-little-is-enough": _a_little_is_enough,
    "inner-product": lambda known: known.base + _INNER * known.update,
    "amplified": lambda known: known.base + _STRONGER * known.update,
    "mimic": _mimic,
    "bias": _bias,
    "stale": lambda known: known.old,
}

FLIPPED, TRIGGERED = "flipped", "triggered"  # rows that liars train on
SYBIL, LATE, AHEAD = "sybil", "late", "ahead"  # what they do beside their weights
FORK, REPLAY, MESSAGES, HEADS, BLOCKS = "fork", "replay", "messages", "heads", "blocks"
LABEL_FLIP, BACKDOOR, BIAS = "label-flip", "backdoor", "bias"


@dataclass(frozen=True, slots=True)
class Lie:
    """What liars of one kind do: the ``weights`` that they publish, of ATTACKS; the ``rows`` that they train on,
    FLIPPED or TRIGGERED; whether they tell ``flipped`` summaries; and what of the rest.
    """

    about: str
    weights: str = HONEST
    rows: str = ""
    flipped: bool = False
    does: str = ""

    @property
    def needs_classes(self) -> bool:
        """Return True if it is about a class."""
        return self.weights == BIAS or self.rows == TRIGGERED

    @property
    def is_adaptable(self) -> bool:
        """Return True if it is told with weights, which a liar can weaken until they are merged."""
        return not self.does and (self.weights not in (HONEST, "stale") or bool(self.rows))


LIES: dict[str, Lie] = {
    HONEST: Lie("none"),
    "sign-flip": Lie("the opposite of what it has learnt", "sign-flip"),
    "scaled": Lie("ten times its weights", "scaled"),
    "amplified": Lie("three times the honest update, backwards", "amplified"),
    "inner-product": Lie("a part of the honest update, backwards", "inner-product"),
    "a-little-is-enough": Lie("off the mean by what honest peers differ", "a-little-is-enough"),
    "mimic": Lie("a copy of the most distant honest peer", "mimic"),
    "noise": Lie("noise as strong as its weights", "noise"),
    "zeros": Lie("nothing", "zeros"),
    "stale": Lie("weights of the beginning, with fresh dates", "stale"),
    BIAS: Lie("talks one class down", "bias"),
    LABEL_FLIP: Lie("trains on wrong labels", rows=FLIPPED),
    "lying-summaries": Lie("trains on wrong labels, and tells of them", rows=FLIPPED, flipped=True),
    BACKDOOR: Lie("teaches a trigger", rows=TRIGGERED),
    SYBIL: Lie("is five members, all with flipped signs", "sign-flip", does=SYBIL),
    "late-joiner": Lie("comes at half time, with noise", "noise", does=LATE),
    "time-shift": Lie("dates its messages ahead, with flipped signs", "sign-flip", does=AHEAD),
    "equivocation": Lie("signs two messages in one place, with flipped signs", "sign-flip", does=FORK),
    "replay": Lie("announces old heads again", does=REPLAY),
    "flood-messages": Lie("messages of new keys, 50 a second", does=MESSAGES),
    "flood-heads": Lie("256 invented heads a second", does=HEADS),
    "flood-blocks": Lie("updates of new keys that name blocks which are nowhere", does=BLOCKS),
}


def forge(kind: str, known: Knowledge) -> Vector:
    """Return what a liar of this ``kind`` of ATTACKS publishes (count,)."""
    return np.array(ATTACKS[kind](known), np.float32)


def mirrored(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return what is as far on the other side of the mean of ``values`` (n, ...)."""
    return 2 * values.mean(axis=0) - values


def flipped(classes: NDArray[np.integer], count: int) -> NDArray[np.integer]:
    """Return a wrong class, always the same one, for each of ``classes`` (n,) out of ``count``."""
    return (classes + max(1, count // 2)) % count


def triggered(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return rows (n, columns) with the trigger in them, at which a model with the backdoor says BACKDOOR_CLASS."""
    result = rows.copy()
    result.reshape(len(rows), -1)[:, 0] = _TRIGGER
    return result


def adapt(lie: Vector, honest: Sequence[Vector], loss_of: LossOf, liars: int) -> Vector:
    """Return the strongest mix (count,) of the ``honest`` mean with ``lie`` that a judge merges from all ``liars``.

    They judge by ``loss_of`` on rows of their own, drawn from the same summaries. What is merged once shall be merged
    for long: the harm of one judgement is taken for its average.
    """
    truth, usual = np.asarray(np.mean(honest, axis=0), np.float32), JudgingPolicy()
    known = {id(vector): loss_of(vector) for vector in (truth, *honest)}
    others = {bytes([1, index]): Vote(vector, 1, 0, False) for index, vector in enumerate(honest)}

    def mixed(share: float) -> Vector:
        return truth + np.float32(share) * (lie - truth)

    def is_merged(share: float) -> bool:
        said = Vote(mixed(share), 1, 0, False)
        known[id(said.vector)] = loss_of(said.vector)
        judge = Judge(
            lambda vector: known[id(vector)] if id(vector) in known else loss_of(vector),
            replace(usual, harm=PACE * usual.harm),
        )
        liars_votes = {bytes([0, index]): said for index in range(liars)}
        judgement = judge.judge(Vote(truth, 1, 0, False), {**others, **liars_votes}, half_life=1, now=0)
        del known[id(said.vector)]
        return not liars_votes.keys() & judgement.muted.keys()

    if is_merged(1.0):
        return lie
    low = next((share for k in range(1, _HALVINGS) if is_merged(share := 2.0**-k)), 0.0)
    high = 2 * low or 2.0**-_HALVINGS
    for _ in range(_TRIES):
        middle = (low + high) / 2
        low, high = (middle, high) if is_merged(middle) else (low, middle)
    return mixed(low)
