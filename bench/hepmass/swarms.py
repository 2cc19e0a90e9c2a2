"""Whole swarms on the rows of HEPMASS or like it: the product's own peers in one process, on a virtual clock."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bench.hepmass.collisions import MASSES
from bench.hepmass.files import COLUMNS, Table
from bench.hepmass.scores import Scores, score
from bench.swarms import SECOND
from learnae.basics.overriding import override
from learnae.errors import TrapError
from learnae.models.dataset import Dataset
from learnae.models.reference.numpy_learner import NumpyLearner
from learnae.ports import Learner
from learnae.privacy.clipping import NormClip
from learnae.simulation.simulator import Setting, Simulation, numpy_learner
from learnae.swarm.manifest import Manifest, TrainingPolicy
from learnae.swarm.presets import dense_config, preset
from learnae.weights.merge import JUDGED
from learnae.weights.momentum import FREE

IID, ONE_MASS = "IID", "one mass a peer"
_LISTEN = 250  # ms: as members do
_HOLDOUT, _MOST_HELD = 20, 500  # one row of so many, and at most so many
_MOST_FOLLOWED = 64  # as many as a trainer
_UPDATE_MS = 1000  # about
LASTS = 10  # updates that a link is up, or down, before chance decides again, on average


@dataclass(frozen=True, slots=True)
class Plan:
    """One swarm: ``peers`` share the rows out by ``split``; each takes so many ``steps`` of ``batch`` rows in so many
    ``updates``.

    Networks get the mass or not (``has_mass``). Of the mass that is ``left_out`` none has a row. Each link is ``down``
    for that share of the time, by chance, and each on its own: that of a peer to all others, or ``between`` each two
    peers. Whether it is down is drawn anew after so many updates, ``lasts``, on average. The learning ``rate``
    ``falls`` to nothing, or stays; replicas are merged by the ``rule``.
    """

    peers: int
    split: str = IID
    has_mass: bool = True
    steps: int = 6000
    updates: int = 100
    batch: int = 256
    down: float = 0.0
    between: bool = False
    lasts: int = LASTS
    left_out: int = 0
    rule: str = JUDGED
    rate: float = 0.15
    falls: bool = True
    seed: int = 1

    def fall(self) -> Fall | None:
        """Return how the rate falls, if it does."""
        return Fall(self.steps * self.peers) if self.falls else None

    @property
    def outages(self) -> str:
        """Return what is said of links that are down."""
        whose = "links of each two" if self.between else "links"
        return f"{whose} down {self.down:.0%} of the time" + (
            f" for {self.lasts} updates" if self.lasts != LASTS else ""
        )

    @property
    def name(self) -> str:
        """Return what a table calls it."""
        said = [f"{self.peers} peers" if self.peers > 1 else "pooled"]
        said += [self.split] if self.peers > 1 else []
        said += ["with the mass" if self.has_mass else "without the mass"]
        said += [f"{self.left_out} held out"] if self.left_out else []
        said += [self.outages] if self.down else []
        said += [f"rule {self.rule}"] if self.peers > 1 else []
        said += [f"{self.steps:,} steps" + (f" in {self.updates} updates" if self.peers > 1 else "")]
        said += [f"rate {self.rate:g}" + ("" if self.falls else ", always")]
        said += [f"seed {self.seed}"] if self.seed > 1 else []
        return ", ".join(said)


class Source(Protocol):
    """Where the rows are from; it is told by ``name`` in all that is shown of them."""

    @property
    def name(self) -> str:
        """Return what the rows are called."""

    def train(self) -> Table:
        """Return the rows to train on."""

    def test(self) -> Table:
        """Return the rows to test on."""


@dataclass(frozen=True, slots=True)
class Reached:
    """What the estimates of all peers score at the end, and the steps of each.

    The ``course`` is that of one peer: the share of its steps, and the AUC of its estimate. So many ``alarms`` were
    raised by peers that took others' weights for a trap (learnae.models.traps), all of them false.
    """

    scores: tuple[Scores, ...]
    steps: tuple[int, ...]
    course: tuple[tuple[float, float], ...] = ()
    alarms: int = 0

    @property
    def worst(self) -> float:
        """Return the least AUC of a peer."""
        return min(each.auc for each in self.scores)


def manifest_of(plan: Plan) -> Manifest:
    """Return the preset ``hepmass`` with longer batches, merged with momentum as new swarms are."""
    given = preset("hepmass", 1)
    return replace(
        given,
        config=dense_config(COLUMNS if plan.has_mass else COLUMNS - 1, (64, 64), 1, "sigmoid"),
        training=TrainingPolicy(steps=-(-plan.steps // plan.updates), batch=plan.batch),
        optimiser=replace(given.optimiser, learning_rate=plan.rate),
        merge=replace(given.merge, rule=plan.rule, momentum=FREE),
    )


def shares_of(plan: Plan, table: Table) -> list[Table]:
    """Share the rows out: alike; or each mass's signal to its peers, and background to all alike."""
    labels, masses = table.labels != 0, table.masses
    if plan.left_out:
        kept = np.flatnonzero(masses != plan.left_out)
        table, labels, masses = table.of(kept), labels[kept], masses[kept]
    if plan.split == IID:
        return [table.of(part) for part in np.array_split(np.arange(len(labels)), plan.peers)]
    kinds = [mass for mass in MASSES if mass != plan.left_out]
    if plan.peers % len(kinds):
        raise ValueError(f"{plan.peers} peers: as many of each of {len(kinds)} masses are needed")
    owners = np.empty(len(labels), np.int64)
    owners[~labels] = np.arange(np.count_nonzero(~labels)) % plan.peers
    for number, mass in enumerate(kinds):
        own = labels & (masses == mass)
        owners[own] = number + len(kinds) * (np.arange(np.count_nonzero(own)) % (plan.peers // len(kinds)))
    return [table.of(np.flatnonzero(owners == peer)) for peer in range(plan.peers)]


def dataset_of(manifest: Manifest, table: Table) -> Dataset:
    """Return the rows of a peer, some of them held out."""
    data, columns = Dataset(manifest.model, manifest.objective), manifest.model.input_shape[0]
    held = min(_MOST_HELD, len(table.labels) // _HOLDOUT)
    targets = table.labels[:, None].astype(np.float32)
    rows = np.ascontiguousarray(table.rows[:, :columns])
    data.adopt(rows[held:], targets[held:])
    data.adopt(rows[:held], targets[:held], holdout=True)
    return data


@dataclass(slots=True)
class Fall:
    """The share of a learning rate that is left, half a cosine over the ``total`` steps of all peers together.

    By the steps of each, those that are some steps behind at the end would learn at twice the rate of the others.
    """

    total: int
    taken: int = 0

    def step(self) -> float:
        """Return what is left of the rate for the next step, whosever it is."""
        share = (1 + math.cos(math.pi * min(1.0, self.taken / self.total))) / 2
        self.taken += 1
        return share


class FallingLearner(NumpyLearner):
    """Trains at a rate that falls to nothing."""

    fall: Fall

    @override
    def step(self, rows: NDArray[Any], targets: NDArray[Any]) -> float:
        rate = self.optimiser.learning_rate * self.fall.step()
        self._optimiser.policy = replace(self.optimiser, learning_rate=rate)
        return super().step(rows, targets)


def learner_of(fall: Fall | None, manifest: Manifest, data: Dataset, rng: np.random.Generator) -> Learner:
    """Return the product's learner, whose rate may ``fall``."""
    if fall is None:
        return numpy_learner(manifest, data, rng)
    batch = manifest.training.batch
    learner = FallingLearner(manifest.definition, manifest.objective, manifest.optimiser, data, batch, rng, NormClip())
    learner.fall = fall
    return learner


def pooled(plan: Plan, source: Source) -> Reached:
    """Train on all rows in one place, with the same learner."""
    manifest, rng = manifest_of(plan), np.random.default_rng(plan.seed)
    [share] = shares_of(plan, source.train())
    learner = learner_of(plan.fall(), manifest, dataset_of(manifest, share), rng)
    learner.load(manifest.definition.initial(manifest.seed))
    learner.train(plan.steps)
    return Reached((score(manifest, learner.weights(), source.test()),), (plan.steps,))


def reach(plan: Plan, source: Source, looks: int = 1) -> Reached:
    """Let a swarm train as ``plan`` says; score each peer's estimate at the end, and one after each part of a course.

    A peer trains as often as it has turns, so that some take a few more steps than others; all are done when the mean
    is what the plan says.
    """
    if plan.peers == 1:
        return pooled(plan, source)
    manifest, test = manifest_of(plan), source.test()
    datasets = [dataset_of(manifest, share) for share in shares_of(plan, source.train())]
    setting = Setting(plan.seed, listen=_LISTEN, follow=min(plan.peers - 1, _MOST_FOLLOWED), summaries=True)
    simulation = Simulation(manifest, datasets, setting, partial(learner_of, plan.fall()))
    peers = [member.peer for member in simulation.members]
    course: list[tuple[float, float]] = []
    while not all(peer.steps for peer in peers):
        simulation.run(SECOND)
    if plan.down:
        Links(simulation, plan)
    while (done := float(np.mean([peer.steps for peer in peers]))) < plan.steps:
        if done >= (len(course) + 1) * plan.steps / looks:
            course.append((done / plan.steps, score(manifest, peers[0].estimate(), test).auc))
        simulation.run(SECOND)
    scores = tuple(score(manifest, peer.estimate(), test) for peer in peers)
    alarms = sum(peer.errors.counts.get(TrapError.__name__, 0) for peer in peers)
    return Reached(scores, tuple(peer.steps for peer in peers), (*course, (1.0, scores[0].auc)), alarms)


class Links:
    """Each peer's link, or that between each two peers, goes down and comes back by chance, in virtual time."""

    def __init__(self, simulation: Simulation, plan: Plan) -> None:
        self._network, self._plan = simulation.network, plan
        self._rng = random.Random(plan.seed)
        peers = range(plan.peers)
        if plan.between:
            for pair in combinations(peers, 2):
                self._change(partial(self._cut, pair))
        else:
            for index in peers:
                self._change(partial(self._isolate, index))

    def _change(self, turn: Callable[[bool], None]) -> None:
        turn(self._rng.random() < self._plan.down)
        lasts = round(self._rng.expovariate(1 / (self._plan.lasts * _UPDATE_MS)))
        self._network.at(self._network.clock.time + lasts, partial(self._change, turn))

    def _cut(self, pair: tuple[int, int], is_down: bool) -> None:
        (self._network.cuts.add if is_down else self._network.cuts.discard)(pair)

    def _isolate(self, index: int, is_down: bool) -> None:
        groups = {key: group for key, group in self._network.groups.items() if key != index}
        self._network.groups = {**groups, index: 1 + index} if is_down else groups
