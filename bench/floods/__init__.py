"""What strangers can make an honest peer spend: processor time, memory, disk, bytes, and time without news."""

from collections.abc import Callable

from bench.floods import exchange
from bench.harness import Race

PARTS: dict[str, Callable[[Race], None]] = {"exchange": exchange.run}


def run(race: Race) -> None:
    """Run all parts, or the one that ``race.part`` asks for."""
    for name, part in PARTS.items():
        if race.part in ("", name):
            part(race)
