"""Floods of strangers: what each kind costs an honest peer, and whether it still hears what is true."""

from collections.abc import Callable

from bench.floods import exchange, tangle
from bench.harness import Race

PARTS: dict[str, Callable[[Race], None]] = {
    "tangle": tangle.run,
    "exchange": exchange.run,
}


def run(race: Race) -> None:
    """Run all parts, or the one that ``race.part`` asks for."""
    race.run_parts(PARTS)
