"""Simulated swarms of any age, side by side with young ones: what a peer costs, and what one that comes costs."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import mean, median
from typing import TypeVar

from bench.harness import AT_MOST, Race, in_processes
from bench.rigs.copies import in_copy
from bench.swarms import SECOND, Wanderer, deep_size, load_people, split_over
from learnae.peer.peer import Peer
from learnae.peer.publishing_policy import PublishPolicy
from learnae.protocol.limits import HOUR, MINUTE
from learnae.protocol.opener import MessageOpener
from learnae.simulation.simulator import Member, Setting, Simulation
from learnae.swarm.presets import preset

Result = TypeVar("Result")

_LISTEN = 250  # ms between two looks for news while it is measured, as real peers have it
_PARTING = 5  # seconds without an update before a member goes
_CYCLE = 4  # updates from one keyframe to the next are fewer: what one that comes fetches depends on where in it
_MOST = 120 * SECOND  # of virtual time that a member may take to publish
_LOOK = 50  # ms of virtual time between two looks whether it has
_LOOKS_AT_MEMORY = 12
_JOIN, _STEADY = 1.3, 1.2


@dataclass(frozen=True, slots=True)
class Life:
    """A swarm to be raised: ``peers`` that publish every ``period`` ms, to the ``age``; one was ``away`` then. In ms.

    Each way to come is repeated in so many ``copies`` of the swarm, in which all packets differ. It is held against a
    ``young`` swarm, out of which one was ``young_away``: long enough that it must listen first, as after hours. What a
    peer costs is held against one of the age ``middle``.
    """

    peers: int
    period: int
    age: int
    away: int
    copies: int
    young: int = 5 * MINUTE
    young_away: int = 2 * MINUTE
    middle: int = 15 * MINUTE

    @property
    def name(self) -> str:
        """Return it in words."""
        every = "a second" if self.period == SECOND else f"in {_time(self.period)}"
        return f"{self.peers} peers, an update {every}, {_time(self.age)}"


@dataclass(frozen=True, slots=True)
class Coming:
    """What a member that comes costs until it publishes: CPU seconds, bytes received, virtual seconds."""

    cpu: float
    received: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Keep:
    """What a peer costs: CPU seconds a tick (median), bytes of memory without replicas, blocks and their bytes."""

    cpu: float
    memory: float
    blocks: float
    stored: float


@dataclass(frozen=True, slots=True)
class Found:
    """Means, the young or settled-in swarm's first, then the old one's."""

    newcomer: tuple[Coming, Coming]
    returner: tuple[Coming, Coming]
    keep: tuple[Keep, Keep]


DAY = Life(3, SECOND, 24 * HOUR, 8 * HOUR, 9)
MANY = Life(30, SECOND, HOUR, HOUR // 2, 5)
WEEK = Life(3, MINUTE, 7 * 24 * HOUR, 8 * HOUR, 9)
QUICK = Life(3, SECOND, 2 * MINUTE, 65 * SECOND, 1, 90 * SECOND, 62 * SECOND, 95 * SECOND)


def run(race: Race) -> None:
    """Raise all swarms, two at once, and hold the old ones against the young ones."""
    lives = (QUICK,) if race.quick else (DAY, MANY, WEEK)
    found = in_processes(race, "swarms that age", compare, [(life,) for life in lives])
    for life in lives:
        report(race, life, found[life,])


def compare(life: Life) -> Found:
    """Raise a young swarm, one that is 15 minutes old and an old one, and measure them in turn."""
    old = Swarm(life, life.age, life.away)
    young, middle = (Swarm(life, age, life.young_away) for age in (life.young, life.middle))
    gc.collect()
    gc.freeze()  # what is looked at from here on is what ticks make, not what all peers together hold
    newcomer, returner = (_comings((young, old), life.copies, way) for way in (Swarm.add_newcomer, Swarm.bring_back))
    found = _in_turn((middle, old), _LOOKS_AT_MEMORY, lambda swarm, _: swarm.keep())
    keep = [_means(Keep, each) for each in found]
    return Found(newcomer, returner, (keep[0], keep[1]))


def _comings(swarms: Sequence[Swarm], copies: int, way: Callable[[Swarm], Member]) -> tuple[Coming, Coming]:
    found = _in_turn(swarms, copies, lambda swarm, number: swarm.let_come(number, way))
    young, old = (_means(Coming, each) for each in found)
    return young, old


class Swarm:
    """A simulated swarm that has lived for ``age`` ms; a member more than ``life`` has was there till ``away`` ms ago.

    It has slept between its ticks till then; from now on all tick every second and listen, as real peers do.
    """

    def __init__(self, life: Life, age: int, away: int) -> None:
        manifest = preset("wrist", 1)
        *datasets, self._spare = split_over(load_people(manifest), life.peers + 2, manifest)
        setting = Setting(seed=1, period=life.period, every=life.period // 2 if life.period > SECOND else 0)
        self.simulation = Simulation(manifest, datasets, setting, Wanderer)
        self.members, self._life = self.simulation.members[: life.peers], life
        self.simulation.run(age - away - _PARTING * SECOND)
        self._part(self.simulation.members[life.peers].peer)
        self.simulation.crash(life.peers)
        self.simulation.run(away)
        self._wake(setting)

    def _part(self, leaver: Peer) -> None:
        """Let the others fetch the last frame of a member before it goes: a newcomer would wait for it in vain."""
        leaver.tick = leaver.hear  # type: ignore[method-assign, assignment]
        for _ in range(_PARTING):
            self.simulation.run(SECOND)
            for member in self.members:
                member.peer.hear()

    def _wake(self, setting: Setting) -> None:
        every = self._life.period if setting.every else 0
        self.simulation.setting = replace(setting, period=SECOND, every=every, listen=_LISTEN)
        for member in self.simulation.members:
            self.simulation.listen(member)
            member.peer.cadence.policy = PublishPolicy(every)
        self.simulation.run(self._life.period)

    def let_come(self, number: int, way: Callable[[Swarm], Member]) -> Coming:
        """Let a member come in a copy of this swarm; with each ``number`` at another moment, by other packets."""
        return in_copy(partial(self._let_come, number, way))

    def keep(self) -> Keep:
        """Let time pass; return what the members have cost in it, and what each of them holds."""
        meters = [CpuMeter(member) for member in self.members]
        self.simulation.run(max(10 * SECOND, self._life.period // 2))
        ticks = [seconds for meter in meters for seconds in meter.stop().ticks]
        blocks = [member.host.blocks for member in self.members]
        peers = len(self.members)
        stored = sum(sum(map(len, each.values())) for each in blocks)
        taken = sum(memory(member, self.simulation) for member in self.members)
        return Keep(median(ticks), taken / peers, sum(map(len, blocks)) / peers, stored / peers)

    def add_newcomer(self) -> Member:
        """Add a member with an empty disk."""
        simulation = self.simulation
        simulation.members.append(Member(simulation, len(simulation.members), self._spare))
        simulation.schedule(simulation.members[-1])
        simulation.listen(simulation.members[-1])
        return simulation.members[-1]

    def bring_back(self) -> Member:
        """Start the member that was away."""
        self.simulation.restart(len(self.members))
        return self.simulation.members[len(self.members)]

    def _let_come(self, number: int, way: Callable[[Swarm], Member]) -> Coming:
        simulation = self.simulation
        simulation.network.rng.seed(number)
        simulation.run(number * _CYCLE * self._life.period // self._life.copies)
        simulation.opener = MessageOpener()  # it verifies for itself
        member = way(self)
        meter, begun, received, seq = CpuMeter(member), simulation.clock.time, member.host.bytes_in, _seq(member)
        while _seq(member) == seq and simulation.clock.time - begun < _MOST:
            simulation.run(_LOOK)
        seconds = (simulation.clock.time - begun) / SECOND
        return Coming(meter.stop().seconds, member.host.bytes_in - received, seconds)


class CpuMeter:
    """Measures CPU seconds of one peer: of each of its ``ticks``, and ``seconds`` of all, with what lies between."""

    def __init__(self, member: Member) -> None:
        self.seconds, self.ticks = 0.0, list[float]()
        self._peer, self._tick, self._listen = member.peer, member.peer.tick, member.peer.listen
        self._peer.tick = lambda: self._measure(self._tick, self.ticks)  # type: ignore[method-assign]
        self._peer.listen = lambda: self._measure(self._listen, [])  # type: ignore[method-assign]

    def stop(self) -> CpuMeter:
        """Measure no more."""
        self._peer.tick, self._peer.listen = self._tick, self._listen  # type: ignore[method-assign]
        return self

    def _measure(self, work: Callable[[], Result], into: list[float]) -> Result:
        start = time.process_time()
        try:
            return work()
        finally:
            into.append(time.process_time() - start)
            self.seconds += into[-1]


def _seq(member: Member) -> int:
    return member.peer.own.last.seq if member.peer.own.last else -1


def memory(member: Member, simulation: Simulation) -> int:
    """Return the bytes that a peer's view of the swarm takes, without the weights of others and what it stores."""
    peer = member.peer
    wanted = [value for name, value in vars(peer.replication).items() if name.startswith("_")]
    return deep_size([peer.tangle, peer.following.news, peer.view.names, wanted], simulation.nodes)


def report(race: Race, life: Life, found: Found) -> None:
    """Hold what was found of one swarm against the bounds."""
    for who, pair, away in (
        ("newcomer", found.newcomer, ""),
        ("returner", found.returner, f", away {_time(life.away)} and {_time(life.young_away)}"),
    ):
        note = f"to the same after {_time(life.young)}{away}; means of {life.copies}"
        for what, unit in (("received", "B"), ("cpu", "CPU s"), ("seconds", "s of virtual time")):
            _compare(race, f"{life.name}: {who}, {unit}", pair, what, _JOIN, note, unit)
    note = f"to the same after {_time(life.middle)}"
    for what, name, unit in (
        ("memory", "memory of a peer", "B"),
        ("blocks", "blocks of a peer", ""),
        ("stored", "bytes stored of a peer", "B"),
        ("cpu", "CPU of a tick", "s"),
    ):
        _compare(race, f"{life.name}: {name}", found.keep, what, _STEADY, note, unit)


def _compare(race: Race, name: str, pair: tuple[object, object], what: str, bound: float, note: str, unit: str) -> None:
    before, after = (float(getattr(each, what)) for each in pair)
    race.figure(f"{name}, young", before, unit)
    race.figure(f"{name}, old", after, unit)
    race.check(name, after / before, bound, AT_MOST, "times", note)


def _in_turn(swarms: Sequence[Swarm], repeats: int, measure: Callable[[Swarm, int], Result]) -> list[list[Result]]:
    """Measure the swarms in turn, so that the machine's load hits all alike."""
    results: list[list[Result]] = [[] for _ in swarms]
    for number in range(repeats):
        for swarm, own in zip(swarms, results, strict=True):
            own.append(measure(swarm, number))
    return results


def _means(kind: type[Result], found: Sequence[Result]) -> Result:
    names = kind.__dataclass_fields__  # type: ignore[attr-defined]
    return kind(**{name: float(mean(getattr(each, name) for each in found)) for name in names})


def _time(milliseconds: int) -> str:
    for unit, length in (("d", 24 * HOUR), ("h", HOUR), ("min", MINUTE), ("s", SECOND)):
        if milliseconds % length == 0 and milliseconds > length * (unit == "d"):
            return f"{milliseconds // length} {unit}"
    return f"{milliseconds} ms"
