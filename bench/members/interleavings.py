"""Ten thousand worlds of six peers that invite, vote, leave and lie: in the end all agree, and how long that takes."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

from bench.harness import AT_LEAST, AT_MOST, Race

_TEST = "tests/unit/membership/test_interleavings.py"
_MOST_SECONDS = 600.0  # of one processor
_WORLDS, _FEW = 10_000, 120


def run(race: Race) -> None:
    """Run the test of the roster on as many worlds as every night."""
    worlds = _FEW if race.quick else _WORLDS
    environment = {**os.environ, "LEARNAE_NIGHTLY": "0" if race.quick else "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", _TEST]
    with race.step(f"{worlds:,} interleavings"):
        before = os.times()
        begun = time.monotonic()
        done = subprocess.run(
            command, env=environment, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False
        )
        after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    note = f"{time.monotonic() - begun:.0f} s on a busy machine"
    if done.returncode and not re.search(r"failed", done.stdout):
        raise RuntimeError(done.stdout + done.stderr)
    race.check("interleavings after which all agree", 0 if done.returncode else worlds, worlds, AT_LEAST)
    race.check(f"{worlds:,} interleavings", used, _MOST_SECONDS, AT_MOST, "s of a core", note)
