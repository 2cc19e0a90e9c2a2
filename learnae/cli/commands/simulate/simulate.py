"""``learnae simulate``: which of its parts is meant."""

import argparse

from learnae.cli.commands.simulate import random_runs
from learnae.errors import ConfigurationError


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare the arguments of all parts."""
    random_runs.add_arguments(command)


def simulate(options: argparse.Namespace) -> int:
    """Run a whole swarm in this process, in virtual time."""
    if options.random or options.scenario:
        return random_runs.run(options)
    raise ConfigurationError("nothing was named that is to be simulated", "learnae simulate --random")
