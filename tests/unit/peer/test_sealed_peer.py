"""A peer in a sealed swarm, whose others and whose key epochs the test plays."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from builders import COUNT, NOW, Author, update_body
from machine import Board, Machine, frame_of, seqs
from sealed_swarm import Ring, SealedAuthor, name_of, sealed

from learnae.ipld.cid import RAW, Cid
from learnae.membership.sealing import Seals, open_sealed, seal
from learnae.ports import Trained
from learnae.protocol.bodies import Evidence, Join, Sealed, Summary, Update
from learnae.protocol.messages import Message
from learnae.weights.frames import FramePolicy

EXACT = FramePolicy("f32", "f32", 32)
PROFILE = {"name": "ann", "role": "agent", "software": "1"}


class SealedMachine(Machine):
    """A machine in a sealed swarm; ``secrets`` is its ring."""

    def __init__(self, *epochs: int, **options: Any) -> None:
        self.secrets: Ring = Ring(*(epochs or (1,)))
        super().__init__(manifest=sealed(), **options)

    def author(self, *epochs: int, number: int = 1) -> SealedAuthor:
        return SealedAuthor(number, self.manifest.swarm, Ring(*(epochs or (1,))))

    def read(self, ring: Ring | None = None) -> list[Message]:
        """The own messages, opened."""
        seals = Seals(is_sealed=True, secrets=ring or self.secrets)
        return [seals.opened(message, self.manifest.limits) for message in self.said()]

    def has(self, *messages: Message) -> list[bool]:
        return [message.cid in self.peer.tangle for message in messages]


class SealedBoard(SealedMachine, Board):
    """A board in a sealed swarm."""


def ticked(times: int = 4) -> SealedMachine:
    machine = SealedMachine()
    machine.tick(times)
    return machine


def published(author: SealedAuthor, values: Sequence[float], index: int = 1) -> tuple[Message, bytes]:
    """An update with a keyframe of these values, and its block, sealed as the one of that ``index``."""
    name, secret = author.seals.secrets.current()
    block = seal(secret, name, author.author, author.next_seq(), index, frame_of(*values))
    return author.say(body=update_body(), blocks=(Cid.of(RAW, block),), checkpoint=True), block


# -- what it says


def test_all_that_a_sealed_peer_says_is_sealed_and_opens_with_the_secret() -> None:
    machine = ticked()
    assert {type(message.body) for message in machine.said()} == {Sealed}
    assert [type(message.body) for message in machine.read()] == [Join, Update, Update, Update, Update]
    for message in machine.said():
        for index, cid in enumerate(message.blocks, 1):
            plain = open_sealed(machine.secrets, message.author, message.seq, index, machine.host.blocks[cid])
            assert len(plain) in (2 * COUNT, 4 + COUNT)
    assert machine.peer.status()["problems"] == {}


def test_equal_frames_are_equal_blocks_in_open_swarms_only() -> None:
    """A keyframe of the same weights again, as of a peer that has settled."""
    for machine, count in ((Machine(), 1), (SealedMachine(), 2)):
        machine.tick(2)
        publisher = machine.peer.publisher
        names = {machine.said()[-1].blocks for _ in range(2) if publisher.publish_update(8, whole=True)}
        assert len(names) == count


def test_a_peer_without_a_secret_hears_and_is_silent_until_it_is_let_in() -> None:
    machine = SealedMachine()
    machine.secrets.known.clear()
    other = machine.author()
    machine.receive(other.say())
    machine.tick(5)
    assert machine.said() == []
    machine.secrets.give(1)
    machine.tick()
    assert seqs(machine.said()) == [0, 1]
    assert machine.has(other.last) == [True]


def test_a_thousand_messages_of_one_state_have_a_thousand_salts() -> None:
    machine = ticked(2)
    own, body = machine.peer.own, {"kind": "join", "peer": PROFILE}
    said = [own.compose(body, checkpoint=True) for _ in range(1000)]
    frames = [own.put_frame([b"weights"], checkpoint=True)[0] for _ in range(1000)]
    assert {message.seq for message in said} == {3}
    assert len({message.cid for message in said}) == len(set(frames)) == 1000


# -- starting again


@pytest.mark.parametrize("kept", [True, False], ids=["the old secret is kept", "the old secret is gone"])
def test_it_goes_on_after_a_restart_with_a_new_key_epoch(kept: bool) -> None:
    machine = ticked(3)
    if not kept:
        machine.secrets.known.clear()
    machine.secrets.give(2)
    machine.boot()
    assert machine.peer.own.last is not None
    assert isinstance(machine.peer.own.last.body, Update)
    machine.tick(3)
    said = machine.read(Ring(1, 2))
    assert seqs(said) == list(range(7))
    assert [message.epoch for message in said[-3:]] == [name_of(2)] * 3
    assert said[4].parents[0] == said[3].cid


def test_the_first_update_of_a_key_epoch_stands_alone_and_no_other() -> None:
    """A newcomer has no secret of those before."""
    open_one, machine = Machine(), ticked(3)
    open_one.tick(7)
    machine.secrets.give(2)
    machine.tick(2)
    machine.boot()
    machine.tick(2)
    assert [message.checkpoint for message in open_one.said()] == [True, True, False, True, False, True, False, True]
    said = machine.read()
    assert [message.epoch for message in said] == [name_of(1)] * 4 + [name_of(2)] * 4
    assert [message.checkpoint for message in said] == [True, True, False, True, True, False, True, False]


@pytest.mark.parametrize("is_board", [True, False])
def test_who_has_nothing_new_to_say_says_it_again_in_a_new_key_epoch(is_board: bool) -> None:
    machine = SealedBoard() if is_board else SealedMachine()
    if is_board:
        machine.collect(1000)
    machine.tick(3)
    machine.learner.train = lambda _: Trained(0, 24, 0.0)
    machine.tick(20)
    before = machine.read()[-1]
    machine.secrets.give(2)
    machine.tick(20)
    last = machine.read()[-1]
    assert (last.seq, last.epoch, last.checkpoint) == (before.seq + 1, name_of(2), True)
    assert type(last.body) is type(before.body)
    if is_board:
        assert last.body.release == before.body.release


@pytest.mark.parametrize("epoch", [1, 2], ids=["that it knows", "that it knows not"])
def test_no_seq_is_used_twice_by_a_peer_that_has_lost_its_state(epoch: int) -> None:
    """Its own messages are on the disk, under a key epoch that may be forgotten."""
    machine = ticked()
    before = machine.said()
    machine.state.__init__()
    machine.secrets = Ring(epoch)
    machine.is_back = True
    machine.boot()
    machine.heads_again()
    for _ in range(90):
        machine.tick()
        new = [message for message in machine.said() if message not in before]
        if new:
            break
    assert seqs(new) == [len(before)]
    assert new[0].checkpoint or epoch == 1
    assert machine.problems().get("UnknownEpochError", 0) == (0 if epoch == 1 else 5)


def test_a_release_outlasts_its_key_epoch() -> None:
    board = SealedBoard()
    board.collect(1000)
    board.wait()
    board.tick(2)
    board.secrets.known.clear()
    board.secrets.give(2)
    board.boot()
    board.collect(2000)
    board.clock.time += board.manifest.limits.horizon
    board.tick(3)
    found = [message for message in board.read(Ring(1, 2)) if isinstance(message.body, Summary)]
    assert len({message.epoch for message in found}) == 2, "newcomers can read it"
    assert len({message.body.sums for message in found}) == 1


# -- what it hears


def test_a_message_that_comes_before_its_secret_is_attached_once_that_is_here() -> None:
    machine = ticked()
    author = machine.author(1)
    first = author.say(checkpoint=True)
    author.seals.secrets.give(2)
    later = [author.say(), author.say()]
    machine.receive(first, *later)
    for _ in range(10):
        machine.receive(later[-1])
        machine.tick()
    assert machine.has(first, *later) == [True, False, False]
    assert machine.problems() == {"UnknownEpochError": 2}, "each is looked at once"
    assert machine.peer.replication.unread() == 2
    machine.secrets.give(2)
    machine.tick()
    assert machine.has(first, *later) == [True, True, True]
    assert machine.peer.replication.unread() == 0


def test_what_waits_for_its_secret_is_asked_for_again_when_it_was_swept_away() -> None:
    machine = ticked()
    message = machine.author(2).say()
    machine.receive(message)
    machine.tick()
    del machine.host.blocks[message.cid]
    machine.tick(3)
    machine.secrets.give(2)
    other = machine.network.host()
    other.blocks[message.cid] = message.data
    machine.receive(machine.author(1, number=2).say())
    for _ in range(5):
        machine.tick()
        machine.network.run_until(machine.clock.time)
    assert machine.has(message) == [True]


def test_a_body_that_does_not_open_under_a_known_epoch_is_refused_and_what_stands_on_it() -> None:
    machine = ticked()
    author = machine.author()
    good = author.say(checkpoint=True)
    body = bytearray(author.seals.body(author.author, 1, {"kind": "note"}))
    body[-1] ^= 1
    bad, child = author.say(body=bytes(body)), author.say()
    for _ in range(3):
        machine.receive(good, bad, child)
        machine.tick()
    assert machine.has(good, bad, child) == [True, False, False]
    assert machine.problems()["SealError"] == 1


@pytest.mark.parametrize("is_sealed", [True, False])
def test_a_message_in_the_form_of_another_swarm_is_refused_counted_and_named(is_sealed: bool) -> None:
    machine = SealedMachine() if is_sealed else Machine()
    machine.tick(3)
    swarm = machine.manifest.swarm
    other = Author(1, swarm) if is_sealed else SealedAuthor(1, swarm, Ring(1))
    message = other.say()
    machine.receive(message)
    machine.tick(2)
    assert message.cid not in machine.peer.tangle
    assert machine.problems() == {"SealError": 1}
    assert ("has an open body" if is_sealed else "has a sealed body") in str(machine.peer.status()["last_problems"])


def test_frames_are_followed_as_in_an_open_swarm() -> None:
    machine = ticked()
    author = machine.author()
    message, block = published(author, [1, 2, 3])
    machine.receive(message, blocks=[block])
    machine.tick()
    np.testing.assert_array_equal(machine.peer.following.replicas[author.author].vector, [1, 2, 3])


@pytest.mark.parametrize(
    ("values", "index", "error"),
    [
        ((1, 2, 3), 2, "SealError"),
        ((1, 2, 3), 0, "SealError"),
        ((1, 2), 1, "BrokenFrameError"),
        ((1,) * 17, 1, "BrokenFrameError"),
    ],
    ids=["as another block", "as a body", "too few values", "too many values"],
)
def test_who_names_a_block_that_is_not_what_its_update_says_is_merged_no_more(values, index: int, error: str) -> None:
    machine = ticked()
    author = machine.author()
    message, block = published(author, values, index)
    machine.receive(message, blocks=[block])
    machine.tick(5)
    assert author.author not in machine.peer.following.replicas
    assert machine.problems() == {error: 1}
    good, block = published(author, [1, 2, 3])
    machine.receive(good, blocks=[block])
    machine.tick()
    assert author.author not in machine.peer.following.replicas
    assert author.author in machine.peer.following.offences


@pytest.mark.parametrize("why", ["both open", "neither opens yet", "one is garbage", "garbage comes before the proof"])
def test_equivocation_is_proven_without_opening_a_body(why: str) -> None:
    machine = ticked()
    liar, witness = machine.author(2 if why == "neither opens yet" else 1), machine.author(1, number=2)
    root = liar.say(checkpoint=True)
    one = liar.say(previous=root, seq=1)
    garbage = {"body": b"%b%b" % (name_of(1), bytes(96))} if "garbage" in why else {"body": {"kind": "other"}}
    two = liar.say(previous=root, seq=1, **garbage)
    assert one.cid != two.cid
    proof = witness.accuse(one, two, checkpoint=True)
    if why == "garbage comes before the proof":
        machine.receive(root, two)
        machine.tick(2)
        assert machine.problems() == {"SealError": 1}
    machine.receive(proof)
    for message in (root, one, two):
        machine.host.blocks[message.cid] = message.data
    machine.tick(3)
    assert isinstance(proof.body, Evidence), "who comes later must be able to read it"
    assert machine.peer.tangle.is_banned(liar.author)
    assert proof.cid in list(machine.peer.tangle.kept())


def test_the_error_of_an_unknown_epoch_names_author_seq_and_epoch() -> None:
    machine = ticked()
    machine.receive(machine.author(2).say(time=NOW))
    machine.tick()
    (said,) = machine.peer.status()["last_problems"].values()
    assert "message 0 is sealed under key epoch " + name_of(2).hex() in str(said)
