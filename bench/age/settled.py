"""A swarm that has learnt what there is to learn falls silent: what that saves."""

from bench.harness import AT_MOST, Race
from bench.swarms import SECOND, load_people, split_over
from learnae.protocol.limits import HOUR, MINUTE
from learnae.simulation.simulator import Setting, Simulation
from learnae.swarm.presets import preset

_PATIENCE, _PATIENCE_QUICK = 500, 5  # updates without a gain: as members have it by default
_LISTEN = 250  # ms
_SLICE = 20 * SECOND  # between two looks
_LONGEST = 2 * HOUR  # to settle
_BOUND = 5.0


def run(race: Race) -> None:
    """Let a swarm learn until all have settled, and compare the bytes that it sends, announcements included."""
    manifest, patience = preset("wrist", 1), _PATIENCE_QUICK if race.quick else _PATIENCE
    peers, learning, silent = (2, 10 * SECOND, MINUTE) if race.quick else (8, 5 * MINUTE, HOUR)
    setting = Setting(seed=1, listen=_LISTEN, patience=patience)
    simulation = Simulation(manifest, split_over(load_people(manifest), peers, manifest), setting)
    with race.step(f"{peers} peers that learn, and settle"):
        before = _sent_in(simulation, learning)
        begun = simulation.clock.time - learning
        while not all(_settled(simulation)) and simulation.clock.time - begun < _LONGEST:
            simulation.run(_SLICE)
        race.figure(f"{peers} peers: settled", sum(_settled(simulation)))
        race.figure(f"{peers} peers: settled after", (simulation.clock.time - begun) / MINUTE, "min")
        simulation.run(MINUTE)
        after = _sent_in(simulation, silent)
    race.figure(f"{peers} peers that learn: sent", before / 1e6, "MB an hour")
    race.figure(f"{peers} settled peers: sent", after / 1e6, "MB an hour")
    note = f"an update a second; none gained in {patience}; bytes an hour, announcements included"
    note += f"; {sum(_settled(simulation))} of {peers} are settled at the end"
    race.check("a settled swarm's bytes, to a learning one's", 100 * after / before, _BOUND, AT_MOST, "%", note)


def _settled(simulation: Simulation) -> list[bool]:
    return [member.peer.settling.since is not None for member in simulation.members]


def _sent_in(simulation: Simulation, milliseconds: int) -> float:
    """Let time pass; return the bytes an hour that all hosts have sent in it."""
    before = sum(member.host.bytes_out for member in simulation.members)
    simulation.run(milliseconds)
    return (sum(member.host.bytes_out for member in simulation.members) - before) * HOUR / milliseconds
