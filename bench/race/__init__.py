"""Few bits, and better than rounds of averaging: real trainers on one task, beside what a coordinator would reach."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from bench.harness import Race
from bench.race import beside, large, splits

PARTS: dict[str, Callable[[Race], None]] = {
    "iid": partial(splits.run, split="iid"),
    "skewed": partial(splits.run, split="skewed"),
    "large": large.run,
    "beside": beside.run,
}


def run(race: Race) -> None:
    """Run all parts, or the one that ``race.part`` asks for."""
    race.run_parts(PARTS)
