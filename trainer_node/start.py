"""``trainer-node`` begins here: what it is made of is an extra, and without that it says so in one line."""

from __future__ import annotations

from typing import NoReturn

from learnae.system.service import run_program
from learnae.system.signals import abrupt


def main() -> None:
    """Entry point."""
    run_program("trainer-node", _begin)


def _begin() -> NoReturn:
    with abrupt():
        from trainer_node.cli import main as run  # noqa: PLC0415 - it imports typer

    run()
