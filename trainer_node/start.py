"""``trainer-node`` begins here: what it is made of is an extra, and without that it says so in one line."""

from __future__ import annotations

from learnae.interrupts import abrupt
from learnae.service import run_program


def main() -> None:
    """Entry point; the only place that exits."""
    run_program("trainer-node", _run)


def _run() -> int:
    with abrupt():
        from trainer_node.cli import app  # noqa: PLC0415 - it imports typer

    app()
    return 0
