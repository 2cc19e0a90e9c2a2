"""Who is left out on this machine, and what is gone back from: bans on disk, one peer, and its versions."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from builders import COUNT, Author, identity
from machine import Machine, frame_of, update_of
from noisy import Private

from learnae.adapters.local.bans import MOST_BANS, Ban, Bans
from learnae.errors import NotWrittenError
from learnae.peer.learning.merging import BACK_MS
from learnae.peer.learning.versions import VersionPolicy
from learnae.peer.state import PeerState
from learnae.protocol.identity import peer_name
from learnae.runtime.unmerging import EXCUSE_MS, MOST_UNASKED, Unmerging
from learnae.runtime.version_store import VersionKeeper

ONE, TWO = identity(1).author, identity(2).author


# -- on disk


def test_bans_outlast_a_process_and_are_seen_by_others_at_once(tmp_path: Path) -> None:
    bans, others = Bans(tmp_path), Bans(tmp_path)
    assert bans.read() == {}
    bans.put(ONE, Ban(1, "a liar"))
    bans.put(TWO, Ban(2, "another\n" + "x" * 500, unmerge=True))
    assert others.read()[ONE] == Ban(1, "a liar")
    assert (others.read()[TWO].unmerge, others.read()[TWO].why[:12]) == (True, "another?xxxx")
    bans.put(ONE, Ban(1, "said better"))
    assert others.read()[ONE].why == "said better"
    bans.lift(ONE)
    bans.lift(ONE)
    assert others.read().keys() == {TWO} == Bans(tmp_path).read().keys()


def test_a_ban_that_cannot_be_read_bans_and_what_is_none_does_not(tmp_path: Path) -> None:
    bans = Bans(tmp_path)
    bans.put(ONE, Ban(1, "a liar"))
    directory = tmp_path / "bans"
    (directory / peer_name(ONE)).write_bytes(b"\xff" * 9000)
    (directory / "README").write_text("mine")
    (directory / ".tmp-7").write_bytes(b"")
    os.mkfifo(directory / peer_name(TWO))
    found = bans.read()
    assert found.keys() == {ONE, TWO}
    assert all("cannot be read" in ban.why and not ban.unmerge for ban in found.values())


def test_so_many_bans_are_read_and_no_more(tmp_path: Path) -> None:
    (tmp_path / "bans").mkdir()
    for number in range(MOST_BANS + 5):
        (tmp_path / "bans" / peer_name(number.to_bytes(32, "big"))).touch()
    assert len(Bans(tmp_path).read()) == MOST_BANS


# -- a peer


class Desk:
    """A peer that has kept a version, and has merged what one other has published since."""

    def __init__(self, directory: Path, machine: Machine | None = None) -> None:
        self.machine = machine or Machine()
        self.directory, self.bans = directory, Bans(directory)
        self.keeper = VersionKeeper(directory, self.peer, VersionPolicy(spacing=1), lambda: self.machine.clock.time)
        self.unmerging = Unmerging(self.peer, self.bans, self.keeper)
        self.other = self.machine.other()
        self.machine.tick(8)
        self.keeper.offer()
        self.publish(5.0)
        self.machine.tick(8)
        assert self.peer.merging.held == {self.other.author}

    @property
    def peer(self):  # type: ignore[no-untyped-def]
        return self.machine.peer

    def publish(self, value: float, author: Author | None = None) -> None:
        frame = frame_of(*[value] * COUNT)
        message = update_of(author or self.other, frame, time=self.machine.clock.time)
        self.machine.receive(message, blocks=[frame])

    def tick(self, times: int = 1) -> None:
        for _ in range(times):
            self.unmerging.act()
            self.machine.tick()

    def ask(self, unmerge: bool = True) -> None:
        self.bans.put(self.other.author, Ban(1, "by hand", unmerge))


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_who_is_banned_by_hand_is_passed_on_and_not_merged_until_it_is_let_in_again(desk: Desk) -> None:
    desk.ask(unmerge=False)
    desk.tick(2)
    assert not desk.peer.following.replicas
    assert desk.peer.merging.held, "what it taught stays"
    desk.publish(6.0)
    desk.tick(2)
    newest = desk.peer.tangle.newest_of(desk.other.author)
    assert newest == desk.machine.said(desk.other.author)[-1].cid
    assert any(entry.head == newest for _, entry in desk.peer.tangle.entries())
    desk.bans.lift(desk.other.author)
    desk.tick(3)
    assert desk.other.author in desk.peer.following.replicas


def test_going_back_is_to_the_last_version_before_it_with_a_fresh_optimiser_and_all_steps_counted(desk: Desk) -> None:
    name, version = desk.keeper.last_without({desk.other.author}) or ("", None)
    assert version is not None
    steps = desk.peer.steps
    desk.ask()
    desk.unmerging.act()
    peer = desk.peer
    for vector in (peer.estimate(), desk.machine.learner.weights(), peer.frames.own_vote.vector):
        assert np.array_equal(vector, version.vector)
    assert not any(np.any(array) for array in desk.machine.learner.state().values())
    assert (peer.steps, peer.merging.held, peer.unmerged["version"]) == (steps, frozenset(), name)
    saved = PeerState.from_bytes(desk.machine.state.load() or b"")
    assert np.array_equal(saved.weights, version.vector), "also if it is killed now"
    assert (saved.held, saved.update) == (frozenset(), None)
    desk.tick(2)
    assert desk.machine.said()[-1].checkpoint or desk.machine.said()[-2].checkpoint


def test_what_others_published_before_is_not_merged_until_they_have_gone_back_or_time_is_up(desk: Desk) -> None:
    third = desk.machine.other(2)
    desk.publish(4.0, third)
    desk.tick(2)
    desk.ask()
    desk.tick(10)
    assert desk.peer.merging.held == frozenset(), "it holds what was gone back from"
    desk.publish(4.5, third)
    desk.tick(2)
    assert desk.peer.merging.held == {third.author}

    desk.peer.go_back(desk.peer.estimate(), frozenset())
    desk.machine.clock.time += BACK_MS
    desk.tick(2)
    assert desk.peer.merging.held == {third.author}


def test_where_no_version_is_old_enough_it_says_so_and_goes_on_without(tmp_path: Path, caplog) -> None:
    desk = Desk(tmp_path)
    for path in (tmp_path / "versions").iterdir():
        path.unlink()
    desk.ask()
    desk.tick(5)
    assert desk.peer.unmerged["version"] is None
    assert desk.peer.merging.held == {desk.other.author}
    assert not desk.peer.following.replicas
    assert caplog.text.count("no version is old enough") == 1


def test_a_full_disk_lets_it_go_back_later(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: bytes | memoryview) -> None:
        raise NotWrittenError("no space left")

    save = desk.machine.state.save
    monkeypatch.setattr(desk.machine.state, "save", full)
    desk.ask()
    with pytest.raises(NotWrittenError):
        desk.unmerging.act()
    monkeypatch.setattr(desk.machine.state, "save", save)
    desk.tick(2)
    assert PeerState.from_bytes(desk.machine.state.load() or b"").held == frozenset()


def sign_garbage(desk: Desk) -> None:
    desk.publish(float("nan"))
    desk.machine.tick(2)


def fork(desk: Desk) -> None:
    seq = desk.other.last.seq + 1  # type: ignore[union-attr]
    desk.machine.receive(*desk.other.fork(seq))
    desk.machine.receive(*desk.other.fork(seq))
    desk.machine.tick(2)
    assert desk.peer.tangle.is_banned(desk.other.author)


@pytest.mark.parametrize(("proof", "wait"), [(sign_garbage, 0), (fork, EXCUSE_MS)])
def test_a_proof_unmerges_by_itself(desk: Desk, proof: Callable[[Desk], None], wait: int) -> None:
    proof(desk)
    desk.tick()
    assert (desk.peer.merging.held == frozenset()) == (wait == 0)
    desk.machine.clock.time += wait
    desk.tick(2)
    assert desk.peer.merging.held == frozenset()


def test_who_was_restored_from_a_backup_and_says_so_is_not_unmerged(desk: Desk) -> None:
    fork(desk)
    desk.tick()
    last = desk.other.last
    assert last
    desk.machine.receive(desk.other.say(seq=last.seq + 9, checkpoint=True, forked=last.seq + 9))
    desk.tick()
    assert not desk.peer.tangle.is_banned(desk.other.author)
    desk.machine.clock.time += 2 * EXCUSE_MS
    desk.tick(2)
    assert desk.other.author in desk.peer.merging.held
    assert not desk.peer.unmerged


def test_a_ban_on_a_proof_outlasts_the_process_and_can_be_lifted(desk: Desk) -> None:
    sign_garbage(desk)
    desk.tick()
    assert desk.bans.read()[desk.other.author].why.startswith("message ")
    desk.bans.lift(desk.other.author)
    desk.publish(5.0)
    desk.tick(3)
    assert desk.bans.read() == {}
    assert desk.other.author in desk.peer.following.replicas


def test_who_has_keys_to_throw_away_cannot_hold_a_swarm_where_it_is(desk: Desk) -> None:
    unmerged = []
    for number in range(2, 2 + MOST_UNASKED + 2):
        desk.tick(3)
        desk.keeper.offer()
        desk.other = desk.machine.other(number)
        desk.publish(5.0)
        desk.tick(3)
        assert desk.other.author in desk.peer.merging.held
        sign_garbage(desk)
        desk.tick(2)
        unmerged.append(desk.other.author not in desk.peer.merging.held)
    assert unmerged == [True] * MOST_UNASKED + [False] * 2
    assert desk.other.author not in desk.peer.following.replicas
    desk.ask()
    desk.tick()
    assert desk.other.author not in desk.peer.merging.held, "people may, however often"


def test_bans_on_proofs_leave_room_for_those_by_hand(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("learnae.runtime.unmerging.MOST_PROOFS", 2)
    desk.bans.put(ONE, Ban(1, "by hand"))
    for number in range(4):
        desk.peer.following.offences[bytes([number]) * 32] = "garbage"
        desk.machine.clock.time += 1
        desk.unmerging.act()
    assert desk.bans.read().keys() == {ONE, bytes([2]) * 32, bytes([3]) * 32}


def test_a_private_peer_goes_back_and_what_was_paid_stays_paid(tmp_path: Path) -> None:
    desk = Desk(tmp_path, Private())
    machine = desk.machine
    assert isinstance(machine, Private)
    spent, steps = machine.noisy.spent(), desk.peer.steps
    desk.ask()
    desk.unmerging.act()
    assert (machine.noisy.spent(), desk.peer.steps, desk.peer.merging.held) == (spent, steps, frozenset())
    machine.boot()
    machine.heads_again()
    machine.tick(30)
    assert machine.peer.steps > steps
    assert machine.noisy.spent().releases == machine.peer.steps
