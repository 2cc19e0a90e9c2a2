"""``learnae simulate``."""

import argparse

from learnae.cli.commands.simulate import attacked


def simulate(options: argparse.Namespace) -> int:
    """Run a whole swarm in this process, in virtual time."""
    return attacked.run(options)
