"""Eight real processes in a home of their own: six agents and two trainers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from demo.people import PEOPLE, write_private_file
from learnae.errors import StateError

TRAINERS = (7, 8)
REPLAY_SPEED = 40.0  # times real time: half an hour of exercise arrives within a minute
EVERY = 0.08  # seconds at least between two updates of a peer
SHARE = 0.1  # of a trainer's time that it trains: eight processes run on as few as two cores
DEMO_SETTINGS: Mapping[str, Mapping[str, str]] = {  # by role
    "agent": {"PUBLISH__EVERY": str(EVERY), "SOURCE__SPEED": str(REPLAY_SPEED)},
    # the same engine, and as fast to start, wherever it runs
    "trainer": {"PUBLISH__EVERY": str(EVERY), "TRAIN__SHARE": str(SHARE), "TRAIN__ENGINE": "numpy"},
}
_STOP_SECONDS = 20.0


@dataclass
class Swarm:
    """The swarm's directory and its running processes; ``settings`` by role stand above those that all have."""

    home: Path
    directory: Path
    trainers: Sequence[int] = TRAINERS
    settings: Mapping[str, Mapping[str, str]] = field(default_factory=lambda: DEMO_SETTINGS)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @classmethod
    def create(cls, home: Path, *more: str) -> Swarm:
        """Make a fresh swarm of the preset ``wrist`` through the command line, as a user would, with ``more`` flags."""
        made = answer_of(home, "swarm", "create", "--preset", "wrist", *more, "--json")
        return cls(home, Path(made["directory"]))

    def add(self, person: int) -> None:
        """Give one person's recordings to a new peer and start it."""
        self.start(*self.join(person, peer_of(person)))

    def join(self, person: int, name: str) -> tuple[str, str, Path]:
        """Give one person's recordings to a new peer; return what ``start`` is to be called with."""
        role = "trainer" if person in self.trainers else "agent"
        private = self.home / "private" / f"{name}.npz"
        private.parent.mkdir(exist_ok=True)
        write_private_file(person, private)
        config = self.home / f"{name}.toml"
        answer_of(
            self.home, "join", str(self.directory), "--role", role, "--name", name,
            "--data", str(private), "--config", str(config), "--json",
        )  # fmt: skip
        return name, role, config

    def start(self, name: str, role: str, config: Path) -> None:
        """Start (or start again) a peer that has joined."""
        verb = ["trainer_node", "start"] if role == "trainer" else ["agent", "run"]
        own = {f"LEARNAE_{key}": value for key, value in self.settings.get(role, {}).items()}
        environment = {**environment_of(self.home), **own}
        with (self.home / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", *verb, "--config", str(config)], env=environment, stdout=log, stderr=log
            )

    def check(self) -> None:
        """Raise StateError if a process has ended that should not have."""
        for name, process in self.processes.items():
            if process.poll() is not None:
                log = (self.home / f"{name}.log").read_text(errors="replace")
                raise StateError(f"{name} has ended with status {process.returncode}: {log[-500:]}")

    def stop(self) -> None:
        """Let all processes save and end; kill those that do not."""
        for process in self.processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def peer_of(person: int) -> str:
    """Return the name of a person's peer."""
    assert person in PEOPLE
    return f"person-{person}"


def environment_of(home: Path) -> dict[str, str]:
    """Return the environment of programs whose home this is."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LEARNAE_")}
    # one thread a process: eight peers share the cores, and a board has none to spare either
    return {**kept, "LEARNAE_HOME": str(home), "XDG_CONFIG_HOME": str(home / "config"), "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1"}  # fmt: skip


def answer_of(home: Path, *arguments: str) -> dict[str, str]:
    """Return what ``learnae`` answers to ``arguments`` in JSON; raises StateError where it fails."""
    command = [sys.executable, "-m", "learnae", *arguments]
    done = subprocess.run(command, env=environment_of(home), capture_output=True, text=True, check=False)
    if done.returncode:
        raise StateError(f"learnae {arguments[0]}: {done.stderr.strip()}")
    result: dict[str, str] = json.loads(done.stdout)
    return result
