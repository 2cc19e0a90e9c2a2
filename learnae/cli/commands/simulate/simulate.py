"""``learnae simulate``: which of its parts is meant."""

import argparse

from learnae.cli.commands.simulate import attacked, played_file, random_runs
from learnae.errors import ConfigurationError


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare the arguments of all parts."""
    played_file.add_arguments(command)
    attacked.add_arguments(command)
    random_runs.add_arguments(command)


def simulate(options: argparse.Namespace) -> int:
    """Run a whole swarm in this process, in virtual time."""
    if options.file is not None:
        if options.random or options.scenario or options.attack is not None:
            raise ConfigurationError(
                f"{options.file} beside --random, --scenario or --attack", "give one of them: each is a run of its own"
            )
        return played_file.run(options)
    if options.page is not None:
        raise ConfigurationError("--page without SCENARIO.toml", "name the file first")
    return random_runs.run(options) if options.random or options.scenario else attacked.run(options)
