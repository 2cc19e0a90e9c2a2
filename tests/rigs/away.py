"""Runs a program as if its peer had been away for long, or not at all: ``python -m away long|not MODULE ARGUMENTS``."""

import runpy
import sys

from learnae.peer import rejoining

if __name__ == "__main__":
    how, *sys.argv = sys.argv[1:]
    rejoining._AWAY_MS = 0
    rejoining._QUIET_MS = 4000  # ms: a test cannot wait as long as a board may
    if how == "not":  # however slow a test is
        rejoining.RejoinGuard.start = lambda *_: None  # type: ignore[method-assign]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
