"""Run the peers of another framework in a network of their own, which has loopback and nothing else.

``unshare --net python -m bench.race.field.launch FRAMEWORK PYTHON HOME PEERS ROUNDS``; prints what it took, in JSON.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

_MOST_SECONDS = 540.0
_PORT, _NODE_PORT = 8000, 9100
_CONFIG = f"""[superlink]
default = "race"
[superlink.race]
address = "127.0.0.1:{_PORT}"
insecure = true
"""


class Processes:
    """What runs in ``home``, each in a group of its own; with the programs that lie beside ``python`` on the path."""

    def __init__(self, home: Path, python: Path, peers: int, rounds: int) -> None:
        self.home, self.peers = home, peers
        self._python = python
        self._running: list[subprocess.Popen[bytes]] = []
        self._environment = {
            **os.environ, "PATH": f"{python.parent}:{os.environ['PATH']}", "RACE_HOME": str(home),
            "RACE_PEERS": str(peers), "RACE_ROUNDS": str(rounds), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1",
            "FLWR_HOME": str(home / "flwr"), "FLWR_TELEMETRY_ENABLED": "0",
        }  # fmt: skip

    def start(self, name: str, *command: str) -> subprocess.Popen[bytes]:
        """Start a program that lies beside the Python; what it says goes into NAME.log."""
        with (self.home / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [str(self._python.parent / command[0]), *command[1:]], env=self._environment, cwd=self.home,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        self._running.append(process)
        return process

    def wait(self, processes: Sequence[subprocess.Popen[bytes]], until: float) -> None:
        """Wait until all have ended well; raises RuntimeError or TimeoutExpired."""
        for process in processes:
            if process.wait(max(1.0, until - time.monotonic())):
                raise RuntimeError(f"{process.args!r} has ended with {process.returncode}: see its log")

    def stop(self) -> None:
        """End all, and what they have started."""
        for ending in (signal.SIGTERM, signal.SIGKILL):
            for process in self._running:
                try:
                    os.killpg(process.pid, ending)
                except ProcessLookupError:
                    continue
            deadline = time.monotonic() + 10
            while any(process.poll() is None for process in self._running) and time.monotonic() < deadline:
                time.sleep(0.1)


def flower(run: Processes, until: float) -> None:
    """Run a SuperLink, a SuperNode a peer, and the app, as for a deployment."""
    (run.home / "flwr").mkdir()
    (run.home / "flwr" / "config.toml").write_text(_CONFIG)
    run.start(
        "superlink", "flower-superlink", "--insecure", "--host", "127.0.0.1", "--port", str(_PORT),
        "--disable-runtime-dependency-installation",
    )  # fmt: skip
    _wait_for(_PORT, until)
    for number in range(run.peers):
        run.start(
            f"node-{number}", "flower-supernode", "--insecure", "--superlink", f"127.0.0.1:{_PORT}",
            "--port", str(_NODE_PORT + number), "--node-config", f"partition-id={number}",
        )  # fmt: skip
    run.wait([run.start("run", "flwr", "run", "app", "race", "--stream")], until)


def _wait_for(port: int, until: float) -> None:
    """Return when something listens on ``port``; raises OSError where nothing does in time."""
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)
        else:
            return


def peers(run: Processes, until: float) -> None:
    """Run as many peers of the script."""
    run.wait([run.start(f"peer-{number}", "python", "app/peer.py", str(number)) for number in range(run.peers)], until)


FRAMEWORKS: dict[str, Callable[[Processes, float], None]] = {"flower": flower, "p2pfl": peers, "hivemind": peers}


def main(framework: str, python: str, home: str, count: str, rounds: str) -> None:
    """Run one framework's peers to the end."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what runs is stopped then, too
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    run, begun = Processes(Path(home), Path(python), int(count), int(rounds)), time.monotonic()
    try:
        FRAMEWORKS[framework](run, begun + _MOST_SECONDS)
        sent = next(line for line in Path("/proc/net/dev").read_text().splitlines() if line.strip().startswith("lo:"))
    finally:
        run.stop()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(
        json.dumps(
            {
                "seconds": time.monotonic() - begun,
                "cpu": used.ru_utime + used.ru_stime,
                "bytes": int(sent.split(":")[1].split()[8]),
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
