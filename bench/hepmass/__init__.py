"""The benchmark of the published Learnae, on a simulation like it: swarms beside all rows in one place.

HEPMASS itself cannot be shipped: ``--data FILE`` takes a file of it, or of the same columns, with the mass. Without one
the rows are those of a *HEPMASS-like simulation* (collisions.py), and all that is shown of them says so.
"""

from collections.abc import Callable
from functools import partial

from bench.harness import Race
from bench.hepmass import learning

PARTS: dict[str, Callable[[Race], None]] = {name: partial(learning.run, part=name) for name in learning.BARS}


def run(race: Race) -> None:
    """Run all parts, or the one that ``race.part`` asks for."""
    for name, part in PARTS.items():
        if race.part in ("", name):
            part(race)
