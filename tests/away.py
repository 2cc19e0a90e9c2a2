"""Runs a program as if its peer had been away for long: ``python -m away MODULE ARGUMENTS``."""

from __future__ import annotations

import runpy
import sys

from learnae import listening

if __name__ == "__main__":
    listening._AWAY = 0
    listening._QUIET = 4000  # ms: a test cannot wait as long as a board may
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
