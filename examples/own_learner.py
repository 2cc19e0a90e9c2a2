"""Peers with a learner of one's own: least squares by gradient descent, each peer on rows that no other sees."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learnae.basics.overriding import override
from learnae.models.dataset import Dataset
from learnae.ports import Learner, Trained
from learnae.protocol.bodies import Metrics
from learnae.simulation.simulator import Setting, Simulation
from learnae.swarm.manifest import Manifest
from learnae.swarm.presets import dense_config
from learnae.weights.codecs import Vector

TRUTH = np.array([2.0, -1.0, 0.5], np.float32)  # two factors and an offset: what the peers are to find


class LeastSquares(Learner):
    """Fits rows (n, 2) to targets (n, 1); the weights are those of a Dense layer: kernel, then bias."""

    def __init__(self, data: Dataset) -> None:
        self._data = data
        self._weights: Vector = np.zeros(3, np.float32)

    @override
    def weights(self) -> Vector:
        return self._weights.copy()

    @override
    def load(self, weights: Vector) -> None:
        self._weights = np.array(weights, np.float32)

    @override
    def train(self, steps: int) -> Trained:
        rows, targets = self._data.train.rows, self._data.train.targets[:, 0]
        for _ in range(steps):
            error = _predicted(self._weights, rows) - targets
            self._weights -= 0.1 * np.append(error @ rows, error.sum()).astype(np.float32) / len(rows)
        return Trained(steps, len(rows), float(np.mean((_predicted(self._weights, rows) - targets) ** 2)))

    @override
    def evaluate(self, weights: Vector) -> Metrics | None:
        return None  # no rows are held out here

    @override
    def state(self) -> Mapping[str, NDArray[Any]]:
        return {}  # gradient descent remembers nothing

    @override
    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        pass


def _predicted(weights: Vector, rows: Vector) -> Vector:
    return np.asarray(rows @ weights[:2] + weights[2])


def _private_data(manifest: Manifest, peer: int) -> Dataset:
    """Draw rows in which the second value never changes: no peer could find all of TRUTH alone."""
    rng = np.random.default_rng(peer)
    rows = rng.normal(size=(50, 2)).astype(np.float32)
    rows[:, 1] = peer
    data = Dataset(manifest.model, manifest.objective)
    data.add(rows, _predicted(TRUTH, rows))
    return data


def main() -> None:
    """Train four peers for a virtual minute; print what the first believes."""
    manifest = Manifest("line", dense_config(2, (), 1, "linear"), "mean_squared_error")
    datasets = [_private_data(manifest, peer) for peer in range(4)]
    swarm = Simulation(manifest, datasets, Setting(), lambda _manifest, data, _rng: LeastSquares(data))
    swarm.run(60_000)
    print("found", swarm.members[0].peer.estimate().round(2), "of", TRUTH)


if __name__ == "__main__":
    main()
