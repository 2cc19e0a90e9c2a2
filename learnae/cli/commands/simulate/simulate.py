"""``learnae simulate``: which of its parts is meant."""

import argparse

from learnae.cli.commands.simulate import attacked, random_runs


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare the arguments of all parts."""
    attacked.add_arguments(command)
    random_runs.add_arguments(command)


def simulate(options: argparse.Namespace) -> int:
    """Run a whole swarm in this process, in virtual time."""
    return random_runs.run(options) if options.random or options.scenario else attacked.run(options)
