"""Three typed lines on two machines, to an update of the second one that rests on the first one's."""

import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from typing import Any

from bench.harness import AT_MOST, Race
from bench.rigs.processes import rig, wait_until
from demo.people import write_private_file

_MOST_SECONDS = 20.0
_TIMEOUT_SECONDS = 180.0
_LOOK_SECONDS = 0.2
USER, _PASSWORD = "fleet", "a password"
_HERE = nullcontext()
_CREATE = "swarm create --preset wrist --data a.npz --start"


class Desk:
    """One machine, in ``within``, and who types there."""

    def __init__(self, root: Path, person: int, within: AbstractContextManager[Any] = _HERE) -> None:
        root.mkdir()
        self._programs, self._within = rig("programs").Programs(root), within
        write_private_file(person, root / "a.npz")

    def type(self, line: str, *more: object) -> str:
        """Run one line to its end; raises RuntimeError if it fails."""
        with self._within:
            done = self._programs.run_process("learnae", *line.split(), *more)
        if done.returncode:
            raise RuntimeError(f"learnae {line}: {done.stderr}")
        return str(done.stdout)

    def begin(self, line: str) -> Any:
        """Start one line, and return its process."""
        with self._within:
            return self._programs.start("learnae", *line.split())

    def has_merged(self) -> bool:
        """Return True if an update of this machine's peer rests on another's."""
        peer = self._programs.status("trainer").get("peer")
        said = self._programs.answer("learnae", "log", "-n", "100") if peer else ()  # in this process: it costs less
        return any(each["author"] == peer and each["body"].get("merged") for each in said)

    def stop(self) -> None:
        """End its peer."""
        with self._within:
            self._programs.run_process("trainer_node", "stop")
        self._programs.__exit__()


def run(race: Race) -> None:
    """Type them at a broker with a password, and in a network with neither broker nor daemon."""
    for where, typed in (("at a broker with a password", over_broker), ("in one network, by words", over_network)):
        with race.step(f"three lines {where}"), tempfile.TemporaryDirectory() as name:
            try:
                seconds = typed(Path(name))
            except LookupError as why:
                race.note(f"three lines {where}: {why}")
                continue
        race.check(f"three lines {where}: to a merged update", seconds, _MOST_SECONDS, AT_MOST, "s", "engine NumPy")


def over_broker(root: Path) -> float:
    """Return the seconds that it takes with a broker; raises LookupError without Mosquitto."""
    mosquitto = rig("mosquitto").Mosquitto
    if not Path(rig("mosquitto").program()).exists():
        raise LookupError("no Mosquitto here")
    passwords, secret = root / "passwords", root / "secret"
    subprocess.run(["mosquitto_passwd", "-b", "-c", passwords, USER, _PASSWORD], check=True)
    passwords.chmod(0o700)
    secret.write_text(f"{_PASSWORD}\n")
    with ExitStack() as stack:
        extra = f"allow_anonymous false\npassword_file {passwords}"
        broker = stack.enter_context(mosquitto(root / "broker", extra=extra))
        ann, bob = (_desk(stack, root, name, person) for person, name in enumerate(("ann", "bob"), 1))
        begun = time.monotonic()
        ann.type(f"{_CREATE} --broker mqtt://127.0.0.1:{broker.port} --user {USER} --password-file", secret)
        code = json.loads(ann.type("invite --with-password --json"))["code"]
        bob.type(f"join {code} --data a.npz --start")
        wait_until(bob.has_merged, _TIMEOUT_SECONDS, "the second machine to merge", _LOOK_SECONDS)
        return time.monotonic() - begun


def over_network(root: Path) -> float:
    """Return the seconds that it takes without a broker; raises LookupError if no networks can be made here."""
    if os.geteuid() or sys.platform != "linux":
        raise LookupError("only root makes networks")
    with ExitStack() as stack:
        network = stack.enter_context(rig("networks").Network())
        ann, bob = (
            _desk(stack, root, name, person, network.machine(0)) for person, name in enumerate(("ann", "bob"), 1)
        )
        begun = time.monotonic()
        ann.type(f"{_CREATE} --lan")
        words = ann.begin("invite --spoken").line().strip()
        bob.type(f"join {words} --data a.npz --start")
        wait_until(bob.has_merged, _TIMEOUT_SECONDS, "the second machine to merge", _LOOK_SECONDS)
        return time.monotonic() - begun


def _desk(stack: ExitStack, root: Path, name: str, person: int, within: AbstractContextManager[Any] = _HERE) -> Desk:
    desk = Desk(root / name, person, within)
    stack.callback(desk.stop)
    return desk
