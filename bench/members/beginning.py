"""From nothing to the first merged update on one machine: an open swarm, and one by invite."""

import tempfile
import time
from pathlib import Path

from bench.harness import AT_MOST, Race
from bench.rigs.processes import read_status, wait_until
from demo.swarm import TRAINERS, Swarm, peer_of

_TIMEOUT_SECONDS = 120.0
_MOST_SECONDS = 5.0  # that invites, welcomes and sealing may add


def run(race: Race) -> None:
    """Create a swarm, let two trainers join and start, and wait until each has merged what the other has published."""
    found = {}
    for kind in ("open", "invite"):
        with race.step(f"two trainers, {kind}"), tempfile.TemporaryDirectory() as name:
            found[kind] = beginning_seconds(Path(name), kind)
            race.figure(f"from swarm create to two trainers that have merged, {kind}", found[kind], "s")
    race.check("more by invite than open", found["invite"] - found["open"], _MOST_SECONDS, AT_MOST, "s")


def beginning_seconds(home: Path, kind: str) -> float:
    """Return the seconds that it takes; every line is typed as in the README."""
    begun = time.monotonic()
    swarm = Swarm.create(home, "--membership", kind)
    try:
        for person in TRAINERS:
            swarm.add(person)
        paths = [home / "peers" / peer_of(person) / "status.json" for person in TRAINERS]
        wait_until(
            lambda: all(read_status(path).get("following") == len(paths) - 1 for path in paths),
            _TIMEOUT_SECONDS,
            "both",
        )
        return time.monotonic() - begun
    finally:
        swarm.stop()
