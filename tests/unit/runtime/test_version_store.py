"""Versions on a peer's disk: which are kept, what a kill leaves, and going back to one."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from builders import tiny_dataset, tiny_learner, tiny_manifest

from learnae.errors import ConfigurationError, InUseError, StateError
from learnae.peer.learning.personal import Choice, personal_of
from learnae.peer.learning.versions import BEST, PERSONAL, VersionPolicy
from learnae.peer.peer import Options
from learnae.peer.state import PeerState
from learnae.protocol.bodies import Metrics
from learnae.runtime.linked_peer import LinkedPeer, build_peer
from learnae.runtime.version_store import VersionKeeper, read_version, roll_back, version_names
from learnae.runtime.workspace import Workspace
from learnae.swarm.directory import Swarm, create_swarm, open_swarm


class Desk:
    """A peer at work, and a keeper on the test's clock."""

    def __init__(self, tmp_path: Path) -> None:
        self.swarm: Swarm = create_swarm(tiny_manifest(), tmp_path / "swarm")
        self.directory = tmp_path / "pump"
        self.now = 0.0
        self.linked = self.start()

    def start(self) -> LinkedPeer:
        self.linked = build_peer(
            Workspace(self.swarm, self.directory), tiny_learner(), Options("pump", "trainer", 8, seed=1)
        )
        self.keeper = VersionKeeper(
            self.directory,
            self.linked.peer,
            VersionPolicy(last=3, spacing=600_000, best_spacing=10_000),
            monotonic=lambda: self.now,
        )
        return self.linked

    def update(self, seconds: float, accuracy: float, loss: float = 1.0) -> None:
        """Learn for some ``seconds`` and publish what does so well on the held-out rows."""
        self.now += seconds
        self.linked.peer.tick()
        self.linked.peer.training.metrics = Metrics(loss, accuracy, 10)
        self.keeper.offer()

    def accuracy(self, name: str) -> float | None:
        metrics = read_version(self.directory, name).metrics
        assert metrics is not None
        return metrics.accuracy


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_the_best_one_is_kept_and_replaced_by_a_better_one_alone(desk: Desk) -> None:
    desk.update(11, 0.5)
    desk.update(11, 0.7)
    best = desk.linked.peer.estimate().tobytes()
    desk.update(11, 0.6)
    assert desk.accuracy(BEST) == 0.7
    assert read_version(desk.directory, BEST).vector.tobytes() == best
    desk.update(11, 0.8)
    assert desk.accuracy(BEST) == 0.8


def test_the_best_one_is_not_written_at_every_update(desk: Desk) -> None:
    for number in range(9):
        desk.update(1, 0.5 + number / 100)
    assert desk.accuracy(BEST) == 0.5
    desk.update(2, 0.59)
    assert desk.accuracy(BEST) == 0.59


def test_the_last_ones_are_kept_each_some_minutes_and_are_bounded(desk: Desk) -> None:
    for number in range(12):
        desk.update(301, number / 100)
    assert version_names(desk.directory) == [BEST, "v6", "v5", "v4"]
    assert sorted(os.listdir(desk.directory / "versions")) == ["best", "v4", "v5", "v6"]
    assert [desk.accuracy(name) for name in ("v4", "v5", "v6")] == [0.07, 0.09, 0.11]


def test_a_stop_keeps_the_newest_once(desk: Desk) -> None:
    desk.update(1, 0.5)
    desk.keeper.keep_last()
    desk.keeper.keep_last()
    assert version_names(desk.directory) == [BEST, "v1"]


def test_a_start_goes_on_with_what_is_kept(desk: Desk) -> None:
    desk.update(11, 0.9)
    desk.linked.leave()
    desk.start()
    desk.update(11, 0.8)
    assert desk.accuracy(BEST) == 0.9


def test_a_full_disk_is_counted_and_survived(desk: Desk) -> None:
    (desk.directory / "versions").write_text("no directory")
    desk.update(11, 0.5)
    assert desk.linked.peer.errors.counts == {"NotWrittenError": 1}


def test_a_damaged_best_one_is_replaced(desk: Desk) -> None:
    desk.update(11, 0.9)
    (desk.directory / "versions" / BEST).write_bytes(b"\0" * 999)
    with pytest.raises(StateError, match="best: a version is damaged"):
        read_version(desk.directory, BEST)
    desk.linked.leave()
    desk.start()
    desk.update(11, 0.3)
    assert desk.accuracy(BEST) == 0.3


@pytest.mark.parametrize("name", ["", "v7", "../state", "best/../../state", "state"])
def test_a_version_that_is_none_is_refused(desk: Desk, name: str) -> None:
    with pytest.raises(ConfigurationError, match="version"):
        read_version(desk.directory, name)


# -- going back


def test_a_peer_goes_on_from_a_version_and_publishes_a_checkpoint(desk: Desk) -> None:
    desk.update(601, 0.5)
    kept = read_version(desk.directory, "v1").vector
    for _ in range(5):
        desk.update(1, 0.4)
    assert desk.linked.peer.estimate().tobytes() != kept.tobytes()
    desk.linked.leave()
    roll_back(desk.directory, "v1")
    state = PeerState.read(desk.directory / "state")
    assert state.weights.tobytes() == state.estimate.tobytes() == kept.tobytes()

    peer = desk.start().peer
    assert peer.training.learner.weights().tobytes() == kept.tobytes()
    assert all(not array.any() for name, array in peer.training.learner.state().items())
    seq = peer.own.last.seq if peer.own.last else 0
    peer.tick()
    assert peer.own.last is not None
    assert (peer.own.last.seq, peer.own.last.checkpoint) == (seq + 1, True)


def test_a_running_peer_is_not_touched(desk: Desk) -> None:
    desk.update(601, 0.5)
    with pytest.raises(InUseError, match="in use by process"):
        roll_back(desk.directory, "v1")


def test_a_version_of_another_swarm_is_refused(desk: Desk, tmp_path: Path) -> None:
    desk.update(601, 0.5)
    desk.linked.leave()
    (tmp_path / "other").mkdir()
    other = Desk(tmp_path / "other")
    other.swarm = open_swarm(create_swarm(tiny_manifest(name="other"), tmp_path / "third").directory)
    other.linked.leave()
    other.directory = tmp_path / "fan"
    other.start()
    other.update(601, 0.5)
    other.linked.leave()
    os.replace(other.directory / "versions" / "v1", desk.directory / "versions" / "v1")
    with pytest.raises(ConfigurationError, match="of another swarm"):
        roll_back(desk.directory, "v1")


def test_a_peer_that_is_none_is_refused_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no peer at"):
        roll_back(tmp_path / "nothing", "v1")
    assert not (tmp_path / "nothing").exists()


def test_the_personal_model_is_kept_once_a_choice_and_goes_to_no_other_peer(desk: Desk) -> None:
    desk.linked.leave()
    personal = personal_of(tiny_manifest(), tiny_dataset(tiny_manifest(), rows=200), desk.linked.peer.ports.store, True)
    assert personal is not None
    desk.linked = build_peer(
        Workspace(desk.swarm, desk.directory), tiny_learner(), Options("pump", "trainer", 8, seed=1, personal=personal)
    )
    desk.keeper = VersionKeeper(desk.directory, desk.linked.peer, monotonic=lambda: desk.now)
    personal.choice = Choice("tuned", np.full(3, 7, np.float32), 0.9, 0.8, 50)
    desk.update(1, 0.5)
    assert read_version(desk.directory, PERSONAL).vector.tolist() == [7, 7, 7]
    (desk.directory / "versions" / PERSONAL).unlink()
    desk.update(1, 0.5)
    assert not (desk.directory / "versions" / PERSONAL).exists(), "a choice that has not changed is not written anew"
    assert PERSONAL not in version_names(desk.directory)
    desk.linked.leave()
    with pytest.raises(ConfigurationError, match="goes to no other peer"):
        roll_back(desk.directory, PERSONAL)


# -- kill -9

KEEPING = """
    import sys
    from pathlib import Path
    from test_version_store import Desk

    desk = Desk(Path(sys.argv[1]))
    print("ready", flush=True)
    for number in range(10**6):
        desk.update(601, number / 10**6)
"""


def test_a_kill_leaves_whole_versions(tmp_path: Path) -> None:
    rigs, here = Path(__file__).parents[2] / "rigs", Path(__file__).parent
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(rigs), str(here), str(here.parents[2])])}
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(KEEPING), str(tmp_path)],
        stdout=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    directory = tmp_path / "pump"
    while "v20" not in version_names(directory) and process.poll() is None:
        os.sched_yield()
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    names = version_names(directory)
    assert names[0] == BEST
    assert 4 <= len(names) <= 8  # the last three, older ones, and one that may not be deleted yet
    for name in names:
        assert np.isfinite(read_version(directory, name).vector).all()
