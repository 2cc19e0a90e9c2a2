"""Who is in: what invites, votes and sealed bytes cost."""

from collections.abc import Callable

from bench.harness import Race
from bench.members import beginning, interleavings, lines, memory, sealing, strangers

PARTS: dict[str, Callable[[Race], None]] = {
    "sealing": sealing.run,
    "strangers": strangers.run,
    "beginning": beginning.run,
    "lines": lines.run,
    "memory": memory.run,
    "interleavings": interleavings.run,
}


def run(race: Race) -> None:
    """Run all parts, or the one that ``race.part`` asks for."""
    race.run_parts(PARTS)
