"""Eight machines of one network on this one: a peer on each, a broker, two Kubo daemons, and what breaks them."""

from __future__ import annotations

import json
import mmap
import shutil
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.chaos import schedule
from bench.chaos.schedule import Fault
from bench.rigs.host_board import build
from bench.rigs.processes import read_status, rig, wait_until
from demo.people import PEOPLE, write_private_file
from demo.swarm import DEMO_SETTINGS, environment_of
from learnae.errors import StateError
from learnae.system.paths import STATUS_FILE

SHIFT = Path(__file__).with_name("clock_shift.c")
_READY_SECONDS = 180.0
_STOP_SECONDS = 30.0
_DISK = "64m"  # of a machine
_PORT = 8733
_KEEPERS = 2  # trainers, each with a daemon of its own
_SETTINGS = {"PUBLISH__EVERY": "0.5", "TRAIN__STOP_WHEN": "0", "LAN__SERVE": f"0.0.0.0:{_PORT}"}
# by role: eight share as few as two cores; recordings stand for a board's buffer, which a restart has at once
_OWN = {"agent": {"RESOURCES__CPU": "0.1", "SOURCE__SPEED": "0"}, "trainer": {}}
_HEAR = 3  # members that each calls


@dataclass(eq=False)
class Host:
    """One machine: its namespace, its disk, its clock, and the peer that runs there."""

    number: int
    machine: Any
    home: Path
    swarm: Path
    role: str
    config: Path
    environment: dict[str, str]
    shift: mmap.mmap | None
    process: subprocess.Popen[bytes] | None = None

    @property
    def name(self) -> str:
        """Return the peer's name."""
        return f"peer-{self.number}"

    @property
    def place(self) -> Path:
        """Return the peer's directory."""
        return self.home / "peers" / self.name

    def status(self) -> dict[str, Any]:
        """Return what the peer has said last; empty before it has."""
        return read_status(self.place / STATUS_FILE)

    def configure(self, **settings: str) -> None:
        """Set keys of its configuration, as SECTION__KEY, from its next start on."""
        self.environment |= {f"LEARNAE_{key}": value for key, value in settings.items()}

    def has_published(self) -> bool:
        """Whether it has said more than its name."""
        return (self.status().get("seq") or 0) >= 1

    def start(self) -> None:
        """Start the peer."""
        module = ["trainer_node", "start"] if self.role == "trainer" else ["agent", "run"]
        command = [sys.executable, "-m", *module, "--config", str(self.config)]
        with self.machine, (self.home.parent / f"{self.name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.home
            )

    def kill(self) -> None:
        """End the peer as a power cut does."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def set_clock(self, seconds: int) -> None:
        """Move its date by so much from the true one."""
        if self.shift is not None:
            self.shift[:8] = struct.pack("q", seconds)


@dataclass(eq=False)
class World:
    """All machines; ``begin`` and ``end`` make a fault and take it back. ``missing`` says what cannot be done here."""

    network: Any
    broker: Any
    centre: Any
    hosts: list[Host]
    daemons: list[tuple[Any, Any]]  # machine, Kubo
    missing: list[str]
    fillers: dict[int, Path] = field(default_factory=dict)

    def begin(self, fault: Fault) -> None:
        """Make it happen."""
        hit = self.hosts if fault.target < 0 else [self.hosts[fault.target]]
        match fault.kind:
            case schedule.KILL:
                hit[0].kill()
            case schedule.STOP:
                hit[0].process.send_signal(signal.SIGSTOP)  # type: ignore[union-attr]
            case schedule.PARTITION:
                self._plug(self.hosts[len(self.hosts) // 2 :], 1)
            case schedule.LOSS:
                for host in hit:
                    host.machine.nft("numgen random mod 100 < 20")
            case schedule.SLOW:
                for host in hit:
                    _tc(host, "add", "tbf", "rate", "1mbit", "burst", "16kb", "latency", "400ms")
            case schedule.BROKER:
                self.broker.kill()
            case schedule.KUBO:
                for _, daemon in self.daemons:
                    daemon.kill()
            case schedule.FULL:
                self.fillers[fault.target] = rig("disks").fill(hit[0].home)
            case schedule.CLOCK:
                hit[0].set_clock(int(fault.size))

    def end(self, fault: Fault) -> None:
        """Take it back; a peer that has ended meanwhile is started again, as its service would be."""
        hit = self.hosts if fault.target < 0 else [self.hosts[fault.target]]
        match fault.kind:
            case schedule.KILL:
                hit[0].start()
            case schedule.STOP:
                hit[0].process.send_signal(signal.SIGCONT)  # type: ignore[union-attr]
            case schedule.PARTITION:
                self._plug(self.hosts[len(self.hosts) // 2 :], 0)
            case schedule.LOSS:
                for host in hit:
                    host.machine.nft("")
            case schedule.SLOW:
                for host in hit:
                    _tc(host, "del")
            case schedule.BROKER:
                with self.centre:
                    self.broker.start()
            case schedule.KUBO:
                self.start_daemons()
            case schedule.FULL:
                self.fillers.pop(fault.target).unlink()
            case schedule.CLOCK:
                hit[0].set_clock(0)

    def can(self, kind: str) -> bool:
        """Whether this machine has what it takes."""
        return not (kind == schedule.KUBO and not self.daemons) and not (
            kind == schedule.CLOCK and self.hosts[0].shift is None
        )

    def start_daemons(self) -> None:
        """Start all Kubo daemons, and let them know each other."""
        for machine, daemon in self.daemons:
            with machine:
                daemon.start()

    def revive(self, away: set[int]) -> list[str]:
        """Start peers that have ended by themselves, but those in ``away``; return their names."""
        ended = [
            host
            for index, host in enumerate(self.hosts)
            if index not in away and host.process is not None and host.process.poll() is not None
        ]
        for host in ended:
            host.start()
        return [host.name for host in ended]

    def _plug(self, hosts: list[Host], bridge: int) -> None:
        for host in hosts:
            self.network._hub.ip("link", "set", f"{_port(host)}eth0", "master", f"br{bridge}")


def _port(host: Host) -> str:
    return host.machine.name.removeprefix(host.machine.name.rsplit("m", 1)[0])


def _tc(host: Host, verb: str, *rule: str) -> None:
    words = ("tc", "qdisc", verb, "dev", "eth0", "root", *rule)
    subprocess.run(host.machine.command(*words), check=True, capture_output=True)


@contextmanager
def world(directory: Path, people: int) -> Iterator[World]:
    """Make the machines, one a person, join all to one open swarm, and give it when each has published."""
    missing: list[str] = []
    shim = _build_shim(missing)
    with ExitStack() as stack:
        network = stack.enter_context(rig("networks").Network(2))
        centre = network.machine(0)
        (directory / "broker").mkdir()
        broker = rig("mosquitto").Mosquitto(directory / "broker", extra="listener 1883 10.77.0.1\nallow_anonymous true")
        with centre:
            broker.start()
        stack.callback(broker.kill)
        machines = [network.machine(0) for _ in range(people)]
        homes = [stack.enter_context(rig("disks").small_disk(directory / f"m{n}", _DISK)) for n in range(people)]
        made = _learnae(environment_of(directory), "swarm", "create", "--preset", "wrist", "--membership", "open")
        manifest, swarm = Path(made["directory"]) / "manifest.cbor", made["swarm"]
        names, hosts = [], []
        for number, (machine, home) in enumerate(zip(machines, homes, strict=True), 1):
            home.chmod(0o700)
            role = "trainer" if number > people - _KEEPERS else "agent"
            environment = environment_of(home)
            (home / "swarms" / swarm).mkdir(parents=True)
            shutil.copy(manifest, home / "swarms" / swarm)
            write_private_file(PEOPLE[(number - 1) % len(PEOPLE)], home / "private.npz")
            config = home / "peer.toml"
            with machine:
                joined = _learnae(
                environment, "join", swarm, "--role", role, "--name", f"peer-{number}",
                "--data", str(home / "private.npz"), "--config", str(config), "--broker", "mqtt://10.77.0.1:1883",
            )  # fmt: skip
            names.append(joined["peer"])
            shift = home.parent / f"shift-{number}"
            shift.write_bytes(bytes(8))
            if shim:
                environment |= {"LD_PRELOAD": str(shim), "CLOCK_SHIFT": str(shift)}
            with shift.open("r+b") as file:
                moved = mmap.mmap(file.fileno(), 8) if shim else None
            host = Host(number, machine, home, home / "swarms" / swarm, role, config, environment, moved)
            host.configure(**{**DEMO_SETTINGS[role], **_SETTINGS, **_OWN[role]})
            hosts.append(host)
        for host in hosts:
            others = [(host.number - 1 + step) % people for step in range(1, min(_HEAR, people - 1) + 1)]
            host.configure(
                LAN__PEERS=" ".join(f"https://10.77.0.{index + 2}:{_PORT}/{names[index]}" for index in others)
            )
        daemons = _daemons(directory, hosts[-_KEEPERS:], missing)
        made_world = World(network, broker, centre, hosts, daemons, missing)
        made_world.start_daemons()
        for _, daemon in daemons:
            stack.callback(daemon.kill)
        stack.callback(_stop, hosts)
        for host in hosts:
            host.start()
        for host in hosts:
            wait_until(host.has_published, _READY_SECONDS, f"{host.name} to publish")
        yield made_world


def _daemons(directory: Path, hosts: list[Host], missing: list[str]) -> list[tuple[Any, Any]]:
    kubo = rig("kubo")
    found = []
    for host in hosts:
        try:
            daemon = kubo.Kubo(directory / f"kubo-{host.number}")
        except FileNotFoundError:
            missing.append("Kubo is not installed: no peer uses it")
            return []
        host.configure(IPFS__API=daemon.api)
        found.append((host.machine, daemon))
    return found


def _build_shim(missing: list[str]) -> Path | None:
    try:
        return build("clock_shift.so", ["cc", "-shared", "-fPIC", "-O2", SHIFT, "-ldl"], [SHIFT])
    except FileNotFoundError:
        missing.append("no C compiler: no clock jumps")
        return None


def _stop(hosts: list[Host]) -> None:
    running = [host.process for host in hosts if host.process is not None and host.process.poll() is None]
    for process in running:
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGCONT)
    for process in running:
        with suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_SECONDS)
        if process.poll() is None:
            process.kill()
            process.wait()


def _learnae(environment: dict[str, str], *arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "learnae", *arguments, "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise StateError(f"learnae {arguments[0]}: {done.stderr.strip()}")
    said: dict[str, Any] = json.loads(done.stdout)
    return said
