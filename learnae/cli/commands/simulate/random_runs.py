"""``learnae simulate --random``: swarms to which everything happens, each from its seed; what breaks is made small."""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import TYPE_CHECKING, Any

from learnae.cli.arguments import count, place
from learnae.errors import ConfigurationError

if TYPE_CHECKING:
    from learnae.simulation.seeds.scenario import Scenario
    from learnae.simulation.seeds.world import Outcome

_USUAL_SEEDS = 100
_MOST_BYTES = 1 << 20  # of a file with a scenario
_BROKEN = 1  # exit status


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare what random runs take."""
    group = command.add_argument_group(
        "random swarms", "crashes at any write, cuts, wrong clocks, full disks, strangers"
    )
    group.add_argument("--random", action="store_true", help="play swarms from seeds, and look whether all holds")
    seeds = f"how many seeds (default: {_USUAL_SEEDS})"
    group.add_argument("--seeds", type=count, default=_USUAL_SEEDS, metavar="N", help=seeds)
    group.add_argument("--first", type=count, default=0, metavar="S", help="the first seed (default: 0)")
    scenario = "play the scenario in this file in place of seeds: one that --json has printed"
    group.add_argument("--scenario", type=place, metavar="F", help=scenario)


def run(options: argparse.Namespace) -> int:
    """Play the seeds; tell of each that breaks something, as small as it can be made. Returns 1 if any does."""
    from learnae.cli.output import print_json  # noqa: PLC0415 - only when it runs
    from learnae.simulation.seeds.scenario import draw  # noqa: PLC0415 - brings learners
    from learnae.simulation.seeds.shrinking import shrink  # noqa: PLC0415
    from learnae.simulation.seeds.world import play  # noqa: PLC0415

    scenarios = [_read(options)] if options.scenario else map(draw, range(options.first, options.first + options.seeds))
    begun, played, crashes, messages, broken = time.monotonic(), 0, 0, 0, []
    for scenario in scenarios:
        outcome = play(scenario)
        played, crashes, messages = played + 1, crashes + outcome.crashes, messages + outcome.messages
        if outcome.broken:
            found = _Found(scenario, outcome, *shrink(scenario, outcome))
            broken.append(found)
            if not options.json:
                found.tell()
        elif sys.stderr.isatty() and not options.json:
            print(f"\rseed {scenario.seed}", end="", file=sys.stderr)
    seconds = round(time.monotonic() - begun, 1)
    if options.json:
        figures = {"seeds": played, "seconds": seconds, "crashes": crashes, "messages": messages}
        print_json({**figures, "broken": [found.to_fields() for found in broken]})
    else:
        print(f"{played} seeds, {len(broken)} broken; {crashes:,} crashes, {messages:,} messages; {seconds:,} s")
    return _BROKEN if broken else 0


class _Found:
    """A scenario that breaks something, and the smallest that does."""

    def __init__(self, scenario: Scenario, outcome: Outcome, smallest: Scenario, its: Outcome) -> None:
        self._scenario, self._outcome, self._smallest, self._its = scenario, outcome, smallest, its

    def tell(self) -> None:
        """Print it for people."""
        outcome, seed = self._outcome, self._scenario.seed
        print(f"\rseed {seed} breaks: {outcome.broken}\n  after {outcome.second} s: {outcome.detail}")
        print(f"  trace {outcome.trace[:16]}; again: learnae simulate --random --seeds 1 --first {seed}")
        print(f"  the smallest that breaks it, after {self._its.second} s: {self._its.detail}")
        print("\n".join(f"    {line}" for line in str(self._smallest).splitlines()))

    def to_fields(self) -> dict[str, Any]:
        """Return it for machines."""
        outcome = self._outcome
        return {
            "seed": self._scenario.seed,
            "invariant": outcome.broken,
            "detail": outcome.detail,
            "second": outcome.second,
            "trace": outcome.trace,
            "scenario": self._smallest.to_fields(),
        }


def _read(options: argparse.Namespace) -> Scenario:
    from learnae.simulation.seeds.scenario import Scenario  # noqa: PLC0415
    from learnae.system.atomic_files import read_regular  # noqa: PLC0415

    try:
        data = read_regular(options.scenario, _MOST_BYTES)
        fields = json.loads(data[:_MOST_BYTES])
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"cannot read the scenario {options.scenario}: {error}", "see --json") from error
    return Scenario.from_fields(fields)
