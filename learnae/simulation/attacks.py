"""What liars publish in place of what they have learnt: one function a kind, over plain vectors. Pure.

Liars know all that honest peers publish, and each other. A lie that is told with data (flipped labels) is in what a
liar trains on, not here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from learnae.weights.codecs import Vector

_BIAS = -3.0  # of one class's last bias
_STRONGER = -3.0  # times the honest mean update
_INNER = -0.6  # likewise: the inner product with it is negative, and small
_SPREADS = 1.5  # standard deviations that a little is


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


def forge(kind: str, known: Knowledge) -> Vector:
    """Return what a liar of this ``kind`` of ATTACKS publishes (count,)."""
    return np.array(ATTACKS[kind](known), np.float32)
