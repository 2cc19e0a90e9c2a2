"""The table of the race: two overlapping classes of 27 features, and two splits over peers. NumPy only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

FEATURES = 27
_MIXTURES, _FEWEST = 6, 400
_SEPARATION = 0.89  # a small network that is trained on all rows gets .882


@dataclass(frozen=True, slots=True)
class Part:
    """One peer's rows: ``x`` (n, FEATURES) float32, ``y`` (n,) of 0 and 1."""

    x: Array
    y: Array


@dataclass(frozen=True, slots=True)
class Table:
    """``peers`` have a part each, which are drawn alike (``iid``) or not; ``test`` is everybody's."""

    iid: Sequence[Part]
    skewed: Sequence[Part]
    test: Part


def make_table(peers: int = 8, rows: int = 200_000, test: int = 50_000, seed: int = 2024) -> Table:
    """Draw the table; where parts are not alike, labels are skewed, and each peer's sensors shift and scale."""
    rng = np.random.default_rng(seed)
    x, y = _draw(rows, rng)
    xt, yt = _draw(test, rng)
    mean, spread = x.mean(0), x.std(0)
    x, xt = ((x - mean) / spread).astype("f4"), ((xt - mean) / spread).astype("f4")
    alike, unlike = np.array_split(rng.permutation(len(y)), peers), _skewed(y, peers, rng)
    shift = rng.normal(0, 0.25, (peers, FEATURES)).astype("f4")
    scale = (1 + rng.normal(0, 0.15, (peers, FEATURES))).astype("f4")
    return Table(
        iid=[Part(x[own], y[own]) for own in alike],
        skewed=[Part(x[own] * scale[peer] + shift[peer], y[own]) for peer, own in enumerate(unlike)],
        test=Part(xt, yt),
    )


def _draw(count: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Draw features (count, 27) and classes (count,): a mixture a class, warped; heavy tails, three binary columns."""
    fixed = np.random.default_rng(7)
    means = fixed.normal(0, 0.62 * _SEPARATION, (2, _MIXTURES, FEATURES))
    mix = fixed.normal(0, 1 / np.sqrt(FEATURES), (FEATURES, FEATURES))
    warp = fixed.normal(0, 1 / np.sqrt(FEATURES), (FEATURES, FEATURES))
    y = rng.integers(0, 2, count)
    component = rng.integers(0, _MIXTURES, count)
    z = means[y, component] + rng.normal(0, 1.0, (count, FEATURES))
    x = z @ (np.eye(FEATURES) + 0.6 * mix) + 0.5 * np.sin(1.5 * z @ warp)
    x[:, :9] = np.sign(x[:, :9]) * np.abs(x[:, :9]) ** 1.3
    x[:, 9:12] = x[:, 9:12] > 0
    return x.astype(np.float32), y.astype(np.int64)


def _skewed(y: Array, peers: int, rng: np.random.Generator) -> list[Array]:
    """Split rows by label, Dirichlet(0.3) over peers for each class; each peer gets at least 400."""
    parts: list[list[Array]] = [[] for _ in range(peers)]
    for label in (0, 1):
        of_label = rng.permutation(np.where(y == label)[0])
        share = rng.dirichlet([0.3] * peers)
        cuts = (np.cumsum(share)[:-1] * len(of_label)).astype(int)
        for part, piece in zip(parts, np.split(of_label, cuts), strict=True):
            part.append(piece)
    split = [rng.permutation(np.concatenate(part)) for part in parts]
    for peer in [peer for peer in range(peers) if len(split[peer]) < _FEWEST]:
        largest = max(range(peers), key=lambda other: len(split[other]))
        missing = _FEWEST - len(split[peer])
        split[peer] = np.concatenate([split[peer], split[largest][:missing]])
        split[largest] = split[largest][missing:]
    return split
