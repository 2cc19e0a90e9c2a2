"""The benchmark of the published Learnae, on a simulation like it: swarms beside all rows in one place.

HEPMASS itself cannot be shipped: ``--data FILE`` takes a file of it, or of the same columns, with the mass. Without one
the rows are those of a *HEPMASS-like simulation* (collisions.py), and all that is shown of them says so.
"""

from collections.abc import Callable
from functools import partial

from bench.harness import Race
from bench.hepmass import large, learning

PARTS: dict[str, Callable[[Race], None]] = {name: partial(learning.run, part=name) for name in learning.BARS}
PARTS["large"] = large.run


def run(race: Race) -> None:
    """Run all parts, or the one that ``race.part`` asks for; a file that is given is of no use to the last."""
    of_files = {name: part for name, part in PARTS.items() if part is not large.run}
    race.run_parts(of_files if race.data and not race.part else PARTS)
