"""A table of patients (Efron et al. 2004) that three peers share out by one of its columns, so that each knows other
means: what a swarm makes of it whose model begins with BatchNormalization, against the same model without, and pooled.
"""

import importlib
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.harness import AT_LEAST, Race, in_processes
from bench.swarms import FOUNDING, SECOND
from learnae.models.dataset import Dataset
from learnae.models.optimisers import OptimiserPolicy
from learnae.models.reference.numpy_model import predict
from learnae.simulation.simulator import Setting, Simulation
from learnae.swarm.manifest import Manifest
from learnae.weights.frames import FramePolicy

NEEDS = "scikit-learn"
_COLUMN, _PEERS, _HOLDOUT = 8, 3, 0.3  # s5, the column that says most
_TARGET = 100.0  # what targets are divided by
_SEEDS, _UPDATES = range(3), 100
_NORMALISED, _PLAIN = "BatchNormalization first", "without"

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class _Table:
    rows: Array  # (n, columns)
    targets: Array  # (n, 1)

    def __getitem__(self, chosen: Any) -> "_Table":
        return _Table(self.rows[chosen], self.targets[chosen])


def race_diabetes(race: Race) -> None:
    """Check that BatchNormalization first is better than nothing, and how near it comes to all data in one place."""
    if importlib.util.find_spec("sklearn") is None:
        race.note(f"patients are not raced: pip install {NEEDS}")
        return
    seeds, updates = (_SEEDS[:1], 5) if race.quick else (_SEEDS, _UPDATES)
    tasks = [(name, peers, seed, updates) for name in (_NORMALISED, _PLAIN) for peers in (_PEERS, 1) for seed in seeds]
    found = in_processes(race, "trainings on patients", determination, tasks)
    means = {}
    for name in (_NORMALISED, _PLAIN):
        for peers in (_PEERS, 1):
            means[name, peers] = float(np.mean([found[name, peers, seed, updates] for seed in seeds]))
            race.figure(f"patients, {name}, {'pooled' if peers == 1 else 'swarm'}: R2", means[name, peers])
    note = f"{_PEERS} peers by s5, {updates} updates; mean of {len(seeds)} seeds"
    swarm = means[_NORMALISED, _PEERS]
    race.check(
        "patients: BatchNormalization first, above without", swarm - means[_PLAIN, _PEERS], 0.0, AT_LEAST, "", note
    )
    race.check("patients: the swarm, above pooled", swarm - means[_NORMALISED, 1], -0.08, AT_LEAST, "", note)


def determination(name: str, peers: int, seed: int, updates: int) -> float:
    """Return R2 of the peers' mean consensus estimate over all held-out rows."""
    data: Any = importlib.import_module("sklearn.datasets").load_diabetes(scaled=False)
    table = _Table(data.data.astype(np.float32), (data.target[:, None] / _TARGET).astype(np.float32))
    train, held_out = _split(table, np.random.default_rng(seed))
    shares = [train] if peers == 1 else [train[part] for part in _by_column(train, peers)]
    return score(patients_manifest(name == _NORMALISED, table.rows.shape[1], seed), shares, held_out, updates)


def score(manifest: Manifest, shares: Sequence[Any], held_out: Any, updates: int) -> float:
    """Return R2 on ``held_out`` of a swarm of one peer a share after ``updates`` of each."""
    datasets = []
    for share in shares:
        datasets.append(Dataset(manifest.model, manifest.objective))
        datasets[-1].add(share.rows, share.targets)
    simulation = Simulation(manifest, datasets, Setting(seed=manifest.seed, listen=250))
    simulation.run(FOUNDING + updates * SECOND)
    estimate = np.mean([member.peer.estimate() for member in simulation.members], axis=0)
    error = predict(manifest.definition, estimate, held_out.rows) - held_out.targets
    return 1 - float(np.mean(error**2) / held_out.targets.var())


def patients_manifest(is_normalised: bool, columns: int, seed: int) -> Manifest:
    """Return a swarm of a small perceptron."""
    norm = [{"class_name": "BatchNormalization", "config": {}}] * is_normalised
    dense = [{"class_name": "Dense", "config": {"units": units, "activation": function}}
             for units, function in ((16, "relu"), (1, "linear"))]  # fmt: skip
    first = {"class_name": "InputLayer", "config": {"batch_shape": [None, columns]}}
    config = {"class_name": "Sequential", "config": {"layers": [first, *norm, *dense]}}
    return Manifest(
        "patients", config, "mean_squared_error", seed=seed, optimiser=OptimiserPolicy("adam", 0.001),
        codec=FramePolicy("f32", "f32"),
    )  # fmt: skip


def _split(table: _Table, rng: np.random.Generator) -> tuple[_Table, _Table]:
    order = rng.permutation(len(table.rows))
    count = int(_HOLDOUT * len(order))
    return table[order[count:]], table[order[:count]]


def _by_column(table: _Table, peers: int) -> list[Array]:
    return list(np.array_split(np.argsort(table.rows[:, _COLUMN], kind="stable"), peers))
