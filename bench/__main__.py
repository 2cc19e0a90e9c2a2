"""Run one race: ``python -m bench RACE [options]``. The exit status says whether it ran."""

import argparse
import importlib
import pkgutil
from pathlib import Path

import bench
from bench.harness import Race

_HELPERS = {"__main__", "harness", "rigs", "swarms"}


def race_names() -> list[str]:
    """Return the modules of this package that have a ``run``."""
    return sorted({module.name for module in pkgutil.iter_modules(bench.__path__)} - _HELPERS)


def main() -> None:
    """Parse the command line, run the race, print and write its results."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=bench.__doc__)
    parser.add_argument("race", choices=race_names())
    parser.add_argument("--quick", action="store_true", help="a small version of everything, to see that it runs")
    parser.add_argument("--out", type=Path, default=Path("build/bench"), help="where RACE.json is written")
    parser.add_argument("--rows", type=int, default=0, metavar="N", help="learners: an epoch of N rows, on a CPU too")
    parser.add_argument("--seconds", type=float, default=0.0, metavar="S", help="chaos: one run of each kind, so long")
    parser.add_argument(
        "--part",
        default="",
        metavar="NAME",
        help="races that are folders: only the part NAME, a file of it",
    )
    parser.add_argument("--data", default="", metavar="FILE", help="hepmass: the rows of a file, the mass among them")
    options = parser.parse_args()
    given = {name: getattr(options, name) for name in ("rows", "part", "seconds", "data")}
    race = Race(options.race, options.quick, **given)
    importlib.import_module(f"bench.{options.race}").run(race)
    race.finish(options.out)


if __name__ == "__main__":
    main()
