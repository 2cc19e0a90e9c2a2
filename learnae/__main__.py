"""``learnae``, or ``python -m learnae``, begins here."""

from __future__ import annotations

from typing import NoReturn

from learnae.system.service import run_program
from learnae.system.signals import abrupt


def main() -> None:
    """Entry point."""
    run_program("learnae", _begin)


def _begin() -> NoReturn:
    with abrupt():
        from learnae.cli.main import main as run  # noqa: PLC0415 - imports take most of a short command's time

    run()


if __name__ == "__main__":
    main()
