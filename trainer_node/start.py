"""``trainer-node`` begins here: what it is made of is an extra, and without that it says so in one line."""

from __future__ import annotations

from typing import NoReturn

from learnae.interrupts import abrupt
from learnae.service import run_program


def main() -> None:
    """Entry point."""
    run_program("trainer-node", _begin)


def _begin() -> NoReturn:
    with abrupt():
        from trainer_node.cli import main as run  # noqa: PLC0415 - it imports typer

    run()
