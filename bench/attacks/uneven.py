"""Thirty-two peers with a two-class table, split unevenly: what judging costs and saves where data differ much."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from bench.attacks.table import proxy_of
from bench.attacks.twin import LABEL_FLIP, Rows, Trial
from bench.attacks.twin import run as run_trial
from bench.harness import AT_MOST, Race, in_processes
from learnae.models.optimisers import OptimiserPolicy
from learnae.simulation.attacks import HONEST
from learnae.swarm.manifest import Manifest
from learnae.swarm.presets import dense_config
from learnae.weights.merge import JUDGED, MEAN

_PEERS, _HEARS, _ROUNDS = 32, 8, 40
_FEATURES, _MIXTURES, _ROWS, _TESTED, _FEWEST = 27, 6, 200, 2000, 60
_SEPARATION = 0.55  # a network trained on all rows gets about .88
_SKEW = 0.3  # of the Dirichlet distribution that shares each class out
_SHIFT, _SCALE = 0.25, 0.15  # of each peer's sensors
_LIARS = {"25 %": 8, "45 %": 14}
_KINDS = ("sign-flip", LABEL_FLIP, "amplified", "inner-product")
_MOST_LOST = 1.2  # points of the mean, without any liar
_MOST_BEHIND = {"amplified": (4.0, 8.0)}  # points of the mean, with a quarter of liars and with 45 %
_USUAL_BEHIND = (2.0, 2.0)  # of the other kinds


def run(race: Race) -> None:
    """Compare the mean accuracy of honest peers with that of the swarm without the liars."""
    kinds, liars = (_KINDS[:1], {"25 %": 8}) if race.quick else (_KINDS, _LIARS)
    tasks = [(HONEST, 0, rule, False) for rule in (MEAN, JUDGED)]
    tasks += [(HONEST, count, MEAN, True) for count in liars.values()]
    tasks += [(kind, count, JUDGED, False) for kind in kinds for count in liars.values()]
    tasks += [(kind, count, MEAN, False) for kind in kinds[:2] for count in liars.values()]
    found = in_processes(race, "swarms of 32, of a table that is shared out unevenly", measure, tasks)
    race.figure("uneven, mean of 32, no liar, plain mean", found[HONEST, 0, MEAN, False], "%")
    lost = found[HONEST, 0, MEAN, False] - found[HONEST, 0, JUDGED, False]
    race.check("uneven, behind the plain mean without a liar", lost, _MOST_LOST, AT_MOST, "points")
    for index, (share, count) in enumerate(liars.items()):
        absent = found[HONEST, count, MEAN, True]
        race.figure(f"uneven, mean of honest, {share} absent", absent, "%")
        for kind in kinds:
            behind = absent - found[kind, count, JUDGED, False]
            race.check(
                f"uneven, behind absent, {kind}, {share}",
                behind,
                _MOST_BEHIND.get(kind, _USUAL_BEHIND)[index],
                AT_MOST,
                "points",
            )
        for kind in kinds[:2]:
            race.figure(
                f"uneven, behind absent with the plain mean, {kind}, {share}",
                absent - found[kind, count, MEAN, False],
                "points",
            )


def measure(kind: str, liars: int, rule: str, absent: bool) -> float:
    """Return the mean accuracy of the honest peers of one run, in percent."""
    manifest, people, test = _table()

    def proxy(shown: Sequence[Rows], rng: np.random.Generator) -> Rows:
        return proxy_of(manifest, shown, rng)

    trial = Trial(
        manifest, people, test, proxy,
        attack=kind, liars=liars, rule=rule, absent=absent, hears=_HEARS, rounds=_ROUNDS,
    )  # fmt: skip
    return 100 * float(run_trial(trial).accuracies.mean())


@cache
def _table() -> tuple[Manifest, list[Rows], Rows]:
    rng = np.random.default_rng(2024)
    manifest = Manifest(
        "uneven",
        dense_config(_FEATURES, (64, 64), 2, "softmax"),
        "sparse_categorical_crossentropy",
        optimiser=OptimiserPolicy("momentum", learning_rate=0.03),
    )
    rows, test = _drawn(_PEERS * _ROWS, rng), _drawn(_TESTED, rng)
    mean, spread = rows.rows.mean(axis=0), rows.rows.std(axis=0)
    people = []
    for chosen in _shared_out(rows.classes, rng):
        shift, scale = rng.normal(0, _SHIFT, _FEATURES), 1 + rng.normal(0, _SCALE, _FEATURES)
        own = (rows.rows[chosen] - mean) / spread * scale + shift
        people.append(Rows(own.astype(np.float32), rows.classes[chosen]))
    return manifest, people, Rows(((test.rows - mean) / spread).astype(np.float32), test.classes)


def _drawn(count: int, rng: np.random.Generator) -> Rows:
    """Draw rows of two classes that overlap, each a mixture, warped."""
    fixed = np.random.default_rng(7)
    means = fixed.normal(0, _SEPARATION, (2, _MIXTURES, _FEATURES))
    warp = fixed.normal(0, 1 / np.sqrt(_FEATURES), (_FEATURES, _FEATURES))
    classes = rng.integers(0, 2, count)
    values = means[classes, rng.integers(0, _MIXTURES, count)] + rng.normal(0, 1, (count, _FEATURES))
    return Rows((values + 0.5 * np.sin(1.5 * values @ warp)).astype(np.float32), classes)


def _shared_out(classes: NDArray[np.int64], rng: np.random.Generator) -> list[NDArray[np.int64]]:
    """Return each peer's row numbers: shares of each class follow a Dirichlet distribution, and no one has few."""
    parts: list[list[NDArray[np.int64]]] = [[] for _ in range(_PEERS)]
    for label in (0, 1):
        numbers = rng.permutation(np.flatnonzero(classes == label))
        cuts = (np.cumsum(rng.dirichlet([_SKEW] * _PEERS))[:-1] * len(numbers)).astype(int)
        for part, piece in zip(parts, np.split(numbers, cuts), strict=True):
            part.append(piece)
    split = [rng.permutation(np.concatenate(part)) for part in parts]
    for peer in range(_PEERS):
        lacking = _FEWEST - len(split[peer])
        if lacking > 0:
            largest = max(range(_PEERS), key=lambda other: len(split[other]))
            split[peer] = np.concatenate([split[peer], split[largest][:lacking]])
            split[largest] = split[largest][lacking:]
    return split
