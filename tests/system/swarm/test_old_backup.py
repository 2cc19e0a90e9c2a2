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
from mosquitto import Mosquitto
from mqtt_rig import plain
from programs import Child, Programs, wait_for

from learnae.adapters.local.block_store import LocalBlockStore
from learnae.adapters.local.gossip import LocalGossip
from learnae.ipld.cid import DAG_CBOR
from learnae.protocol.announcements import PREFIX_BYTES, Announcement, Entry
from learnae.protocol.identity import Identity
from learnae.protocol.messages import Message, compose
from learnae.runtime.observer import Observer
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
        self.environment = {"PYTHONPATH": os.pathsep.join([TESTS, os.environ.get("PYTHONPATH", "")])}
        if broker:
            self.environment["LEARNAE_MQTT__BROKER"] = plain(broker).broker

    @property
    def peer(self) -> Path:
        return self.programs.home / "peers" / self.name

    def start(self, *before: str) -> Child:
        """``before`` is a program that runs the trainer."""
        module, *arguments = (*before, *self.arguments)
        self.process = self.programs.start(str(module), *arguments, environment=self.environment)
        return self.process

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


def lose_what_the_other_knows(one: Machine, other: Machine) -> int:
    """Restore the disk of ``one`` from an image; returns the number of its last message that ``other`` has heard."""
    one.wait_for_seq(3)
    one.process.stop()
    image = one.programs.root / "image"
    shutil.copytree(one.programs.home, image)
    process = one.start("away", "not")
    one.wait_for_seq(one.programs.status(one.name)["seq"] + 10)
    said: int = one.status()["seq"]
    wait_for(lambda: other.knows(one, said), "the other to hear it", 60)
    process.kill()  # at the very end of a process, not all that it says is heard
    process.wait()
    shutil.rmtree(one.programs.home)
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
def test_where_only_others_hold_it_it_listens_first(machines: tuple[Machine, Machine]) -> None:
    one, other = machines
    other.start()
    one.start()
    said = lose_what_the_other_knows(one, other)
    (one.peer / "status.json").unlink()

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
def test_who_was_restored_too_soon_to_be_suspicious_is_excused(machines: tuple[Machine, Machine]) -> None:
    one, other = machines
    other.start()
    one.start()
    said = lose_what_the_other_knows(one, other)

    one.start("away", "not")
    one.wait_for_seq(said + 3)

    wait_for(lambda: other.knows(one, said + 3), "the other to hear it again", 60)
    assert one.status()["banned"] is False


def fork(machine: Machine) -> None:
    """Let another copy of the key say something else with the number of the newest message, once that is a delta."""
    directory = machine.swarm
    observer, key = Observer(directory), Identity.load(machine.peer / "key.pem")

    def newest_delta() -> Message | None:
        observer.refresh()
        newest = next(observer.messages(1))
        return None if newest.checkpoint else newest

    said: Message = wait_for(newest_delta, "a delta")
    body = {"kind": "note", "text": "another copy"}
    twin = compose(key, observer.swarm, said.seq, said.parents[:1], said.time + 1, body, forked=said.forked)
    store = LocalBlockStore(directory)
    store.put(DAG_CBOR, twin.data)
    store.close()
    observer.close()
    entry = Entry(key.author[:PREFIX_BYTES], twin.seq, twin.cid, None)
    LocalGossip(directory, "copy").announce(Announcement((entry,)))


def test_two_copies_of_one_key_are_told_what_has_happened(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "one", "pump")
    with machine.programs:
        process = machine.start()
        machine.wait_for_seq(3)
        fork(machine)
        machine.wait_for_seq(machine.status()["seq"] + 3)
        assert machine.status()["banned"] is False, "once it may be an old backup"
        fork(machine)
        process.wait(60)

        assert process.returncode == EXIT_CONFIGURATION, process.log
        assert "banned for ever" in process.log
        assert "move key.pem and state out of its directory" in process.log
        done = machine.programs.run("trainer_node", "status", "--name", machine.name, "--json")
        assert json.loads(done.stdout)["banned"] is True
        found = machine.doctor()["peer pump"]
        assert found["state"] == "broken"
        assert found["remedy"] in process.log

        (machine.peer / "state").unlink()
        (machine.peer / "key.pem").unlink()
        machine.start()
        wait_for(lambda: machine.status()["banned"] is False, "a new key")
        assert "peer pump" not in machine.doctor()
        machine.process.stop()
