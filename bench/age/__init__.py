"""A swarm of any age: what it costs a peer, a newcomer, a returner and a disk."""

from collections.abc import Callable

from bench.age import alone, brokered, newcomers, programs, settled, simulated
from bench.harness import Race

PARTS: dict[str, Callable[[Race], None]] = {
    "alone": alone.run,  # first, as it is timed on a machine that does nothing else
    "brokered": brokered.run,
    "programs": programs.run,
    "settled": settled.run,
    "newcomers": newcomers.run,
    "simulated": simulated.run,
}


def run(race: Race) -> None:
    """Run all parts, or the one that ``race.part`` asks for."""
    race.run_parts(PARTS)
