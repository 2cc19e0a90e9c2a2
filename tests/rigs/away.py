"""Runs a program as if its peer had been away for long, or not at all: ``python -m away long|not MODULE ARGUMENTS``."""

import runpy
import sys

from learnae.peer import catching_up
from learnae.protocol import chain

if __name__ == "__main__":
    how, *sys.argv = sys.argv[1:]
    catching_up._AWAY_MS = 0
    chain.LEAST_GRACE = 60_000  # ms: however slow a test is, what is forked is not forgotten before
    if how == "not":
        catching_up.CatchUp.start = lambda *_, **__: None  # type: ignore[method-assign]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
