"""What a simulated peer costs: processor time and memory by the number of peers, and what training together saves."""

from collections.abc import Callable

from bench.harness import Race
from bench.scale import flower, swarm

PARTS: dict[str, Callable[[Race], None]] = {
    "learners": swarm.check_learners,
    "growth": swarm.check_growth,
    "thousand": swarm.check_thousand,
    "ten-thousand": swarm.check_ten_thousand,
    "flower": flower.run,
}


def run(race: Race) -> None:
    """Run all parts, or the one that ``race.part`` asks for."""
    race.run_parts(PARTS)
