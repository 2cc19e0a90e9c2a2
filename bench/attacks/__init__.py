"""Liars in a swarm: what each kind costs the others, with each rule of merging, and what un-merging brings back."""

from collections.abc import Callable

from bench.attacks import cost, own, table, uneven, unmerge
from bench.harness import Race

PARTS: dict[str, Callable[[Race], None]] = {
    "table": table.run,
    "uneven": uneven.run,
    "unmerge": unmerge.run,
    "own": own.run,
    "cost": cost.run,
}


def run(race: Race) -> None:
    """Run all parts, or the one that ``race.part`` asks for."""
    race.run_parts(PARTS)
