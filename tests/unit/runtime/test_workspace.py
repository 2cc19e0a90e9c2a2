"""One process a peer: the lock, and the place that it guards."""

import fcntl
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TextIO

import numpy as np
import pytest
from builders import some_cid, tiny_learner, tiny_manifest

from learnae.adapters.local import lock as lock_module
from learnae.adapters.local.clock import SystemClock
from learnae.adapters.local.lock import Lock, holder
from learnae.errors import ManifestError, StateError
from learnae.models.reference.numpy_learner import NumpyLearner
from learnae.peer.peer import Options
from learnae.peer.state import PeerState
from learnae.ports import Gossip, Heard
from learnae.protocol.announcements import Announcement, Entry
from learnae.runtime.link_set import LinkSet
from learnae.runtime.linked_peer import LinkedPeer, build_peer
from learnae.runtime.workspace import Workspace
from learnae.swarm.directory import Swarm, create_swarm, open_swarm

HOLD = """
import sys, time
from pathlib import Path
from learnae.adapters.local.lock import Lock
lock = Lock(Path(sys.argv[1]))
print("locked", flush=True)
time.sleep(600)
"""


@pytest.fixture
def other(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock of ``tmp_path``."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / "lock")], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "locked\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_second_process_is_refused_with_the_number_of_the_first(tmp_path: Path, other: subprocess.Popen[str]) -> None:
    with pytest.raises(StateError, match=f"{tmp_path} is in use by process {other.pid}; stop that one"):
        Lock(tmp_path / "lock")
    assert holder(tmp_path / "lock") == other.pid


def test_a_killed_holder_holds_nothing(tmp_path: Path, other: subprocess.Popen[str]) -> None:
    other.kill()
    other.wait()
    assert holder(tmp_path / "lock") is None
    lock = Lock(tmp_path / "lock")
    assert holder(tmp_path / "lock") == os.getpid()
    lock.release()


def test_a_released_lock_is_held_by_nobody(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert holder(path) is None  # no file
    lock = Lock(path)
    assert holder(path) == os.getpid()
    lock.release()
    assert holder(path) is None
    assert path.read_text() == str(os.getpid())  # an old number in the file means nothing
    Lock(path).release()


def test_a_shorter_number_replaces_a_longer_one(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.write_text("9" * 15)
    lock = Lock(path)
    assert holder(path) == os.getpid()
    lock.release()


def test_a_holder_that_does_not_say_who_it_is_has_number_0(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    lock = Lock(path)
    os.truncate(path, 0)
    assert holder(path, timeout=0.05) == 0
    lock.release()


def test_the_number_of_a_dead_holder_is_never_that_of_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lock"
    path.write_text("99999999")  # killed
    found: list[int | None] = []
    asking = threading.Thread(target=lambda: found.append(holder(path)))

    def held_up(file: TextIO, kind: int) -> bool:
        done = real(file, kind)
        if done and kind == fcntl.LOCK_EX:  # it has the lock, and has not said so
            asking.start()
            asking.join(0.3)
        return done

    real = lock_module._try
    monkeypatch.setattr(lock_module, "_try", held_up)
    lock = Lock(path)
    asking.join()
    assert found == [os.getpid()]
    lock.release()


def test_whoever_is_stopped_while_asking_keeps_nobody_from_starting(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with path.open("w") as asking:
        fcntl.flock(asking, fcntl.LOCK_SH)
        done: list[Lock] = []
        starting = threading.Thread(target=lambda: done.append(Lock(path)))
        starting.start()
        starting.join(0.5)
        assert starting.is_alive()
    starting.join()
    assert holder(path) == os.getpid()
    done[0].release()


def test_being_asked_for_disturbs_nobody_who_starts(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.touch()
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            holder(path)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        for _ in range(200):
            Lock(path).release()
    finally:
        over.set()
        asking.join()


@pytest.fixture
def swarm(tmp_path: Path) -> Swarm:
    return create_swarm(tiny_manifest(), tmp_path / "swarm")


def peer_at(workspace: Workspace, own: NumpyLearner | None = None) -> LinkedPeer:
    return build_peer(workspace, own or tiny_learner(), Options("pump", "trainer", 8, seed=1))


def test_a_place_without_a_swarm_makes_nothing(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="no swarm at"):
        Workspace(open_swarm(tmp_path / "nothing"), tmp_path / "peer")
    assert not (tmp_path / "peer").exists()


def test_only_the_owner_looks_into_a_peers_directory_and_key(tmp_path: Path, swarm: Swarm) -> None:
    peer_at(Workspace(swarm, tmp_path / "peers" / "pump")).leave()
    assert (tmp_path / "peers" / "pump").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "peers" / "pump" / "key.pem").stat().st_mode & 0o077 == 0


def test_two_peers_cannot_be_in_one_place(tmp_path: Path, swarm: Swarm) -> None:
    workspace = Workspace(swarm, tmp_path / "pump")
    with pytest.raises(StateError, match=f"in use by process {os.getpid()}"):
        Workspace(swarm, tmp_path / "pump")
    Workspace(swarm, tmp_path / "fan").release()
    workspace.release()


def test_who_leaves_has_saved_said_so_and_made_room(tmp_path: Path, swarm: Swarm) -> None:
    own = tiny_learner()
    linked = peer_at(Workspace(swarm, tmp_path / "pump"), own)
    peer = linked.peer
    for _ in range(3):
        peer.tick()
    own.load(np.array([1.0, 2.0, 3.0]))  # learnt since the last update
    linked.leave()
    said = json.loads((tmp_path / "pump" / "status.json").read_text())
    saved = PeerState.from_bytes((tmp_path / "pump" / "state").read_bytes())
    assert said["steps"] == saved.steps == peer.steps == 12
    assert saved.weights.tolist() == [1, 2, 3]
    again = Workspace(swarm, tmp_path / "pump")
    assert peer_at(again).peer.author == peer.author


class Radio(Gossip):
    """Hears what it is told to."""

    def __init__(self) -> None:
        self.inbox: list[Heard] = []

    def announce(self, announcement: Announcement) -> None:
        """Reach nobody."""

    def heard(self) -> Iterable[Heard]:
        found, self.inbox = self.inbox, []
        return found


LEFT = Heard("fan", Announcement())
SPEAKS = Heard("fan", Announcement((Entry(b"8 bytes!", 7, some_cid(1), some_cid(1)),)))


class Home:
    """The machine of one peer with a radio, and its uptime, which goes on when it is told to."""

    def __init__(self, directory: Path, swarm: Swarm, monkeypatch: pytest.MonkeyPatch) -> None:
        self.directory, self.radio = directory, Radio()
        self._swarm, self._uptime = swarm, 3_600_000
        monkeypatch.setattr(SystemClock, "uptime", lambda _: self._uptime)

    def start(self) -> None:
        options, links = Options("pump", "trainer", 8, seed=1), LinkSet(gossips={"radio": self.radio})
        self.linked = build_peer(Workspace(self._swarm, self.directory), tiny_learner(), options, links)
        self.peer = self.linked.peer

    def listens(self, *heard: Heard, after: float = 0.0) -> bool:
        """Whether it is silent ``after`` so many seconds, having ``heard`` that before them."""
        self.radio.inbox += heard
        self.peer.tick()
        self._uptime += int(after * 1000)
        self.peer.tick()
        return self.peer.status()["listening"] is not None

    def stop(self, *lost: str) -> None:
        self.linked.leave()
        for name in lost:
            (self.directory / name).unlink()


@pytest.fixture
def home(tmp_path: Path, swarm: Swarm, monkeypatch: pytest.MonkeyPatch) -> Home:
    home = Home(tmp_path / "pump", swarm, monkeypatch)
    home.start()
    return home


def test_who_is_new_hears_other_machines_for_some_seconds_before_it_founds_the_swarm(home: Home) -> None:
    assert home.listens(LEFT, after=9), "a peer that has left is nobody"
    assert home.listens(LEFT, after=2.9)
    assert not home.listens(after=0.1)
    home.stop()
    home.start()
    assert not home.listens(), "it was away for a moment"
    home.stop("state", "key.pem")
    home.start()
    assert home.listens(), "a new key is a new peer"
    home.stop()


def test_who_is_back_without_a_state_hears_other_machines_before_it_speaks(home: Home) -> None:
    assert home.listens(after=9)
    assert not home.listens(after=3)
    said = home.peer.status()["seq"]
    home.stop("state")
    home.start()
    for _ in range(20):
        assert home.listens(LEFT, after=30), "however long it takes"
    assert home.listens(SPEAKS, after=19.9)
    assert not home.listens(after=0.1)
    assert home.peer.status()["seq"] == said + 1
    home.stop()
