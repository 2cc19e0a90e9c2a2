"""Liars in a swarm: what each kind costs the others, with each rule of merging."""

from bench.attacks import table
from bench.harness import Race


def run(race: Race) -> None:
    """Run all parts."""
    table.run(race)
