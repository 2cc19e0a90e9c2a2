"""The work of one peer of another framework: the race's own network and rows, with nothing but NumPy around it.

Run by Pythons that have no Learnae: a copy of this file and of ``bare_net.py`` lies beside the framework's script.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
import bare_net

HOME = Path(os.environ.get("RACE_HOME", "."))
PEERS, ROUNDS = int(os.environ.get("RACE_PEERS", "0")), int(os.environ.get("RACE_ROUNDS", "0"))
BATCH = 64


class Worker:
    """Peer ``number``: its rows, and a network that takes an epoch of Adam's steps on them."""

    def __init__(self, number: int) -> None:
        with np.load(HOME / f"rows-{number}.npz") as rows:
            self.x, self.y = rows["x"], rows["y"].astype(np.float32)[:, None]
        self.number = number
        self.net = bare_net.Net(self.x.shape[1], number)
        self.net.weights[:] = start()
        self.rng = np.random.default_rng(number)

    @property
    def rows(self) -> int:
        """Return how many rows this peer has."""
        return len(self.x)

    def train(self, epochs: int = 1) -> None:
        """Pass over the own rows, a batch drawn at random a step."""
        for _ in range(epochs * -(-self.rows // BATCH)):
            chosen = self.rng.integers(0, self.rows, BATCH)
            self.net.step(self.x[chosen], self.y[chosen])


def start() -> Any:
    """Return the weights (n,) that all start from."""
    return np.load(HOME / "start.npy")


def save(number: int, done: int, weights: Any) -> None:
    """Keep what peer ``number`` has after so many rounds; the race measures it."""
    path = HOME / f"weights-{number}-{done}.npy"
    np.save(path.with_suffix(".tmp.npy"), np.asarray(weights, np.float32))
    path.with_suffix(".tmp.npy").rename(path)
