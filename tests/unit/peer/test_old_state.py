"""A state that was restored from a backup: older than what the swarm has heard from this peer."""

import numpy as np
import pytest
from builders import Author, tiny_manifest
from machine import Machine, frame_of, seqs, ticked, update_of

from learnae.errors import EquivocationError
from learnae.ipld.cid import DAG_CBOR, Cid
from learnae.ports import Heard
from learnae.protocol.announcements import PREFIX_BYTES, Announcement, Entry
from learnae.protocol.bodies import DELTA, KEY
from learnae.protocol.identity import peer_name
from learnae.protocol.limits import MINUTE
from learnae.protocol.messages import Message
from learnae.weights.frames import FramePolicy


def restored(machine: Machine, more: int = 5) -> list[Message]:
    """Say ``more``, and go back to the disk of before; returns all that was said."""
    backup, blocks = machine.state.load(), dict(machine.host.blocks)
    machine.tick(more)
    said = machine.said()
    machine.host.blocks = blocks
    machine.state.save(backup)
    machine.clock.time += 2 * MINUTE
    machine.boot()
    if not machine.listens:  # its directory tells at once
        machine.heads_again()
    return said


def hear_another(machine: Machine) -> None:
    """Some other peer says that it is there."""
    machine.receive(machine.other().say(time=machine.clock.time))


# -- what others know of it is heard before it speaks


def test_an_old_state_is_moved_forward_to_what_the_directory_holds() -> None:
    machine = ticked(3, manifest=tiny_manifest(codec=FramePolicy("f32", "q8", every=30)))
    said = restored(machine)
    machine.receive(*said)
    before = machine.peer.steps
    machine.tick(3)
    now = machine.said()
    assert seqs(now) == list(range(len(said) + 3))
    assert not machine.peer.tangle.is_banned(machine.peer.author)
    assert machine.problems() == {}
    first, second, _ = now[-3:]
    assert (first.body.frame.kind, second.body.frame.kind) == (KEY, DELTA), "the old replica is nobody's any more"
    assert first.forked == 0
    last = said[-1].body
    assert first.body.steps == last.steps + 4 > before + 4, "what was trained and lost was trained all the same"
    assert first.body.bytes_out > last.bytes_out
    machine.boot()
    machine.heads_again()
    machine.tick()
    assert seqs(machine.said()) == list(range(len(now) + 1))


def test_it_is_enough_to_hear_the_newest_message_and_its_checkpoint() -> None:
    machine = ticked(3, listens=True)
    said = restored(machine)
    assert [message.checkpoint for message in said[-2:]] == [True, False]
    machine.receive(*said[-2:])
    machine.tick(15)
    spoken = next(message for message in machine.said() if message.seq > 8)
    assert (spoken.seq, spoken.previous, spoken.checkpoint, spoken.forked) == (9, said[-1].cid, True, 0)
    assert machine.peer.status()["listening"] is None
    assert not machine.peer.tangle.is_banned(machine.peer.author)


def test_what_comes_late_moves_it_forward_if_it_has_not_spoken_yet() -> None:
    machine = ticked(3, listens=True)
    said = restored(machine)
    machine.tick(60)
    assert machine.said() == said[:4]
    assert machine.peer.status()["listening"] == said[-1].time + 2 * MINUTE
    steps = machine.peer.steps
    assert machine.monitor.last["steps"] == steps > 60, "it trains meanwhile, and says so"
    machine.boot()
    assert machine.peer.steps == steps
    machine.receive(*said)
    machine.tick(30)
    assert machine.peer.status()["listening"] is None
    assert machine.said()[-1].seq > len(said) + 5
    assert len(set(seqs(machine.said()))) == len(machine.said()), "no seq twice"
    assert not machine.peer.tangle.is_banned(machine.peer.author)


def test_who_listens_knows_better_by_and_by() -> None:
    machine = ticked(3, listens=True)
    restored(machine)
    other, frame = machine.other(), frame_of(1, 2, 3)
    machine.receive(other.say(time=machine.clock.time), update_of(other, frame), blocks=[frame])
    machine.tick()
    assert machine.peer.status()["listening"]
    np.testing.assert_array_equal(machine.peer.estimate(), [1, 2, 3])


def test_where_nobody_is_heard_nothing_is_published_without_end() -> None:
    machine = ticked(3, listens=True)
    said = restored(machine)
    steps = machine.peer.steps
    machine.tick(700)
    assert machine.said() == said[:4]
    assert machine.peer.steps > steps + 4 * 600, "it trains"
    assert machine.peer.status()["catching_up"] == {"done": 0, "known": 0}
    hear_another(machine)
    machine.tick(15)
    assert machine.said()[-1].seq >= 4


def test_people_see_how_much_of_what_was_announced_is_here() -> None:
    machine = ticked(3, listens=True)
    restored(machine)
    here, away = machine.other(1).say(time=machine.clock.time), machine.other(2).say(time=machine.clock.time)
    machine.receive(here, away)
    del machine.host.blocks[away.cid]
    machine.tick()
    assert machine.monitor.last["catching_up"] == {"done": 1, "known": 2}
    machine.tick(18)
    assert machine.peer.status()["catching_up"]
    machine.tick(3)
    assert machine.peer.status()["catching_up"] is None, "what does not come is given up"


def test_a_newer_message_of_ones_own_whose_checkpoint_is_missing_is_waited_for() -> None:
    machine = ticked(3)
    said = restored(machine)
    machine.receive(said[-1])
    machine.tick(10)
    assert seqs(machine.said()) == [0, 1, 2, 3, 8]
    machine.receive(*said)
    machine.tick()
    assert seqs(machine.said()) == list(range(10))


def test_a_newer_message_of_ones_own_whose_checkpoint_is_lost_everywhere_is_gone_on_from() -> None:
    machine = ticked(3)
    said = restored(machine)
    machine.receive(said[-1])
    for _ in range(80):
        machine.tick()
        if spoken := [message for message in machine.said() if message.seq > 8]:
            break
    assert [message.seq for message in spoken] == [9]
    assert spoken[0].checkpoint, "nothing else could be attached"


@pytest.mark.parametrize("restart", [True, False])
def test_claims_that_nothing_proves_silence_it_for_a_moment_however_many_make_them(restart: bool) -> None:
    machine = ticked(3)
    if restart:
        machine.boot()
    silent = 0
    for number in range(200):
        head = Cid.of(DAG_CBOR, b"%d" % number)
        claim = Announcement((Entry(machine.identity.author[:PREFIX_BYTES], 10**6 + number, head, None),))
        machine.host.inbox.append(Heard(f"stranger {number}", claim))
        before = machine.said()[-1]
        machine.tick()
        silent += machine.said()[-1] == before
    assert 0 < silent <= 10, "once, as it may be true; and not once for each name"
    assert machine.said()[-1].seq == 203 - silent
    assert machine.problems() == {}


def test_a_member_that_claims_what_it_cannot_prove_is_waited_for_once() -> None:
    machine = ticked(3)
    other = machine.other()
    machine.receive(other.say(time=machine.clock.time))
    machine.tick(machine.manifest.limits.grace // 1000 + 2)
    spoken = machine.said()[-1].seq
    for seq in range(10**6, 10**6 + 100):
        claim = Entry(machine.identity.author[:PREFIX_BYTES], seq, Cid.of(DAG_CBOR, b"%d" % seq), None)
        machine.host.inbox.append(Heard(peer_name(other.author), Announcement((claim,))))
        machine.tick()
    assert 90 <= machine.said()[-1].seq - spoken < 100


def test_a_restart_after_seconds_does_not_listen() -> None:
    machine = ticked(3, listens=True)
    machine.clock.time += 5000
    machine.boot()
    machine.tick()
    assert seqs(machine.said()) == list(range(5))


def test_a_key_whose_state_is_lost_listens_if_it_has_been_here_before() -> None:
    machine = ticked(20, listens=True)
    machine.is_back = True
    past = machine.lose_all()
    machine.tick(30)
    assert machine.said() == []
    machine.receive(*past)
    machine.tick(25)
    said = seqs(machine.said())
    assert said == list(range(said[0], said[-1] + 1))
    assert said[-1] > past[-1].seq
    assert not machine.peer.tangle.is_banned(machine.peer.author)


# -- who has spoken before it heard itself


def forked(machine: Machine) -> list[Message]:
    """Let it say one of its numbers again, and then hear all that it has said before."""
    said = restored(machine)
    machine.tick()
    again = machine.said()[-1]
    assert again.seq == 4
    assert again not in said
    machine.receive(*said)
    return said


def test_who_has_spoken_before_it_heard_itself_says_so_and_is_excused() -> None:
    machine = ticked(3)
    said = forked(machine)
    machine.tick()
    declared = machine.said()[-1]
    assert declared.checkpoint
    assert declared.seq == declared.forked == said[-1].seq + 1, "above all that it has signed on either branch"
    assert not machine.peer.tangle.is_banned(machine.peer.author)
    assert machine.peer.status()["banned"] is False
    machine.tick(5)
    assert machine.peer.status()["seq"] == declared.seq + 5
    assert machine.problems().keys() <= {"BannedError", "SequenceError"}


def test_what_it_declares_is_believed_by_others_who_had_banned_it() -> None:
    machine = ticked(3)
    forked(machine)
    witness = Machine(number=101)
    witness.receive(*machine.said())
    witness.tick(2)
    assert witness.peer.tangle.is_banned(machine.peer.author)
    machine.tick(2)
    declared, later = machine.said()[-2:]
    witness.receive(declared, later, blocks=list(machine.host.blocks.values()))
    witness.clock.time = max(witness.clock.time, machine.clock.time)
    witness.tick()
    witness.receive(later)  # as it is announced all the time
    witness.tick()
    assert not witness.peer.tangle.is_banned(machine.peer.author)
    assert witness.peer.tangle.newest_of(machine.peer.author) == later.cid
    assert machine.peer.author in witness.peer.following.replicas


def fork_again(machine: Machine) -> None:
    """Say on, and then hear that another copy has said something else with the same number."""
    machine.tick(4)
    previous, last = machine.said()[-2:]
    assert not last.checkpoint, "what a checkpoint replaces is forgotten, forks too"
    twin = Author(100, machine.manifest.swarm)
    machine.receive(twin.say(previous=previous, time=machine.clock.time + 1))


@pytest.mark.parametrize("restart", [False, True])
def test_a_second_fork_within_the_horizon_stops_it_with_a_remedy(restart: bool) -> None:
    machine = ticked(3)
    forked(machine)
    fork_again(machine)
    if restart:
        machine.boot()
        machine.heads_again()
    with pytest.raises(EquivocationError, match=r"banned for ever.*two copies of its state.*joins with a new key"):
        machine.tick()
    assert machine.peer.status()["banned"]


def test_a_second_fork_after_the_horizon_is_excused_again() -> None:
    machine = ticked(3)
    forked(machine)
    machine.tick()
    first = machine.said()[-1].forked
    machine.clock.time += machine.manifest.limits.horizon
    fork_again(machine)
    machine.tick()
    assert not machine.peer.status()["banned"]
    assert machine.said()[-1].forked > first > 0
