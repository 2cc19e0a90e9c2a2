"""A state that was restored from a backup: older than what the swarm has heard from this peer."""

import numpy as np
import pytest
from builders import NOW, tiny_manifest
from machine import Board, Machine, frame_of, kinds, seqs, ticked, update_of

from learnae.errors import EquivocationError
from learnae.protocol.bodies import DELTA, KEY
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
    last = said[-1].body
    assert first.body.steps == last.steps + 4 > before + 4, "what was trained and lost was trained all the same"
    assert first.body.bytes_out > last.bytes_out
    machine.boot()
    machine.heads_again()
    machine.tick()
    assert seqs(machine.said()) == list(range(len(now) + 1))


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
    assert seqs(machine.said()) == list(range(len(machine.said())))
    assert len(machine.said()) > len(said) + 5
    assert not machine.peer.tangle.is_banned(machine.peer.author)


def test_who_listens_knows_better_by_and_by() -> None:
    machine = ticked(3, listens=True)
    restored(machine)
    other, frame = machine.other(), frame_of(1, 2, 3)
    machine.receive(other.say(time=machine.clock.time), update_of(other, frame), blocks=[frame])
    machine.tick()
    assert machine.peer.status()["listening"]
    np.testing.assert_array_equal(machine.peer.estimate(), [1, 2, 3])


def test_what_nobody_has_heard_is_said_anew() -> None:
    machine = ticked(3, listens=True)
    said = restored(machine)
    machine.tick(299)
    assert machine.said() == said[:4]
    machine.tick(10)
    assert seqs(machine.said()) == list(range(4 + 10))
    assert machine.said()[4] not in said


def test_a_newer_message_of_ones_own_whose_past_is_missing_is_waited_for() -> None:
    machine = ticked(3)
    said = restored(machine)
    machine.receive(said[-1])
    machine.tick(10)
    assert seqs(machine.said()) == [0, 1, 2, 3, 8]
    machine.receive(*said)
    machine.tick()
    assert seqs(machine.said()) == list(range(10))


def test_a_newer_message_of_ones_own_whose_past_is_lost_everywhere_is_gone_on_from() -> None:
    machine = ticked(3)
    said = restored(machine)
    machine.receive(said[-1])
    machine.tick(52)
    assert seqs(machine.said())[:7] == [0, 1, 2, 3, 8, 9, 10]


def test_who_has_spoken_before_it_heard_itself_is_told_so_at_once() -> None:
    machine = ticked(3)
    said = restored(machine)
    machine.tick()
    machine.receive(*said)
    with pytest.raises(EquivocationError):
        machine.tick()
    assert machine.peer.status()["banned"]


def test_a_restart_after_seconds_does_not_listen() -> None:
    machine = ticked(3, listens=True)
    machine.clock.time += 5000
    machine.boot()
    machine.tick()
    assert seqs(machine.said()) == list(range(5))


def test_a_key_whose_state_is_lost_listens_if_it_has_been_here_before() -> None:
    machine = Machine()
    machine.listens = machine.is_back = True
    machine.tick(3)
    past = machine.lose_all()
    machine.tick(30)
    assert machine.said() == []
    machine.receive(*past)
    machine.tick(25)
    assert seqs(machine.said()) == list(range(len(machine.said())))
    assert len(machine.said()) > len(past)


def test_an_old_state_costs_no_new_release_of_a_summary() -> None:
    board = Board()
    board.tick()
    backup = board.state.load()
    board.collect(1000)
    board.tick(2)
    board.state.save(backup)
    board.heads_again()
    board.boot()
    board.collect(1000)
    board.tick(3)
    assert kinds(board) == ["Join", "Summary"]
    assert board.peer.status()["seq"] == 1
    assert board.said()[0].time > NOW
