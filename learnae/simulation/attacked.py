"""A simulated swarm of which some lie: what the others reach, beside what they reach without the liars."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from learnae.basics.overriding import override
from learnae.models.dataset import Dataset
from learnae.models.losses import explained
from learnae.models.reference.numpy_model import predict
from learnae.ports import Clock, Learner
from learnae.protocol.identity import peer_name
from learnae.samples.recordings import shipped_recording
from learnae.samples.windows import Windower, add_windows
from learnae.simulation.attacks import AHEAD, BACKDOOR, BACKDOOR_CLASS, BIAS, LATE, LIES, SYBIL, triggered
from learnae.simulation.liars import Ahead, Crew, Lying, told, trained_on
from learnae.simulation.simulator import Member, Setting, Simulation, numpy_learner
from learnae.swarm.manifest import Manifest
from learnae.swarm.presets import demo_data
from learnae.weights.codecs import Vector

MOST_PEERS = 64
_PEOPLE = 8
_HOLDOUT = 0.3  # the last part of each exercise, or of each peer's rows
_SYBILS = 5  # members that one liar is
_SECOND = 1000
_WORST = -10.0  # of R²: far beyond that weights are no numbers any more
_HALF = 0.5  # what a single output must be above to say the second class


@dataclass(frozen=True, slots=True)
class Plan:
    """``peers`` of whom ``liars`` lie as ``kind`` of LIES says, for some ``minutes`` of virtual time. ``rule`` is the
    manifest's own, or another one. ``seed`` draws who lies, and all chance.
    """

    kind: str
    peers: int = 8
    liars: int = 1
    minutes: float = 2.0
    seed: int = 0
    adaptive: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What honest peers reach: ``scores`` (honest,) on everybody's held-out rows, of 1: accuracy, or R² of values.

    ``liars_muted`` is the share of liars that honest peers do not merge at the end, ``honest_muted`` of honest ones,
    ``banned`` that of liars whose key is banned. ``longest_muted`` is how many seconds an honest peer has been muted
    without a break by any other, at most. ``success`` is how often a trigger works, or the recall of the class that is
    talked down; None where the kind has neither. ``bytes_in`` are those that an honest machine takes in, in the mean.
    """

    scores: NDArray[np.float64]
    liars_muted: float
    honest_muted: float
    longest_muted: float
    banned: float
    success: float | None
    bytes_in: float


def demo_people(manifest: Manifest, peers: int) -> list[Dataset]:
    """Give each peer a part of the windows of one person of the demo."""
    assert manifest.features is not None
    people = []
    with resources.as_file(demo_data()) as path:
        for number in range(1, min(peers, _PEOPLE) + 1):
            windower = Windower(manifest.features)
            windows = windower.push(shipped_recording(path, number).split_by_time(_HOLDOUT))
            data = _empty(manifest)
            add_windows(data, manifest, manifest.features.extract(windows.values), windows)
            people.append(data)
    return [_share(manifest, people[index % _PEOPLE], index, peers) for index in range(peers)]


def people_of(manifest: Manifest, rows: NDArray[np.float32], targets: NDArray[np.generic], peers: int) -> list[Dataset]:
    """Share rows (n, *input) and their targets out in order; each holds out the last part of its own."""
    datasets = []
    for part in np.array_split(np.arange(len(rows)), peers):
        kept = len(part) - int(_HOLDOUT * len(part))
        data = _empty(manifest)
        data.add(rows[part[:kept]], targets[part[:kept]])
        data.add(rows[part[kept:]], targets[part[kept:]], holdout=True)
        datasets.append(data)
    return datasets


def _empty(manifest: Manifest) -> Dataset:
    return Dataset(manifest.model, manifest.objective, autoencoder=manifest.is_autoencoder)


def _share(manifest: Manifest, person: Dataset, index: int, peers: int) -> Dataset:
    number, sharers = index // _PEOPLE, len(range(index % _PEOPLE, peers, _PEOPLE))
    data = _empty(manifest)
    for rows, holdout in ((person.train, False), (person.holdout, True)):
        data.add(rows.rows[number::sharers], rows.targets[number::sharers], holdout)
    return data


def run(
    manifest: Manifest,
    people: Sequence[Dataset],
    plan: Plan,
    *,
    absent: bool = False,
    say: Callable[[float], None] = lambda _: None,
) -> Outcome:
    """Run one swarm of ``people``; ``absent`` leaves the liars and their rows away. ``say`` is told the share done."""
    lie, chosen = LIES[plan.kind], np.random.default_rng(plan.seed).permutation(len(people))
    honest = [people[index] for index in chosen[plan.liars :]]
    lying = [] if absent else [people[index] for index in chosen[: plan.liars] for _ in range(_times(lie.does))]
    shown = [told(lie, data, manifest) for data in lying]
    trained = {id(said): trained_on(lie, data, manifest) for said, data in zip(shown, lying, strict=True)}
    crew = Crew(lie, len(lying), plan.adaptive, plan.seed)

    def learner(manifest: Manifest, data: Dataset, rng: np.random.Generator) -> Learner:
        if id(data) not in trained:
            return numpy_learner(manifest, data, rng)
        return Lying(numpy_learner(manifest, trained[id(data)], rng), crew)

    members = len(honest) + len(lying)
    setting = Setting(seed=plan.seed, follow=min(members - 1, MOST_PEERS), listen=250, summaries=True)

    def member(simulation: Simulation, index: int, data: Dataset) -> Member:
        return (_Early if lie.does == AHEAD and index >= len(honest) else Member)(simulation, index, data)

    simulation = Simulation(manifest, [*honest, *shown], setting, learner, make=member)
    crew.begin(simulation)
    watch, late = _Watch(simulation.members, len(honest)), lie.does == LATE
    for index in range(len(honest), members) if late else ():
        simulation.crash(index)
    seconds = round(plan.minutes * 60)
    for second in range(seconds):
        if late and second == seconds // 2:
            for index in range(len(honest), members):
                simulation.restart(index)
        with np.errstate(all="ignore"):  # of those who merge what has gone far off
            simulation.run(_SECOND)
        watch.look()
        say((second + 1) / seconds)
    return watch.outcome(manifest, people, plan.kind)


class _Early(Member):
    """A machine whose clock is ahead."""

    @override
    def own_clock(self, clock: Clock) -> Clock:
        return Ahead(clock)


def _times(does: str) -> int:
    return _SYBILS if does == SYBIL else 1


class _Watch:
    """Looks at the ``members``, of whom the first ``count`` are honest, once a second."""

    def __init__(self, members: Sequence[Member], count: int) -> None:
        self._honest, self._liars = members[:count], members[count:]
        self._muted: dict[tuple[int, str], int] = {}  # honest peer, whom it mutes: seconds without a break
        self._longest = 0

    def look(self) -> None:
        """Note who is muted now."""
        honest = self._names(self._honest)
        now = {(index, name) for index, muted in enumerate(self._all_muted()) for name in muted & honest}
        self._muted = {pair: self._muted.get(pair, 0) + 1 for pair in now}
        self._longest = max(self._longest, *self._muted.values(), 0)

    def outcome(self, manifest: Manifest, people: Sequence[Dataset], kind: str) -> Outcome:
        """Measure what is reached now."""
        rows = np.concatenate([data.holdout.rows for data in people])
        targets = np.concatenate([data.holdout.targets for data in people])
        estimates, success = [member.peer.estimate() for member in self._honest], None
        if manifest.class_count:
            classes = targets.reshape(len(targets), -1)[:, 0].astype(np.int64)
            said = [_said(manifest, vector, rows) for vector in estimates]
            scores = [float((each == classes).mean()) for each in said]
            success = _success(manifest, kind, estimates, rows, classes)
        else:
            scores = [_explained(manifest, vector, rows, targets) for vector in estimates]
        liars, honest = self._names(self._liars), self._names(self._honest)
        muted = self._all_muted()
        banned = [
            liar.identity.author for liar in self._liars for peer in self._honest if _bans(peer, liar.identity.author)
        ]
        return Outcome(
            scores=np.array(scores),
            liars_muted=_share_of(sum(len(each & liars) for each in muted), len(muted) * len(liars)),
            honest_muted=_share_of(sum(len(each & honest) for each in muted), len(muted) * (len(honest) - 1)),
            longest_muted=self._longest,
            banned=_share_of(len(banned), len(self._honest) * len(liars)),
            success=success,
            bytes_in=float(np.mean([member.host.bytes_in for member in self._honest])),
        )

    def _all_muted(self) -> list[set[str]]:
        return [set(member.peer.status().get("muted", ())) for member in self._honest]

    def _names(self, members: Sequence[Member]) -> set[str]:
        return {peer_name(member.identity.author) for member in members}


def _bans(member: Member, author: bytes) -> bool:
    return member.peer.tangle.is_banned(author)


def _share_of(count: int, of: int) -> float:
    return count / of if of else 0.0


def _said(manifest: Manifest, weights: Vector, rows: NDArray[np.float32]) -> NDArray[np.int64]:
    output = predict(manifest.definition, weights, rows).reshape(len(rows), -1)
    return (output[:, 0] > _HALF).astype(np.int64) if output.shape[1] == 1 else output.argmax(axis=1)


def _success(
    manifest: Manifest, kind: str, estimates: Sequence[Vector], rows: NDArray[np.float32], classes: NDArray[np.int64]
) -> float | None:
    """Return how often a trigger works, or the recall of the class that is talked down; None for other kinds."""
    if kind == BACKDOOR:
        others = classes != BACKDOOR_CLASS
        wrong = [_said(manifest, vector, triggered(rows[others])) for vector in estimates]
        return float(np.mean([(each == BACKDOOR_CLASS).mean() for each in wrong]))
    if kind == BIAS:
        last = classes == manifest.class_count - 1
        return float(np.mean([(_said(manifest, each, rows[last]) == classes[last]).mean() for each in estimates]))
    return None


def _explained(manifest: Manifest, weights: Vector, rows: NDArray[np.float32], targets: NDArray[np.generic]) -> float:
    with np.errstate(all="ignore"):
        away = np.asarray(predict(manifest.definition, weights, rows) - targets, np.float64)
        found = explained(float(np.sum(away * away)), targets, len(targets))
    return found if found is not None and found > _WORST else _WORST
