"""The broker's promise: a block crosses it about once for each who reads it, however many want it.

Real agents that share nothing but a real Mosquitto. What the broker sends and receives, all of MQTT included, is
its own count; the blocks are those in the agents' stores afterwards.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.harness import AT_MOST, Race
from bench.rigs.processes import broker, read_status, wait_until
from demo.people import write_private_file
from learnae.adapters.local.block_store import LocalBlockStore
from learnae.adapters.mqtt.connection import MqttConnection
from learnae.config.sections import MqttSection
from learnae.swarm.directory import create_swarm
from learnae.swarm.manifest import Manifest
from learnae.swarm.presets import preset

_BOUND = 1.3
_MEGABYTE = 1_000_000
_WARM_UP = 60.0  # seconds until all agents have joined, at the latest


def run(race: Race) -> None:
    """Measure one swarm: 8 agents, or 3 that hardly begin."""
    agents, seconds = (3, 3.0) if race.quick else (8, 60.0)
    with tempfile.TemporaryDirectory() as name, broker(Path(name) / "broker") as mosquitto:
        section = MqttSection(broker=f"mqtt://127.0.0.1:{mosquitto.port}")
        manifest = preset("wrist", time.time_ns() // 1_000_000)
        with race.step(f"{agents} agents exchange blocks for {seconds:.0f} s") as progress:
            members = [Member(Path(name) / str(index), index + 1, manifest, section) for index in range(agents)]
            meter = Meter(section)
            for member in members:
                member.start()
            wait_until(lambda: all(m.knows() >= agents - 1 for m in members), _WARM_UP, "all to know all", 0.2)
            time.sleep(seconds)
            progress("stopping")
            for member in members:
                member.stop()
            received, sent = meter.read()
        judge(race, members, received, sent)


def judge(race: Race, members: list[Member], received: int, sent: int) -> None:
    """Compare the bytes that crossed the broker to those that had to."""
    blocks: dict[str, int] = {}
    for member in members:
        blocks.update(member.blocks())
    readers = len(members) - 1
    due = sum(blocks.values()) * readers
    held = [len(member.blocks()) / len(blocks) for member in members]
    race.figure("new blocks", len(blocks))
    race.figure("mean size of a block", sum(blocks.values()) / len(blocks), "B")
    race.figure("share of all blocks that the poorest reader has", min(held))
    for what in ("pushed", "wanted", "answered"):
        race.figure(f"blocks {what}", sum(member.count(what) for member in members))
    race.figure("received by the broker", received / _MEGABYTE, "MB")
    race.figure("sent by the broker", sent / _MEGABYTE, "MB")
    race.figure("new block bytes x readers", due / _MEGABYTE, "MB")
    both = (sent + received) / due
    race.figure("received and sent, to new block bytes x readers", both, f"{(readers + 1) / readers:.3f} at best")
    note = (
        f"{len(members)} agents, one swarm; all that the broker sends counts: heads, wants, claims, topics, MQTT itself"
    )
    race.check("through the broker, to new block bytes x readers", sent / due, _BOUND, AT_MOST, "", note)


class Member:
    """An agent with a home of its own, and a copy of the swarm's manifest; ``every`` and ``hears`` 0 as by default."""

    def __init__(
        self,
        home: Path,
        person: int,
        manifest: Manifest,
        section: MqttSection,
        every: float = 1.0,
        hears: int = 0,
    ) -> None:
        self._home = home
        home.mkdir()
        self.directory = create_swarm(manifest, home / "swarm").directory
        write_private_file(person, home / "person.npz")
        self._config = home / "agent.toml"
        self._config.write_text(
            f'[swarm]\nid = "{self.directory}"\n[peer]\nname = "agent-{person}"\nstate = "{home / "peer"}"\n'
            f"hears = {hears}\n"
            f'[source]\nfile = "{home / "person.npz"}"\nspeed = 0\n[train]\nengine = "numpy"\n'
            f"[publish]\nevery = {every}\n[privacy]\nmerge_first = false\n"
            f'[mqtt]\nbroker = "{section.broker}"\nmonitor = "off"\n'
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the agent in the background."""
        command = [sys.executable, "-m", "agent", "run", "--config", str(self._config)]
        environment = {**os.environ, "LEARNAE_HOME": str(self._home), "OMP_NUM_THREADS": "1"}
        with (self._home / "log").open("wb") as log:
            self._process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stderr=log)

    def stop(self) -> None:
        """Stop the agent as systemd does."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(60)

    @property
    def pid(self) -> int:
        """Return the number of the running process."""
        assert self._process is not None
        return self._process.pid

    def blocks(self) -> dict[str, int]:
        """Return names and sizes of all blocks that the agent holds."""
        sizes = LocalBlockStore(self.directory, read_only=True).sizes()
        return {str(cid): size for cid, size in sizes.items()}

    def count(self, what: str) -> int:
        """Return how many blocks the agent has ``pushed``, ``wanted`` or ``answered``."""
        found = re.search(rf"(\d+) {what}", str(self.status().get("connections", {}).get("mqtt exchange", "")))
        return int(found[1]) if found else 0

    def knows(self) -> int:
        """Return how many other peers the agent has heard of."""
        return int(self.status().get("peers", 0))

    def status(self) -> dict[str, Any]:
        """Return the agent's newest status."""
        return read_status(self._home / "peer" / "status.json")


# -- the broker


class Meter:
    """Reads the broker's own counters, which it publishes every second."""

    def __init__(self, section: MqttSection) -> None:
        self._values: dict[str, int] = {}
        self._connection = MqttConnection(section)
        self._connection.subscribe("$SYS/broker/bytes/+", lambda r: self._values.update({r.topic: int(r.payload)}))
        self._connection.start()

    def read(self) -> tuple[int, int]:
        """Return the bytes that the broker has received and sent, after everything has been counted."""
        time.sleep(2.5)
        received, sent = (self._values[f"$SYS/broker/bytes/{what}"] for what in ("received", "sent"))
        self._connection.close()
        return received, sent
