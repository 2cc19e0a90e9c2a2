"""A machine that is restored from an old backup, with a key that has said more since: real processes."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from messages_here import messages_in
from mosquitto import Mosquitto
from mqtt_rig import plain
from nightly import how_many
from programs import Child, Programs, wait_for

from learnae.swarm.manifest import Manifest
from learnae.swarm.presets import dense_config
from learnae.system.service import EXIT_CONFIGURATION

MANIFEST = Manifest("small", dense_config(2, (4,), 2, "softmax"), "sparse_categorical_crossentropy")
TESTS = str(Path(__file__).parents[2] / "rigs")


class Machine:
    """A home with one trainer, ``name``; all links are over the broker, if there is one."""

    def __init__(self, root: Path, name: str, broker: Mosquitto | None = None) -> None:
        root.mkdir()
        self.programs, self.name = Programs(root), name
        self.swarm = self.programs.add_swarm(MANIFEST)
        rng = np.random.default_rng(len(name))
        rows = rng.normal(size=(60, 2))
        np.savez(root / "data.npz", x=rows, y=(rows.sum(axis=1) > 0).astype(int))
        self.arguments = ("trainer_node", "start", "--name", name, "--data", root / "data.npz")
        # what is published is watched for a minute, and how well it is learnt does not matter
        self.environment = {"LEARNAE_TRAIN__SHARE": "0.05"}
        self.environment["PYTHONPATH"] = os.pathsep.join([TESTS, os.environ.get("PYTHONPATH", "")])
        if broker:
            self.environment["LEARNAE_MQTT__BROKER"] = plain(broker).broker

    @property
    def peer(self) -> Path:
        return self.programs.home / "peers" / self.name

    def start(self, *before: str, alone: bool = False) -> Child:
        """``before`` is a program that runs the trainer; ``alone`` it hears of no other."""
        module, *arguments = (*before, *self.arguments)
        links = {"LEARNAE_MQTT__BROKER": ""} if alone else {}
        # messages cost time, and a few a second are enough
        self.process = self.programs.start(
            str(module), *arguments, environment={**self.environment, **links}, pause=0.2
        )
        return self.process

    def use_numbers_again(self) -> None:
        """Say more, before it can hear from others that it has said more already."""
        process = self.start("away", "not", alone=True)
        self.wait_for_seq(self.status()["seq"])
        process.stop()

    def status(self) -> dict[str, Any]:
        assert self.process.poll() is None, self.process.log
        return self.programs.status(self.name)

    def wait_for_seq(self, more_than: int) -> None:
        wait_for(lambda: (self.status().get("seq") or 0) > more_than, f"{self.name} to say more than {more_than}", 60)

    def knows(self, other: Machine, seq: int) -> bool:
        peers = self.programs.answer("learnae", "peers")
        return any(each["name"] == other.name and each["seq"] >= seq and not each["banned"] for each in peers)

    def doctor(self) -> dict[str, dict[str, str]]:
        return {each["thing"]: each for each in json.loads(self.programs.run("learnae", "doctor", "--json").stdout)}


def lose_what_the_other_knows(one: Machine, other: Machine, backup: bool = False) -> int:
    """Restore the disk of ``one`` from an image, or its peer from a ``backup``.

    Returns the number of its last message that ``other`` has heard.
    """
    one.wait_for_seq(3)
    one.process.stop()
    image = one.programs.root / "image"
    shutil.rmtree(image, ignore_errors=True)
    shutil.copytree(one.programs.home, image)
    if backup:
        one.programs.answer("learnae", "backup", image / "backup.tar")
    process = one.start("away", "not")
    one.wait_for_seq(one.programs.status(one.name)["seq"] + 10)
    said: int = one.status()["seq"]
    wait_for(lambda: other.knows(one, said), "the other to hear it", 60)
    process.kill()  # at the very end of a process, not all that it says is heard
    process.wait()
    shutil.rmtree(one.programs.home)
    if backup:
        one.programs.answer("learnae", "restore", image / "backup.tar")
    else:
        shutil.copytree(image, one.programs.home)
    return said


@pytest.fixture
def machines(tmp_path: Path, broker: Mosquitto) -> Iterator[tuple[Machine, Machine]]:
    one, other = Machine(tmp_path / "one", "pump", broker), Machine(tmp_path / "other", "fan", broker)
    with one.programs, other.programs:
        yield one, other


def test_where_the_directory_holds_what_was_said_since_it_goes_on_at_once(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "one", "pump")
    with machine.programs:
        machine.start()
        machine.wait_for_seq(3)
        image = (machine.peer / "state").read_bytes()
        machine.wait_for_seq(machine.status()["seq"] + 10)
        machine.process.stop()
        said = machine.programs.status(machine.name)["seq"]
        (machine.peer / "state").write_bytes(image)
        machine.start("away", "long")
        machine.wait_for_seq(said + 3)
        assert machine.status()["problems"] == {}
        assert machine.knows(machine, said + 3)
        machine.process.stop()


@pytest.mark.slow
@pytest.mark.engine("mosquitto")
@pytest.mark.parametrize("backup", [True, False][: how_many(1, 2)])  # the test below restores images
def test_where_only_others_hold_it_it_listens_first(machines: tuple[Machine, Machine], backup: bool) -> None:
    one, other = machines
    other.start()
    one.start()
    said = lose_what_the_other_knows(one, other, backup)
    (one.peer / "status.json").unlink(missing_ok=True)

    process = one.start("away", "long")
    seen = wait_for(one.status, "its first words")
    assert seen["listening"]
    one.wait_for_seq(said + 3)

    assert one.status()["listening"] is None
    assert "hearing others before publishing" in process.log
    wait_for(lambda: other.knows(one, said + 3), "the other to hear it again", 60)
    assert other.status()["problems"] == {}


@pytest.mark.slow
@pytest.mark.engine("mosquitto")
def test_who_was_restored_too_soon_to_be_suspicious_is_excused_once(machines: tuple[Machine, Machine]) -> None:
    one, other = machines
    other.start("away", "long")
    one.start()
    said = lose_what_the_other_knows(one, other)
    one.use_numbers_again()

    one.start("away", "not")
    # a checkpoint soon takes the place of the message that says so
    wait_for(lambda: any(message.forked for message in messages_in(other.swarm)), "the other to hear of the fork", 60)
    one.wait_for_seq(said + 3)

    wait_for(lambda: other.knows(one, said + 3), "the other to excuse it", 60)
    assert "peer pump" not in one.doctor()

    lose_what_the_other_knows(one, other)
    one.use_numbers_again()
    process = one.start("away", "not")
    process.wait(60)

    assert process.returncode == EXIT_CONFIGURATION, process.log
    assert "banned for ever" in process.log
    assert "move key.pem and state out of its directory" in process.log
    done = one.programs.run("trainer_node", "status", "--name", one.name, "--json")
    assert json.loads(done.stdout)["banned"] is True
    found = one.doctor()["peer pump"]
    assert found["state"] == "broken"
    assert found["remedy"] in process.log

    (one.peer / "state").unlink()
    (one.peer / "key.pem").unlink()
    one.start()
    one.wait_for_seq(3)
    wait_for(lambda: other.knows(one, 3), "the other to know the new key", 60)
    assert "peer pump" not in one.doctor()


def test_two_processes_with_one_key_in_one_directory_end_as_one(tmp_path: Path) -> None:
    """One of them ends, and says why and what to do; the other may go on, as the only one."""
    machine = Machine(tmp_path / "one", "pump")
    with machine.programs:
        one = machine.start()
        machine.wait_for_seq(0)
        twin = machine.programs.home / "peers" / "twin"
        twin.mkdir(mode=0o700)
        shutil.copy(machine.peer / "key.pem", twin)
        arguments = ["twin" if word == machine.name else word for word in machine.arguments]
        other = machine.programs.start(*map(str, arguments), environment=machine.environment)
        ended = wait_for(lambda: [each for each in (one, other) if each.poll() is not None], "one of them to end")
        for process in ended:
            assert process.returncode == EXIT_CONFIGURATION, process.log
            assert "stop whatever else uses its key" in process.log
            assert "move key.pem and state out of its directory" in process.log
        states = {thing: found["state"] for thing, found in machine.doctor().items()}
        assert "broken" in (states.get("peer pump"), states.get("peer twin"))
