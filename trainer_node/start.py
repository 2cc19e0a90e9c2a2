"""Entry point of ``trainer-node``: where its extra is not installed, it says so in one line."""

import sys
from importlib.util import find_spec

from learnae.system.lazy_imports import keep_libcrypto_out
from learnae.system.signals import abrupt


def main() -> None:
    """Run the program and exit."""
    with abrupt():
        keep_libcrypto_out()
        from learnae.system.service import run_program  # noqa: PLC0415 - after what it imports has been settled

    run_program("trainer-node", _begin)


def _begin() -> int:
    with abrupt():
        from trainer_node.starting import StartOptions, begin  # noqa: PLC0415 - after what has been settled, too

        is_start = sys.argv[1:2] == ["start"] and find_spec("typer") is not None
        options = StartOptions.read(sys.argv[2:]) if is_start else None
        if options is None:  # it may be a call for help, or the extra is not there
            from trainer_node.cli import main as run  # noqa: PLC0415 - it imports typer
    return begin(options) if options else run()
