"""Summaries of a real peer, whose swarm the test plays: when others see one, and what outlasts crashes and losses."""

from dataclasses import replace

import numpy as np
import pytest
from builders import NOW, Author, tiny_dataset, tiny_manifest
from machine import Board, Crash, Machine, announced, frame_of, kinds, update_of

from learnae.peer.summaries.lessons import Lessons
from learnae.privacy.policy import PrivacyPolicy
from learnae.protocol.bodies import Evidence, Join, Summary, Update
from learnae.protocol.messages import Message
from learnae.samples.dp_statistics import Statistics, layout_of
from learnae.simulation.in_memory import MemoryStateStore
from learnae.swarm.manifest import Manifest
from learnae.weights.frames import FramePolicy


def told(machine: Machine) -> list[Summary]:
    return [message.body for message in machine.said() if isinstance(message.body, Summary)]


def summarised(rows: int = 1000) -> Board:
    board = Board()
    board.collect(rows)
    board.wait()
    board.tick(2)
    return board


def trainer(every: int) -> Board:
    """Return a board that trains; after so many updates the next is a checkpoint."""
    board = Board(manifest=tiny_manifest(codec=FramePolicy("f32", "q8", every=every)))
    board.trains = True
    board.boot()
    return board


def again(board: Board, rows: int = 500) -> None:
    """Start again with other rows than before."""
    board.boot()
    board.collect(rows)
    board.clock.time += 2 * board.manifest.limits.horizon
    board.heads_again()
    board.tick(30)
    board.clock.time += board.manifest.limits.horizon // 1000
    board.tick()


def test_a_peer_without_training_sends_one_summary_and_says_it_again() -> None:
    board = Board()
    board.tick(3)
    assert kinds(board) == ["Join"]
    board.collect(1000)
    board.wait()
    board.tick(90)
    assert kinds(board) == ["Summary"], "which replaces the name, and carries it"
    board.collect(9000)
    board.clock.time += board.manifest.limits.horizon // 2
    board.tick(3)
    one, again = board.said()
    assert one.checkpoint
    assert again.checkpoint
    assert one.body == again.body
    assert one.body.peer.name == "me"


def test_few_rows_are_not_told() -> None:
    board = summarised(5)
    board.clock.time += board.manifest.limits.horizon // 2
    board.tick(3)
    assert not told(board)


def test_who_comes_after_a_checkpoint_is_told_soon() -> None:
    """A checkpoint replaces what was before it: newcomers do not fetch the summary that it has followed."""
    board = trainer(every=2)
    board.collect(1000)
    board.wait()

    def summary_after_ticks() -> Message:
        board.tick(6)
        assert board.peer.view.summary
        assert board.peer.view.summary.seq < board.peer.view.checkpoint
        return board.peer.view.summary

    begun, first = board.clock.time, summary_after_ticks()
    assert summary_after_ticks() is first, "those who have it are not told again"
    board.receive(board.other(7).say(checkpoint=True, time=board.clock.time))
    again = summary_after_ticks()
    assert again.seq > first.seq
    assert summary_after_ticks() is again
    assert board.clock.time - begun < board.manifest.limits.horizon // 2880, "else all are told"


@pytest.mark.parametrize("trains", [False, True])
def test_a_release_is_never_drawn_anew_though_its_message_is_long_forgotten(trains: bool) -> None:
    """A stranger that forks makes ``evidence`` the last message; then the board is off for longer than the horizon."""
    board = Board()
    board.trains = trains
    board.boot()
    board.collect(1000)
    board.wait()
    board.tick(3)
    (first,) = {summary.sums for summary in told(board)}
    liar = board.other(7)
    board.has_followed(liar)
    start = liar.say(checkpoint=True, time=board.clock.time)
    board.receive(start, *liar.fork())
    board.tick(1)
    assert any(isinstance(message.body, Evidence) for message in board.said())
    for message in board.said():
        del board.host.blocks[message.cid]
    again(board)
    assert told(board)
    assert {(summary.release, summary.sums) for summary in told(board)} == {(1, first)}


@pytest.mark.parametrize("lost", ["state", "released", "both"])
@pytest.mark.parametrize("is_heard", [True, False], ids=["heard", "forgotten by all"])
def test_what_is_lost_costs_no_second_draw(lost: str, is_heard: bool) -> None:
    board = summarised()
    (first,) = {summary.sums for summary in told(board)}
    said = board.said()
    if lost != "released":
        board.state = MemoryStateStore()
        board.is_back = True
    if lost != "state":
        board.released = MemoryStateStore()
    if not is_heard:
        for message in said:
            del board.host.blocks[message.cid]
    again(board)
    assert {summary.sums for summary in told(board)} <= {first}
    if is_heard or lost == "state":
        assert board.peer.options.summaries.record.summary.sums == first


def test_a_whole_directory_from_a_backup_costs_no_second_draw() -> None:
    board = Board()
    board.tick(2)
    state, released = board.state.load(), board.released.load()
    board.collect(1000)
    board.wait()
    board.tick(2)
    (first,) = told(board)
    board.state.save(state)
    board.released.save(released)
    again(board)
    assert {summary.sums for summary in told(board)} == {first.sums}


def test_a_backup_of_a_trainer_whose_summary_is_forgotten_releases_nothing_new() -> None:
    board = trainer(every=2)
    board.tick(2)
    state, released = board.state.load(), board.released.load()
    board.collect(1000)
    board.wait()
    board.tick(3)
    assert told(board)
    for message in board.said():
        if isinstance(message.body, Summary):
            del board.host.blocks[message.cid]
    newest = max((m for m in board.said() if m.checkpoint), key=lambda message: message.seq)
    board.host.blocks = {cid: data for cid, data in board.host.blocks.items() if data == newest.data}
    board.state.save(state)
    board.released.save(released)
    board.boot()
    board.collect(1000)
    board.host.inbox.append(announced(newest))
    for _ in range(5):
        board.wait()
        board.tick(2)
    assert not told(board)


def test_a_crash_between_the_draw_and_the_message_shows_the_same_draw() -> None:
    board = Board()
    board.tick(2)
    board.collect(1000)
    board.wait()
    board.store.failing = True
    with pytest.raises(Crash):
        board.tick()
    drawn = board.peer.options.summaries.record.summary
    again(board)
    assert {summary.sums for summary in told(board)} == {drawn.sums}


def test_a_trainer_says_its_summary_after_each_checkpoint_and_its_deltas_go_on() -> None:
    board = trainer(every=4)
    board.collect(1000)
    board.wait()
    seen: dict[int, Message] = {}
    for _ in range(20):
        board.clock.time += board.manifest.limits.horizon // 1000
        board.tick()
        seen |= {message.seq: message for message in board.said()}
    found = [seen[seq] for seq in sorted(seen)]
    for index, message in enumerate(found[2:-1], 2):
        if message.checkpoint:
            assert isinstance(found[index + 1].body, Summary)
        if isinstance(message.body, Summary):
            assert not message.checkpoint
            assert message.body.peer is None
    assert sum(isinstance(message.body, Summary) for message in found) >= 3
    assert len({message.body.sums for message in found if isinstance(message.body, Summary)}) == 1
    listener = Machine(2, board.manifest)
    listener.receive(*found)
    for cid, data in board.host.blocks.items():
        listener.host.blocks[cid] = data
    listener.clock.time = board.clock.time
    listener.tick(3)
    replica = listener.peer.following.replicas[board.identity.author].vector
    np.testing.assert_array_equal(replica, board.peer.frames.to_state()["replica"])


def test_a_peer_may_stop_training_and_begin_again() -> None:
    board = Board()
    board.trains = True
    board.boot()
    board.tick(5)
    assert kinds(board)[-1] == "Update"
    saved = {name: array.copy() for name, array in board.learner.state().items()}
    board.trains = False
    board.boot()
    board.collect(1000)
    board.wait()
    board.tick(2)
    assert kinds(board)[-1] == "Summary"
    assert board.said()[-1].checkpoint
    board.trains = True
    board.boot()
    for name, array in saved.items():
        np.testing.assert_array_equal(board.learner.state()[name], array)
    board.tick(3)
    assert {"Update", "Summary"} <= set(kinds(board))


def test_a_peer_without_training_follows_the_others() -> None:
    board, other = Board(), Author(1, tiny_manifest().swarm)
    board.receive(other.say(time=NOW), update_of(other, frame_of(1, 2, 3)), blocks=[frame_of(1, 2, 3)])
    board.tick(3)
    np.testing.assert_array_equal(board.peer.estimate(), [1, 2, 3])
    assert kinds(board) == ["Join"]


# -- what others learn from it


class Pupil(Machine):
    """A machine that trains, and draws rows from others' summaries."""

    def boot(self):  # type: ignore[no-untyped-def]
        super().boot()
        layout = layout_of(self.manifest)
        assert layout
        self.lessons = Lessons(layout, self.data, np.random.default_rng(1))
        return self.compose(replace(self.peer.options, lessons=self.lessons))


def say_summary(author: Author, manifest: Manifest, seed: int, *, checkpoint: bool, rows: int = 300) -> Message:
    layout, data = layout_of(manifest), tiny_dataset(manifest, seed, rows)
    assert layout
    body = Statistics.of(layout, data.train).release(1, PrivacyPolicy())
    return author.say(body=body.to_fields(), checkpoint=checkpoint)


def test_rows_are_drawn_from_members_that_do_not_train_alone() -> None:
    machine = Pupil()
    silent, trainer = machine.other(1), machine.other(2)
    machine.receive(trainer.say(checkpoint=True), say_summary(trainer, machine.manifest, 5, checkpoint=False))
    machine.tick(3)
    assert (len(machine.data.drawn), machine.lessons.teachers) == (0, 0)
    machine.receive(say_summary(silent, machine.manifest, 6, checkpoint=True))
    machine.tick(3)
    assert machine.lessons.teachers == 1
    assert len(machine.data.drawn) == pytest.approx(2 * 225, rel=0.2)
    said = [message.body for message in machine.said() if isinstance(message.body, Update)]
    assert {update.samples for update in said} == {len(machine.data.train)}, "drawn rows are nobody's samples"
    slope = np.linalg.lstsq(
        np.c_[machine.data.drawn.rows, np.ones(len(machine.data.drawn))], machine.data.drawn.targets, rcond=None
    )[0]
    assert np.isfinite(slope).all()
    frame = frame_of(1, 2, 3)
    machine.receive(silent.say(checkpoint=True), update_of(silent, frame), blocks=[frame])
    machine.tick(3)
    assert isinstance(machine.said()[-1].body, Update | Join)
