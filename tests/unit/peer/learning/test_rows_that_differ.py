"""Peers that share a table out by one of its columns: BatchNormalization as the first layer must not lose by it."""

import numpy as np
from keras_configs import dense, layer, sequential
from numpy.typing import NDArray

from learnae.models.dataset import Dataset
from learnae.models.optimisers import OptimiserPolicy
from learnae.models.reference.numpy_model import predict
from learnae.simulation.simulator import Setting, Simulation
from learnae.swarm.manifest import Manifest
from learnae.weights.frames import FramePolicy

UPDATES = 30  # of 26 steps
Table = tuple[NDArray[np.float32], NDArray[np.float32]]


def table(rng: np.random.Generator, rows: int) -> Table:
    """Five columns of about one, of which the first says most."""
    values = rng.normal(0.5, 1, size=(rows, 5)).astype(np.float32)
    targets = values @ np.array([1.0, 0.4, -0.4, 0.2, 0.0]) + rng.normal(0, 0.3, rows)
    return values, targets[:, None].astype(np.float32)


def train(known: Table, *norm: dict[str, object]) -> tuple[Manifest, NDArray[np.float32]]:
    """Return a swarm of three that know a third of the rows each, by the first column, and its estimate."""
    config = sequential(*norm, dense(8, "relu"), dense(1), shape=(5,))
    adam, exact = OptimiserPolicy("adam", 0.002), FramePolicy("f32", "f32")
    manifest = Manifest("apart", config, "mean_squared_error", seed=1, optimiser=adam, codec=exact)
    values, targets = known
    datasets = [Dataset(manifest.model, manifest.objective) for _ in range(3)]
    for data, part in zip(datasets, np.array_split(np.argsort(values[:, 0]), 3), strict=True):
        data.add(values[part], targets[part])
    simulation = Simulation(manifest, datasets, Setting(seed=1, listen=250))
    simulation.run((12 + UPDATES) * 1000)
    return manifest, simulation.members[0].peer.estimate()


def determination(manifest: Manifest, weights: NDArray[np.float32], rows: Table) -> float:
    """Return R2."""
    error = predict(manifest.definition, weights, rows[0]) - rows[1]
    return 1 - float(np.mean(error**2) / rows[1].var())


def test_normalising_first_is_no_worse_than_not_at_all_where_rows_differ_by_a_column() -> None:
    known, unknown = table(np.random.default_rng(0), 360), table(np.random.default_rng(1), 400)
    manifest, weights = train(known, layer("BatchNormalization"))
    *_, mean, variance = manifest.definition.split(weights)[0]
    np.testing.assert_allclose(mean, known[0].mean(axis=0), atol=0.1)
    np.testing.assert_allclose(variance, known[0].var(axis=0), rtol=0.2)
    assert determination(manifest, weights, unknown) > determination(*train(known), unknown)
