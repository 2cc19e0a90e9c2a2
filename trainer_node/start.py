"""``trainer-node`` begins here: without the packages that it is made of, one line says which to install."""

from __future__ import annotations

from typing import NoReturn

from learnae.errors import ConfigurationError
from learnae.service import run_program


def main() -> None:
    """Entry point."""
    try:
        from trainer_node.cli import main as run  # noqa: PLC0415 - it imports typer, an extra
    except ModuleNotFoundError as error:
        missing = ConfigurationError(f"{error.name} is not installed", "pip install 'learnae[trainer]'")
        run_program("trainer-node", lambda: _refuse(missing))
    run()


def _refuse(error: ConfigurationError) -> NoReturn:
    raise error
