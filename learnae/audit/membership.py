"""Whether a row was trained on: how well what is sent tells a peer's own rows from other rows. Pure."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learnae.audit.reconstruction import MOST_DIRECTIONS, changes, row_space, shares
from learnae.models.definition import ModelDefinition
from learnae.weights.codecs import Vector

Array = NDArray[Any]
LOOKED_AT = 11  # updates from the first on: later ones say less of single rows


def separation(own: Array, others: Array) -> float:
    """Return how often a score of ``own`` (n,) is above one of ``others`` (m,), ties half: the area under the curve.

    >>> separation(np.array([2.0, 3.0]), np.array([1.0, 2.0]))
    0.875
    """
    ordered = np.sort(others)
    below, upto = np.searchsorted(ordered, own, "left"), np.searchsorted(ordered, own, "right")
    return float(np.mean((below + upto) / 2) / len(others))


def membership(model: ModelDefinition, replicas: Sequence[Vector], own: Array, others: Array) -> float:
    """Return the separation of ``own`` rows from ``others`` by the space that the first updates span.

    ``replicas`` (count,) are the start and what followers had after each update. 0.5 is a guess, 1 is certain.
    """
    space = row_space(changes(model, replicas[: LOOKED_AT + 1]), min(len(own), MOST_DIRECTIONS))
    return separation(shares(space, own), shares(space, others))
