"""Simulated swarms of any age: what a peer costs, and what a newcomer and a returner cost."""

import time
from dataclasses import dataclass

from bench.swarms import SECOND, Wanderer, deep_size, load_people, split_over
from learnae.protocol.limits import HOUR, MINUTE
from learnae.simulation.simulator import Member, Setting, Simulation
from learnae.swarm.presets import preset

_SAMPLE_TICKS = 120  # over which CPU is measured
_MOST = 60 * SECOND  # of virtual time that a member may take to be one of the others
_LOOK = SECOND // 2


@dataclass(frozen=True, slots=True)
class Joining:
    """What a member that comes costs until it publishes: CPU seconds, bytes received, virtual seconds."""

    cpu: float
    received: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Aged:
    """A swarm at one age: a peer's CPU seconds a tick, bytes of memory without replicas, blocks and their bytes."""

    cpu: float
    memory: float
    blocks: float
    stored: float
    newcomer: Joining
    returner: Joining


def grow(peers: int, period: int, age: int, away: int) -> Aged:
    """Let ``peers`` live for ``age`` ms, a tick in ``period`` ms; one more comes, another was ``away`` ms."""
    manifest = preset("wrist", 1)
    datasets = split_over(load_people(manifest), peers + 2, manifest)
    simulation = Simulation(manifest, datasets[: peers + 1], Setting(seed=1, period=period), Wanderer)
    members, leaver = simulation.members[:peers], peers
    simulation.run(max(_SAMPLE_TICKS * period, age - away) - _SAMPLE_TICKS * period)
    simulation.crash(leaver)
    simulation.run(away)
    cpu = _cpu_of(simulation, members, _SAMPLE_TICKS * period)
    aged = {
        "cpu": cpu / _SAMPLE_TICKS / peers,
        "memory": sum(map(memory, members)) / peers,
        "blocks": sum(len(member.host.blocks) for member in members) / peers,
        "stored": sum(sum(map(len, member.host.blocks.values())) for member in members) / peers,
    }
    simulation.restart(leaver)
    returner = _join(simulation, simulation.members[leaver])
    simulation.members.append(Member(simulation, peers + 1, datasets[-1]))
    simulation.schedule(simulation.members[-1])
    return Aged(**aged, newcomer=_join(simulation, simulation.members[-1]), returner=returner)


def memory(member: Member) -> int:
    """Return the bytes that a peer's view of the swarm takes, without the weights of others."""
    peer = member.peer
    return deep_size([peer.tangle, peer.following.news, peer.view.names])


def _cpu_of(simulation: Simulation, members: list[Member], milliseconds: int) -> float:
    """Let virtual time pass; return the CPU seconds that the ticks of ``members`` took."""
    meters = [CpuMeter(member) for member in members]
    simulation.run(milliseconds)
    return sum(meter.stop() for meter in meters)


def _join(simulation: Simulation, member: Member) -> Joining:
    """Let the swarm run until ``member`` publishes."""
    begun, received, seq = simulation.clock.time, member.host.bytes_in, _seq(member)
    meter = CpuMeter(member)
    while _seq(member) == seq and simulation.clock.time - begun < _MOST:
        simulation.run(_LOOK)
    return Joining(meter.stop(), member.host.bytes_in - received, (simulation.clock.time - begun) / SECOND)


def _seq(member: Member) -> int:
    return member.peer.own.last.seq if member.peer.own.last else -1


class CpuMeter:
    """Adds up the CPU seconds of one peer's ticks."""

    def __init__(self, member: Member) -> None:
        self.seconds = 0.0
        self._peer, self._tick = member.peer, member.peer.tick
        member.peer.tick = self._measured  # type: ignore[method-assign, assignment]

    def stop(self) -> float:
        """Return them, and measure no more."""
        self._peer.tick = self._tick  # type: ignore[method-assign]
        return self.seconds

    def _measured(self) -> object:
        start = time.process_time()
        try:
            return self._tick()
        finally:
            self.seconds += time.process_time() - start


__all__ = ["HOUR", "MINUTE", "Aged", "Joining", "grow"]
