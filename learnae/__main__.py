"""Entry point of ``learnae`` and ``python -m learnae``."""

from typing import NoReturn

from learnae.system.service import run_program
from learnae.system.signals import abrupt


def main() -> None:
    """Run the program and exit."""
    run_program("learnae", _begin)


def _begin() -> NoReturn:
    with abrupt():
        from learnae.cli.main import main as run  # noqa: PLC0415 - imports take most of a short command's time

    run()


if __name__ == "__main__":
    main()
