"""Who is in: what invites, votes and sealed bytes cost."""

from collections.abc import Callable

from bench.harness import Race
from bench.members import beginning, sealing, strangers

PARTS: dict[str, Callable[[Race], None]] = {
    "sealing": sealing.run,
    "strangers": strangers.run,
    "beginning": beginning.run,
}


def run(race: Race) -> None:
    """Run all parts, or the one that ``race.part`` asks for."""
    for name, part in PARTS.items():
        if race.part in ("", name):
            part(race)
