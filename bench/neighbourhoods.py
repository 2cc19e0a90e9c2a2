"""Large swarms: what a peer receives, keeps and computes stays the same from 100 peers to 1,000, and as good as in a
swarm in which all hear all. Simulated; and real agents at a real Mosquitto, which hear fewer, so that 30 are many."""

from __future__ import annotations

import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bench.harness import AT_MOST, Race, in_processes
from bench.mqtt import Member as Agent
from bench.mqtt import Meter as BrokerMeter
from bench.rigs.processes import broker, cpu_seconds, memory_bytes, rig, wait_until
from bench.swarms import (
    FOUNDING,
    SECOND,
    Wanderer,
    accuracies,
    deep_size,
    load_people,
    replica_memory,
    split_over,
)
from learnae.config.sections import MqttSection
from learnae.protocol.neighbourhood.attention import WHOLE, levels_of
from learnae.simulation.simulator import Setting, Simulation, numpy_learner
from learnae.swarm.presets import preset

FOLLOW = 8
_LISTEN = 250  # ms: as members do
_PERIOD = 4 * SECOND  # between two ticks, where it is only counted what they cost: few of them are enough
_WEIGHED = 6  # members whose tangles are weighed
_GROWTH = 1.5
_TWIN_TICKS, _APART = 6, 1.25  # of simulated peers beside as many agents
_LOST = 0.01
_ALL = 1 << 30
_PATIENCE = 300.0
_HALF_LIFE = 5 * SECOND


def run(race: Race) -> None:
    """Run all parts, or the one that ``race.part`` asks for."""
    parts = {"growth": check_growth, "accuracy": check_accuracy, "agents": check_agents}
    race.run_parts(parts)


# -- simulated: what a peer costs


@dataclass(frozen=True, slots=True)
class Cost:
    """What a peer takes for one update of all: ``received`` bytes, processor ``milliseconds``, ``memory`` (bytes).

    ``taken`` bytes are blocks alone, as each peer itself counts them.
    """

    heard: float
    received: float
    taken: float
    milliseconds: float
    memory: float


def cost_of(peers: int, hears: int, ticks: int) -> Cost:
    """Measure a swarm that does as if it trained, and has been told how large it is."""
    manifest = preset("wrist", 1)
    setting = Setting(seed=1, period=_PERIOD, follow=FOLLOW, levels=levels_of(peers, hears), hears=hears)
    simulation = Simulation(manifest, split_over(load_people(manifest), peers, manifest), setting, Wanderer)
    simulation.run(FOUNDING + 5 * _PERIOD)
    before, begun, updates = _received(simulation), time.process_time(), _updates(simulation)
    taken = _taken(simulation)
    simulation.run(ticks * _PERIOD)
    count = _updates(simulation) - updates
    seconds = time.process_time() - begun
    weighed = simulation.members[:: max(1, peers // _WEIGHED)]
    tangles = float(np.mean([deep_size(member.peer.tangle, simulation.nodes) for member in weighed]))
    return Cost(
        heard=float(np.mean([len(list(member.peer.tangle.speakers())) - 1 for member in simulation.members])),
        received=(_received(simulation) - before) / count,
        taken=(_taken(simulation) - taken) / count,
        milliseconds=1000 * seconds / count,
        memory=tangles + float(np.mean([replica_memory(member) for member in simulation.members])),
    )


def _received(simulation: Simulation) -> int:
    return sum(member.host.bytes_in for member in simulation.members)


def _taken(simulation: Simulation) -> int:
    return sum(member.peer.traffic.bytes_in for member in simulation.members)


def _updates(simulation: Simulation) -> int:
    return sum(last.seq for member in simulation.members if (last := member.peer.own.last))


def check_growth(race: Race) -> None:
    """Compare what a peer costs in a large swarm to what it costs in one of a tenth of the size."""
    few, many, hears, ticks = (16, 48, 16, 2) if race.quick else (100, 1000, WHOLE, 3)
    found = in_processes(race, "sizes of a swarm", cost_of, [(size, hears, ticks) for size in (many, few)])
    small, large = (found[size, hears, ticks] for size in (few, many))
    for size, cost in ((few, small), (many, large)):
        race.figure(f"{size:,} peers: others heard", cost.heard, "on the mean")
        race.figure(f"{size:,} peers: received", cost.received, "B a peer and update")
        race.figure(f"{size:,} peers: processor", cost.milliseconds, "ms a peer and update")
        race.figure(f"{size:,} peers: messages and replicas in memory", cost.memory, "B a peer")
    sizes, note = f"{many:,} peers to {few:,}", f"each follows {FOLLOW} and hears all up to {hears}; 4,295 weights"
    race.check(f"received: {sizes}", large.received / small.received, _GROWTH, AT_MOST, "times", note)
    race.check(f"memory: {sizes}", large.memory / small.memory, _GROWTH, AT_MOST, "times", note)
    race.check(f"processor: {sizes}", large.milliseconds / small.milliseconds, _GROWTH, AT_MOST, "times", note)


# -- simulated: how good the models are


def accuracy_of(peers: int, hears: int, ticks: int) -> float:
    """Return the mean accuracy of the peers' estimates on all held-out windows after so many ticks of a second."""
    manifest = preset("wrist", 1)
    people = load_people(manifest)
    setting = Setting(seed=1, follow=FOLLOW, listen=_LISTEN, levels=levels_of(peers, hears), hears=hears)
    simulation = Simulation(manifest, split_over(people, peers, manifest), setting, numpy_learner)
    simulation.run(FOUNDING + ticks * SECOND)
    return float(np.mean(accuracies(simulation, people)))


def check_accuracy(race: Race) -> None:
    """Compare the models of a swarm in which each hears some to those of one in which all hear all."""
    peers, hears, ticks = (16, 8, 2) if race.quick else (200, WHOLE, 40)
    tasks = [(peers, each, ticks) for each in (_ALL, hears)]
    found = in_processes(race, "swarms that learn", accuracy_of, tasks)
    of_all, of_some = (found[task] for task in tasks)
    race.figure(f"{peers} peers, all hear all: accuracy", of_all)
    race.figure(f"{peers} peers, each hears all up to {hears}: accuracy", of_some)
    note = f"each follows {FOLLOW}; everybody's held-out windows, {ticks} ticks"
    race.check("accuracy lost by hearing some", of_all - of_some, _LOST, AT_MOST, "", note)


# -- real agents at a real broker


@dataclass(frozen=True, slots=True)
class Crowd:
    """What agents at one broker took, each and for each update of its own: bytes sent to it, seconds, memory.

    ``taken`` bytes are blocks alone, as each agent itself counts them.
    """

    sent: float
    taken: float
    seconds: float
    memory: float
    heard: float
    updates: float


def check_agents(race: Race) -> None:
    """Compare many agents to a third as many; each hears all up to 10, so that both are large swarms."""
    few, many, hears, seconds = (2, 4, 8, 2.0) if race.quick else (10, 30, 10, 40.0)
    if not rig("mosquitto").is_here():
        race.note("no agents at a broker: there is no Mosquitto here")
        return
    small, large = (crowd_of(race, count, hears, seconds) for count in (few, many))
    for count, crowd in ((few, small), (many, large)):
        race.figure(f"{count} agents: others heard", crowd.heard, "at the end, on the mean")
        race.figure(f"{count} agents: sent by the broker", crowd.sent, "B an agent and update")
        race.figure(f"{count} agents: taken in", crowd.taken, "B of blocks an agent and update, by its own count")
        race.figure(f"{count} agents: processor", crowd.seconds, "s an agent and update")
        race.figure(f"{count} agents: memory", crowd.memory, "B an agent (private)")
        race.figure(f"{count} agents: updates", crowd.updates, "an agent")
    if race.quick:
        return
    with race.step(f"{many} simulated peers"):
        twins = cost_of(many, hears, _TWIN_TICKS)
    race.figure(f"{many} simulated peers: taken in", twins.taken, "B of blocks a peer and update, by its own count")
    race.figure(f"{many} simulated peers: received", twins.received, "B a peer and update")
    sizes, note = f"{many} agents to {few}", f"real processes, real Mosquitto; each hears all up to {hears}"
    race.check(f"sent by the broker: {sizes}", large.sent / small.sent, _GROWTH, AT_MOST, "times", note)
    race.check(f"memory of a process: {sizes}", large.memory / small.memory, _GROWTH, AT_MOST, "times", note)
    race.check(f"others heard by each of {many} agents", large.heard, hears, AT_MOST, "", note)
    said = f"sent by the broker, to what {many} agents count"
    race.check(
        said, large.sent / large.taken, _GROWTH, AT_MOST, "times", "announcements and MQTT are not counted by these"
    )
    apart = max(large.taken / twins.taken, twins.taken / large.taken)
    note = "bytes of blocks a peer and update, by their own count; the greater to the less"
    race.check(f"{many} agents and as many simulated", apart, _APART, AT_MOST, "times", note)


def crowd_of(race: Race, count: int, hears: int, seconds: float) -> Crowd:
    """Let so many agents train together at a broker, and measure them once all have published."""
    with tempfile.TemporaryDirectory() as name, broker(Path(name) / "broker") as mosquitto, ExitStack() as running:
        section = MqttSection(broker=f"mqtt://127.0.0.1:{mosquitto.port}")
        manifest = preset("wrist", time.time_ns() // 1_000_000)
        manifest = replace(manifest, merge=replace(manifest.merge, half_life=_HALF_LIFE))
        agents = [
            Agent(Path(name) / str(index), 1 + index % 8, manifest, section, every=4.0, hears=hears)
            for index in range(count)
        ]
        with race.step(f"{count} agents at a broker") as say:
            for agent in agents:
                agent.start()
                running.callback(agent.stop)
            wait_until(lambda: all(_seq(agent) >= 1 for agent in agents), _PATIENCE, "all to publish", 0.5)
            time.sleep(seconds / 2)  # keys count when they are older than a half-life; zones are new then
            say("measuring")
            before = _at(section, agents)
            time.sleep(seconds)
            after = _at(section, agents)
            memory = [memory_bytes("smaps_rollup", "Private_Dirty", agent.pid) for agent in agents]
            heard = [int(agent.status().get("zones", {}).get("heard", count - 1)) for agent in agents]
    updates, sent, taken, used = (later - earlier for later, earlier in zip(after, before, strict=True))
    return Crowd(
        sent / updates, taken / updates, used / updates, float(np.mean(memory)), float(np.mean(heard)), updates / count
    )


def _at(section: MqttSection, agents: list[Agent]) -> tuple[int, int, int, float]:
    """Return updates, bytes that the broker has sent and that agents say they took in, and processor seconds so far."""
    _, sent = BrokerMeter(section).read()
    taken = sum(int(agent.status()["bytes_in"]) for agent in agents)
    return sum(map(_seq, agents)), sent, taken, sum(cpu_seconds(agent.pid) for agent in agents)


def _seq(agent: Agent) -> int:
    return int(agent.status().get("seq") or 0)
