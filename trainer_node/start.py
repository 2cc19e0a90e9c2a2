"""Entry point of ``trainer-node``: where its extra is not installed, it says so in one line."""

from typing import NoReturn

from learnae.system.lazy_imports import keep_libcrypto_out
from learnae.system.signals import abrupt


def main() -> None:
    """Run the program and exit."""
    with abrupt():
        keep_libcrypto_out()
        from learnae.system.service import run_program  # noqa: PLC0415 - after what it imports has been settled

    run_program("trainer-node", _begin)


def _begin() -> NoReturn:
    with abrupt():
        from trainer_node.cli import main as run  # noqa: PLC0415 - it imports typer

    run()
