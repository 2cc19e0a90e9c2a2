"""A swarm that goes as a scenario file says, and its curves."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from importlib import resources
from typing import Any

import numpy as np

from learnae.basics.overriding import override
from learnae.models.dataset import Dataset
from learnae.models.reference.numpy_learner import evaluate
from learnae.ports import Clock, Learner
from learnae.protocol.neighbourhood.attention import levels_of
from learnae.samples.recordings import shipped_recording
from learnae.samples.windows import Windower, add_windows
from learnae.simulation.attacks import AHEAD, LIES
from learnae.simulation.liars import Ahead, Crew, Lying, told, trained_on
from learnae.simulation.network import Weather
from learnae.simulation.scenario_file import ScenarioFile
from learnae.simulation.shards import Shard
from learnae.simulation.simulator import START, Member, Role, Setting, Simulation, numpy_learner
from learnae.swarm.manifest import Manifest
from learnae.swarm.presets import demo_data, preset

_PEOPLE = 8
_HOLDOUT = 0.3  # the last part of each exercise
_MEASURED = 32  # honest peers whose estimates are measured, evenly out of all
_TOGETHER = 20  # parts of a period: ticks within one are taken at once
_SECOND, _MINUTE = 1000, 60_000


@dataclass(frozen=True, slots=True)
class Point:
    """How a swarm is at ``time`` (Unix ms): accuracy of honest peers' estimates on rows that none trains on.

    ``away`` are the machines that are off; ``updates`` and ``bytes_in`` are means of honest peers, from the begin on.
    """

    time: int
    accuracy: float
    worst: float
    away: int
    updates: float
    bytes_in: float


@dataclass(slots=True)
class Course:
    """What became of a swarm; ``trace`` is the digest of all packets."""

    points: list[Point] = field(default_factory=list)
    trace: str = ""

    def to_fields(self) -> dict[str, Any]:
        """Return it for machines."""
        names = Point.__slots__
        return {"trace": self.trace, "points": [{name: getattr(each, name) for name in names} for each in self.points]}


class Play:
    """One run of ``scenario``. Honest peers come first, the newcomers last among them; then liars.

    Where several processes play it, this is the part of one ``shard``, and all come to the same course.
    """

    def __init__(self, scenario: ScenarioFile, shard: Shard | None = None) -> None:
        self._scenario = scenario
        self._shard = shard or Shard()
        self._rng = random.Random(f"{scenario.time.seed}/scenario")
        self._honest = scenario.swarm.peers - scenario.liars.peers
        self._manifest = _manifest(scenario)
        train, held = _people(self._manifest)
        rng = np.random.default_rng(scenario.time.seed)
        roles, peers = scenario.roles, scenario.swarm.peers
        others = roles.trainers + roles.senders
        counts = [roles.rows if index < others else scenario.swarm.rows for index in range(peers)]
        data = [self._drawn(rng, train[i % _PEOPLE], held[i % _PEOPLE], count) for i, count in enumerate(counts)]
        self._rows = np.concatenate([rows for rows, _ in held])
        self._targets = np.concatenate([targets for _, targets in held])
        self.simulation = self._begun(data)

    def run(self, say: Callable[[float], None] = lambda _: None) -> Course:
        """Let all happen; ``say`` is told which share has."""
        time, network, course = self._scenario.time, self.simulation.network, Course()
        end = START + round(time.minutes * _MINUTE)
        self._plan(network.at)
        for number in range(time.samples):
            due = START + (end - START) * (number + 1) // time.samples
            with np.errstate(all="ignore"):  # of those who merge what has gone far off
                self.simulation.run(due - self.simulation.clock.time)
            course.points.append(self._point())
            say((number + 1) / time.samples)
        course.trace = network.digest()
        return course

    def _drawn(self, rng: np.random.Generator, train: _Rows, held: _Rows, trained: int) -> Dataset:
        data, held_out = Dataset(self._manifest.model, self._manifest.objective), self._scenario.swarm.held_out
        for (rows, targets), count, holdout in ((train, trained, False), (held, held_out, True)):
            chosen = rng.integers(0, len(rows), count)
            data.add(rows[chosen], targets[chosen], holdout)
        return data

    def _begun(self, data: Sequence[Dataset]) -> Simulation:
        scenario, manifest, honest = self._scenario, self._manifest, self._honest
        time, weather, liars = scenario.time, scenario.weather, scenario.liars
        lie, period = LIES[liars.kind], round(time.period * _SECOND)
        shown = [told(lie, own, manifest) for own in data[honest:]]
        trained = {id(said): trained_on(lie, own, manifest) for said, own in zip(shown, data[honest:], strict=True)}
        crew = Crew(lie, liars.peers, liars.adaptive, time.seed)

        def learner(manifest: Manifest, own: Dataset, rng: np.random.Generator) -> Learner:
            if id(own) not in trained:
                return numpy_learner(manifest, own, rng)
            return Lying(numpy_learner(manifest, trained[id(own)], rng), crew)

        def member(simulation: Simulation, index: int, own: Dataset) -> Member:
            if lie.does == AHEAD and index >= honest:
                return _Early(simulation, index, own)
            return (_Archive if index < scenario.swarm.archives else Member)(simulation, index, own)

        setting = Setting(
            seed=time.seed,
            period=period,
            listen=round(time.listen * _SECOND),
            follow=scenario.swarm.follow,
            weather=Weather((weather.least, weather.most), weather.lost, weather.doubled),
            summaries=liars.peers > 0 or scenario.roles.senders > 0,
            together=period // _TOGETHER if time.together else 0,
            levels=levels_of(scenario.swarm.peers),
        )
        simulation = Simulation(
            manifest, [*data[:honest], *shown], setting, learner, make=member, roles=self._role, shard=self._shard
        )
        if liars.peers:
            crew.begin(simulation)
        return simulation

    def _role(self, index: int) -> Role:
        roles = self._scenario.roles
        if index < roles.trainers:
            return Role("trainer", roles.steps, roles.follow)
        return Role(sends_alone=index < min(roles.trainers + roles.senders, self._honest))

    def _plan(self, at: Callable[..., None]) -> None:
        """Let the scenario's events happen when they are due."""
        simulation, weather, churn = self.simulation, self._scenario.weather, self._scenario.churn
        late = range(self._honest - churn.newcomers, self._honest)
        for index in late:
            simulation.crash(index)
            at(START + round(churn.minute * _MINUTE), simulation.restart, index)
        if weather.cut_until:
            parts = [range(part, len(simulation.members), weather.parts) for part in range(weather.parts)]
            at(START + round(weather.cut_from * _MINUTE), simulation.partition, parts)
            at(START + round(weather.cut_until * _MINUTE), simulation.heal)
        if churn.away:
            for index in range(self._honest - churn.newcomers):
                self._stay(index)

    def _stay(self, index: int) -> None:
        """Let a machine stop after some time that keeps the mean share away as it is wanted."""
        churn = self._scenario.churn
        self._later(churn.seconds * (1 - churn.away) / churn.away, self._leave, index)

    def _leave(self, index: int) -> None:
        self.simulation.crash(index)
        self._later(self._scenario.churn.seconds, self._return, index)

    def _return(self, index: int) -> None:
        self.simulation.restart(index)
        self._stay(index)

    def _later(self, seconds: float, action: Callable[[int], None], index: int) -> None:
        due = self.simulation.clock.time + 1 + round(self._rng.expovariate(1 / seconds) * _SECOND)
        self.simulation.network.at(due, action, index)

    def _point(self) -> Point:
        shard, down = self._shard, self.simulation.network.down
        members = [member for member in self.simulation.members if member.host.index < self._honest]
        up = [member for member in members if member.host.index not in down]
        measured = up[:: max(1, len(up) * shard.count // _MEASURED)]
        scores = [score for part in shard.gather([self._accuracy(member) for member in measured]) for score in part]
        said = sum(member.peer.own.last.seq + 1 for member in members if member.peer.own.last)
        taken = sum(host.bytes_in for host in self.simulation.network.hosts[: self._honest])
        return Point(
            time=self.simulation.clock.time,
            accuracy=float(np.mean(scores)) if scores else 0.0,
            worst=float(np.min(scores)) if scores else 0.0,
            away=len(down),
            updates=shard.sum(said) / self._honest,
            bytes_in=shard.sum(taken) / self._honest,
        )

    def _accuracy(self, member: Member) -> float:
        manifest = self._manifest
        found = evaluate(manifest.definition, manifest.objective, member.peer.estimate(), self._rows, self._targets)
        return found.accuracy if found and found.accuracy is not None else 0.0


class _Archive(Member):
    """A machine that keeps all."""

    is_archive = True


class _Early(Member):
    """A machine whose clock is ahead."""

    @override
    def own_clock(self, clock: Clock) -> Clock:
        return Ahead(clock)


_Rows = tuple[Any, Any]  # features (n, count) and classes (n,)


def _manifest(scenario: ScenarioFile) -> Manifest:
    manifest, swarm = preset(scenario.swarm.preset, 0), scenario.swarm
    if swarm.steps:
        manifest = replace(manifest, training=replace(manifest.training, steps=swarm.steps))
    return replace(manifest, merge=replace(manifest.merge, rule=swarm.rule)) if swarm.rule else manifest


def _people(manifest: Manifest) -> tuple[list[_Rows], list[_Rows]]:
    """Return the demo's people: rows to train on, and rows held out."""
    assert manifest.features is not None
    train, held = [], []
    with resources.as_file(demo_data()) as path:
        for number in range(1, _PEOPLE + 1):
            windower, data = Windower(manifest.features), Dataset(manifest.model, manifest.objective)
            windows = windower.push(shipped_recording(path, number).split_by_time(_HOLDOUT))
            add_windows(data, manifest, manifest.features.extract(windows.values), windows)
            train.append((data.train.rows, data.train.targets))
            held.append((data.holdout.rows, data.holdout.targets))
    return train, held
