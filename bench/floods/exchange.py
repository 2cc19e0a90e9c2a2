"""Floods through a real broker: what a stranger makes an honest agent process spend, and whether news still comes.

The agent is a whole process. True news is that of an honest author in this process, which announces a message every
second and answers for it, but pushes nothing: it must be asked. What the agent spends is more than in a quiet time.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.harness import AT_MOST, Race
from bench.mqtt import Member
from bench.rigs.processes import broker, cpu_seconds, memory_bytes, wait_until
from learnae.adapters.composite.block_service import BlockService
from learnae.adapters.local.block_store import LocalBlockStore
from learnae.adapters.mqtt.blocks.exchange import MqttExchange
from learnae.adapters.mqtt.connection import MqttConnection
from learnae.adapters.mqtt.frontier import Frontier
from learnae.adapters.mqtt.gossip import MqttGossip
from learnae.adapters.mqtt.subscriptions import Received
from learnae.adapters.mqtt.topics import Topics
from learnae.basics.error_log import ErrorLog
from learnae.config.sections import MqttSection
from learnae.ipld.cid import DAG_CBOR, Cid
from learnae.protocol.announcements import PREFIX_BYTES, Announcement, Entry
from learnae.protocol.identity import Identity, peer_name
from learnae.protocol.limits import Limits
from learnae.protocol.messages import compose
from learnae.swarm.manifest import Manifest
from learnae.swarm.presets import preset

_RATE = 500  # a second
_LIARS = 4
_MEGABYTE = 1 << 20
_CPU, _ROOM, _DELAY = 5.0, 16.0, 5.0  # % of a core, MiB of memory and disk together, seconds
_ATTACKS = (
    "heads", "one head", "garbage", "small garbage", "messages", "large messages", "wants", "invented wants", "claims",
)  # fmt: skip
_NAMES = {
    "heads": "announcements of 64 invented heads",
    "one head": "announcements of an invented head",
    "garbage": "announcements of 1 MiB of garbage, which is sent",
    "small garbage": "announcements of 60 kB of garbage, which are sent",
    "messages": "pushed messages whose parent no peer has",
    "large messages": "pushed messages of 60 kB whose parent no peer has",
    "wants": "wants of 64 true names",
    "invented wants": "wants of invented names",
    "claims": f"{_LIARS} who claim every answer and send none",
}


def run(race: Race) -> None:
    """Measure one attack after another against one agent."""
    quiet, seconds = (2.0, 3.0) if race.quick else (10.0, 15.0)
    with tempfile.TemporaryDirectory() as name, broker(Path(name) / "broker") as mosquitto:
        section = MqttSection(broker=f"mqtt://127.0.0.1:{mosquitto.port}")
        manifest = preset("wrist", time.time_ns() // 1_000_000)
        home = Path(name) / "home"
        with author_of_news(home, section, manifest) as author, victim(home, section, manifest, author) as agent:
            with race.step(f"nothing, for {quiet:.0f} s"):
                before = agent.spend(quiet)
            race.figure("the agent alone: processor", before.cpu, "% of a core")
            for kind in _ATTACKS[:1] if race.quick else _ATTACKS:
                with race.step(f"{_NAMES[kind]}, for {seconds:.0f} s"), strangers(kind, section, author.swarm, seconds):
                    author.delays.clear()
                    spent = agent.spend(seconds)
                    delay = author.worst()
                judge(race, kind, before, spent, delay)


def judge(race: Race, kind: str, before: Spent, spent: Spent, delay: float) -> None:
    """Hold what the agent spent against the bounds, a second of it."""
    what = _NAMES[kind] if kind == "claims" else f"{_RATE}/s {_NAMES[kind]}"
    share = MqttSection().bytes_per_second * spent.seconds * 1.1 + 32 * MqttSection().bytes_per_second
    race.check(f"{what}: processor", spent.cpu - before.cpu, _CPU, AT_MOST, "% of a core")
    race.check(f"{what}: memory and disk", spent.room, _ROOM, AT_MOST, "MiB")
    race.check(f"{what}: sent", spent.sent / _MEGABYTE, share / _MEGABYTE / 2, AT_MOST, "MiB", "half of the share")
    race.check(f"{what}: a true head is there after", delay, _DELAY, AT_MOST, "s")
    race.figure(f"{what}: questions of the agent", spent.wants / spent.seconds, "/s")
    race.figure(f"{what}: what the broker gave it", spent.heard / spent.seconds, "/s")


@dataclass(frozen=True, slots=True)
class Spent:
    """% of a core, MiB that memory and disk grew by, bytes sent as answers and questions, questions, messages heard."""

    seconds: float
    cpu: float
    room: float
    sent: int
    wants: int
    heard: int


class Agent(Member):
    """The agent that is attacked."""

    def begin(self, connection: MqttConnection, meeting: str) -> None:
        """Start it, and count what it says at the broker, and what others say."""
        self._sent = self._wants = self._heard = 0
        self._peer = ""
        for channel in ("want/#", "have/#", "block/+", "message/#", "heads/#"):
            connection.subscribe(f"learnae/1/{meeting}/+/{channel}", self._on_said)
        self.start()
        wait_until(self.status, 60, "the agent", 0.2)
        self._peer = str(self.status()["peer"])

    def _on_said(self, received: Received) -> None:
        _, _, _, peer, channel, *_ = received.topic.split("/")
        if peer != self._peer:
            self._heard += 1
        elif channel in ("want", "have", "block"):
            self._sent += len(received.payload)
            self._wants += channel == "want"

    def spend(self, seconds: float) -> Spent:
        """Return what it spends from now on."""
        assert self._process is not None
        pid = self._process.pid
        cpu, sent, wants, heard, room = cpu_seconds(pid), self._sent, self._wants, self._heard, self._room()
        begun, most = time.monotonic(), 0.0
        while time.monotonic() - begun < seconds:
            time.sleep(0.5)
            most = max(most, self._room() - room)
        passed = time.monotonic() - begun
        share = 100 * (cpu_seconds(pid) - cpu) / passed
        return Spent(passed, share, most / _MEGABYTE, self._sent - sent, self._wants - wants, self._heard - heard)

    def _room(self) -> float:
        assert self._process is not None
        disk = sum(path.stat().st_size for path in self.directory.parent.rglob("*") if path.is_file())
        return memory_bytes("status", "VmRSS", self._process.pid) + disk


@dataclass(eq=False)
class Author:
    """An honest author that announces, and is asked."""

    home: Path
    section: MqttSection
    swarm: Cid
    delays: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._identity = Identity.generate()
        self.connection, self.meter = MqttConnection(self.section), MqttConnection(self.section)
        topics, frontier = Topics("learnae/1", str(self.swarm), peer_name(self._identity.author)), Frontier()
        self._store = LocalBlockStore(self.home / "author")
        self._exchange = MqttExchange(
            self.connection, topics, self.swarm, BlockService(self._store), Limits(), frontier=frontier
        )
        self._gossip = MqttGossip(self.connection, topics, 0.0, ErrorLog(), frontier)
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._speak)
        self.connection.start()
        self.meter.start()

    def begin(self, agent: Agent) -> None:
        """Speak every second; the ``agent`` is to hear it."""
        self._heard_by = LocalBlockStore(agent.directory, read_only=True)
        self._thread.start()
        wait_until(lambda: self.delays, 60, "the agent to hear the first message")

    def worst(self) -> float:
        """Return how long the agent took for what it took longest for, in seconds."""
        return max(self.delays, default=float("inf"))

    def close(self) -> None:
        """Say no more."""
        self._ends.set()
        if self._thread.is_alive():
            self._thread.join()
        self._exchange.close()
        self.connection.close()
        self.meter.close()

    def _speak(self) -> None:
        seq, first = 0, None
        last: tuple[Cid, ...] = ()
        while not self._ends.wait(1.0):
            now = time.time_ns() // 1_000_000
            made = compose(self._identity, self.swarm, seq, last, now, {"kind": "note"})
            first = first or made.cid
            self._store.put(DAG_CBOR, made.data)
            entry = Entry(self._identity.author[:PREFIX_BYTES], seq, made.cid, first)
            self._gossip.announce(Announcement((entry,)))
            begun = time.monotonic()
            while not self._heard_by.held([made.cid]) and not self._ends.is_set():
                if time.monotonic() - begun > 60:
                    break
                time.sleep(0.05)
            if not self._ends.is_set() or time.monotonic() - begun > _DELAY:
                self.delays.append(time.monotonic() - begun)
            seq, last = seq + 1, (made.cid,)


@contextmanager
def author_of_news(home: Path, section: MqttSection, manifest: Manifest) -> Iterator[Author]:
    """Return an honest author."""
    home.mkdir()
    author = Author(home, section, manifest.swarm)
    try:
        yield author
    finally:
        author.close()


@contextmanager
def victim(home: Path, section: MqttSection, manifest: Manifest, author: Author) -> Iterator[Agent]:
    """Return an agent that runs, and hears ``author``."""
    agent = Agent(home / "agent", 1, manifest, section, every=30.0)
    agent.begin(author.meter, str(manifest.swarm))
    author.begin(agent)
    try:
        yield agent
    finally:
        agent.stop()


@contextmanager
def strangers(kind: str, section: MqttSection, swarm: Cid, seconds: float) -> Iterator[None]:
    """Let strangers flood meanwhile."""
    command = [sys.executable, "-m", "bench.floods.strangers", kind, section.broker, str(swarm), str(_RATE)]
    count = _LIARS if kind == "claims" else 1
    running = [subprocess.Popen([*command, str(seconds + 60)], stdin=subprocess.DEVNULL) for _ in range(count)]
    try:
        time.sleep(2.0)
        yield
    finally:
        for process in running:
            process.send_signal(signal.SIGTERM)
            process.wait()
