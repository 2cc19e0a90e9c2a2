from typing import Any

import numpy as np
import pytest
from builders import COUNT, NOW, Author, identity, tiny_dataset, tiny_manifest
from machine import DAY, Crash, Machine, frame_of, kinds, seqs, ticked, update_of

from learnae.errors import NotWrittenError, StateError
from learnae.ipld.cid import DAG_CBOR, RAW, Cid
from learnae.models.dataset import Dataset
from learnae.peer.peer import Options
from learnae.peer.publishing_policy import PublishPolicy
from learnae.ports import Heard, Trained
from learnae.protocol.announcements import Announcement, Entry
from learnae.protocol.bodies import DELTA, KEY, Evidence, FrameHeader, Join, Profile, Update
from learnae.protocol.limits import HOUR, Limits
from learnae.simulation.in_memory import MemoryStateStore
from learnae.simulation.network import Weather
from learnae.simulation.simulator import Setting, Simulation
from learnae.weights.codecs import Vector
from learnae.weights.frames import FramePolicy, decode_frame
from learnae.weights.merge import MergePolicy, consensus

# -- alone


def test_one_peer_alone_joins_learns_and_publishes() -> None:
    machine = Machine()
    before = machine.learner.evaluate(machine.peer.estimate())
    machine.tick(9)
    said = machine.said()
    assert seqs(said) == list(range(10))
    profile = Profile("me", "agent", said[0].body.peer.software)
    assert said[0].body == Join(profile)
    assert all(isinstance(message.body, Update) for message in said[1:])
    assert [message.body.peer for message in said[1:]] == [profile if each.checkpoint else None for each in said[1:]]
    assert [message.parents for message in said[1:]] == [(message.cid,) for message in said[:-1]]
    status = machine.peer.status()
    assert (status["seq"], status["steps"], status["messages"], status["problems"]) == (9, 36, 10, {})
    assert status["bytes_out"] == sum(len(data) for data in machine.host.blocks.values())
    assert machine.monitor.last == status
    machine.tick(31)
    after = machine.learner.evaluate(machine.peer.estimate())
    assert after.loss < before.loss / 100


def test_a_status_says_why_nothing_is_measured_until_it_is() -> None:
    machine, rows = Machine(), 0

    def why() -> str:
        return str(machine.peer.status()["unmeasured"])

    machine.compose(Options("me", "trainer", 8, seed=1, steps=4, rows=lambda: rows))
    assert why() == "it hears others first"
    machine.peer.catching_up.since = None
    assert why() == "there is no row to train on yet"
    rows = 24
    assert why() == "its first steps are being taken"
    machine.tick(2)
    assert (why(), machine.peer.status()["loss"] is None) == ("", False)
    machine.compose(Options("me", "trainer", 8, seed=1, steps=4, rows=lambda: rows))
    assert why() == "it is measured after this cycle: 0 of 4 steps are taken"
    machine.peer.cadence.policy, before = PublishPolicy(least_change=10.0), machine.peer.status()["seq"]
    machine.tick()
    assert (why(), machine.peer.status()["seq"]) == ("", before), "also if nothing is worth publishing"
    machine.compose(
        Options("me", "agent", 8, rows=lambda: rows, facts=lambda: {"unmeasured": "no reading has come yet"})
    )
    assert why() == "no reading has come yet"


def test_an_owner_who_counts_bytes_publishes_coarser_deltas_than_the_swarms() -> None:
    machine = Machine()
    machine.tick(4)
    machine.peer.cadence.policy = PublishPolicy(every=1, aim=1)
    machine.tick(4)
    codecs = [message.body.frame.codec for message in machine.said() if isinstance(message.body, Update)]
    assert codecs == ["q8", "q4"] * 2 + ["q8", "sign"] * 2, "a keyframe of three values is due after each delta"


def test_published_frames_are_the_chain_that_followers_need() -> None:
    machine = ticked(12, manifest=tiny_manifest(codec=FramePolicy("f32", "q8", every=4)))
    updates = [message for message in machine.said() if isinstance(message.body, Update)]
    assert [message.body.frame.kind for message in updates] == [KEY, DELTA] * 6, "a message weighs more than a keyframe"
    replica: Vector | None = None
    for before, message in zip([None, *updates], updates, strict=False):
        assert message.checkpoint == (message.body.frame.kind == KEY)
        assert message.body.frame.base == (None if message.checkpoint or before is None else before.cid)
        blocks = [machine.host.blocks[cid] for cid in message.blocks]
        replica = decode_frame(message.body.frame, blocks, replica, COUNT)
    assert np.abs(replica - machine.learner.weights()).max() < 0.05
    assert machine.peer.estimate().tobytes() == replica.tobytes()


def test_what_a_checkpoint_has_replaced_for_a_grace_leaves_the_disk() -> None:
    machine = ticked(200)
    assert machine.peer.status()["seq"] == 200
    first, *_, last = seqs(machine.said())
    assert 180 <= first <= 189, "a grace of ten seconds, the chain back to a checkpoint, and five between two looks"
    assert last == 200
    named = [cid for message in machine.said() for cid in (message.cid, *message.blocks)]
    assert set(machine.host.blocks) == set(named)
    assert len(machine.peer.tangle) == len(machine.said())


def test_an_archive_keeps_all() -> None:
    machine = Machine()
    machine.compose(Options("me", "agent", 8, seed=1, is_archive=True))
    machine.tick(200)
    assert seqs(machine.said()) == list(range(201))
    assert len(machine.peer.tangle) < 100, "in memory it forgets"


def test_without_rows_a_peer_joins_and_listens() -> None:
    manifest = tiny_manifest()
    machine = ticked(3, data=Dataset(manifest.model, manifest.objective))
    assert [type(message.body) for message in machine.said()] == [Join]
    assert machine.peer.status()["accuracy"] is None


def test_a_peer_that_says_nothing_else_repeats_its_checkpoint_so_that_others_find_it() -> None:
    manifest = tiny_manifest()
    machine = Machine(data=Dataset(manifest.model, manifest.objective))
    newest: list[int] = []
    for _ in range(40):
        machine.tick()
        newest.append(machine.said()[-1].time)
        assert machine.clock.time - newest[-1] < 9 * HOUR
        machine.clock.time += HOUR
    assert len(set(newest)) == 5, "each third of a day, and no more often"
    assert len(machine.said()) <= 2, "it replaces the one before"
    assert {type(message.body) for message in machine.said()} == {Join}


def test_a_peer_that_has_settled_repeats_its_last_frame_whole_and_keeps_its_vote() -> None:
    machine = ticked(5)
    machine.learner.train = lambda _: Trained(0, 24, 0.0)
    machine.tick(100)
    assert machine.peer.status()["seq"] == 5
    before = machine.peer.frames.own_vote.vector
    machine.clock.time += 8 * HOUR
    machine.tick(100)
    last = machine.said()[-1]
    assert (last.seq, last.checkpoint, last.body.settled, last.body.samples) == (6, True, True, 24)
    replica = decode_frame(last.body.frame, [machine.host.blocks[cid] for cid in last.blocks], None, COUNT)
    assert replica == pytest.approx(before, abs=1e-3)
    machine.clock.time += 8 * HOUR
    machine.tick(100)
    assert machine.said()[-1].blocks == last.blocks, "the same again is the same block"
    assert machine.host.blocks.keys() == {last.blocks[0], machine.said()[-1].cid}


def test_a_restart_is_no_reason_to_join_again() -> None:
    machine = ticked(3)
    for _ in range(3):
        machine.clock.time += HOUR
        machine.boot()
        machine.heads_again()
        machine.tick(70)
    assert not any(isinstance(message.body, Join) for message in machine.said())


def test_a_peer_that_was_silent_for_long_goes_on_at_once() -> None:
    manifest = tiny_manifest(limits=Limits(horizon=20_000, skew=4000), merge=MergePolicy(half_life=2000))
    machine = ticked(2, manifest=manifest, data=Dataset(manifest.model, manifest.objective))
    machine.clock.time += 60_000
    machine.data.add(np.ones((4, 2)), np.ones(4))
    machine.tick()
    assert seqs(machine.said())[-1] == 1
    assert isinstance(machine.said()[-1].body, Update)


def test_a_peer_does_not_speak_ahead_of_its_clock() -> None:
    machine = ticked(2)
    count = len(machine.said())
    machine.clock.time -= HOUR
    machine.tick(3)
    assert len(machine.said()) == count
    machine.clock.time += HOUR
    machine.tick()
    assert len(machine.said()) == count + 1
    assert machine.problems() == {}


def test_a_year_back_and_forth_leaves_times_that_ascend_and_no_seq_twice() -> None:
    machine = ticked(3)
    machine.clock.time -= 366 * DAY  # a board without a battery has started
    machine.boot()
    machine.tick(5)
    assert len(machine.said()) == 3 + 1, "it trains, and is silent until its clock is right"
    assert machine.peer.steps > 0
    machine.clock.time += 366 * DAY
    machine.tick(3)
    said = machine.said()
    assert seqs(said) == list(range(said[0].seq, said[-1].seq + 1))
    assert said[-1].seq >= 5
    times = [message.time for message in sorted(said, key=lambda message: message.seq)]
    assert times == sorted(set(times))
    assert times[-1] <= machine.clock.time


def test_what_a_full_disk_kept_from_being_published_is_said_whole_later(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = ticked(3)
    before = machine.said()
    save = machine.state.save

    def full(*_: bytes | memoryview) -> None:
        raise NotWrittenError("no space left")

    monkeypatch.setattr(machine.state, "save", full)
    for _ in range(3):
        with pytest.raises(NotWrittenError):
            machine.tick()
    assert machine.said() == before, "nothing is shown before it is saved"
    monkeypatch.setattr(machine.state, "save", save)
    machine.tick(2)
    said = machine.said()
    assert seqs(said) == list(range(len(before) + 2))
    kinds = [message.body.frame.kind for message in said[-2:] if isinstance(message.body, Update)]
    assert kinds == [KEY, DELTA], "a delta would stand on weights that nobody has"


def test_a_message_that_was_saved_and_not_stored_is_shown_as_soon_as_the_disk_takes_it() -> None:
    machine = ticked(2)
    before, steps = machine.said(), list[int]()
    machine.store.full = True
    for _ in range(4):
        with pytest.raises(NotWrittenError):
            machine.tick()
        steps.append(machine.peer.steps)
    assert machine.said() == before
    assert steps[1] < steps[2] < steps[3], "it trains on"
    machine.store.full = False
    machine.tick()
    assert seqs(machine.said()) == list(range(len(before) + 2)), "the one that was saved, and at once the next"
    machine.boot()
    machine.tick()
    assert seqs(machine.said()) == list(range(len(before) + 3))


def test_people_see_that_nothing_is_published_until_something_is(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = ticked(2)
    assert machine.peer.status()["unwritable"] is None
    machine.store.full = True
    with pytest.raises(NotWrittenError) as caught:
        machine.tick()
    since = machine.clock.now()
    machine.peer.endure(caught.value)
    machine.clock.time += 1000
    machine.peer.endure(caught.value)
    assert machine.peer.status()["unwritable"] == {"since": since, "error": "no space left"}
    assert machine.peer.status()["problems"] == {"NotWrittenError": 2}
    machine.peer.listen()
    assert machine.peer.status()["unwritable"]
    machine.store.full = False
    machine.tick()
    assert machine.peer.status()["unwritable"] is None


def test_what_was_merged_and_whom_to_accuse_outlast_a_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = ticked(2)
    liar = machine.other()
    publish = machine.peer.publisher._commit

    def full(*_: object, **__: object) -> Cid:
        raise NotWrittenError("no space left")

    machine.peer.merging.unsaid = (b"12345678",)
    monkeypatch.setattr(machine.peer.publisher, "_commit", full)
    with pytest.raises(NotWrittenError):
        machine.tick()
    machine.has_followed(liar)
    for time in (NOW, NOW + 1):
        machine.peer.tangle.attach(machine.other().say(time=time), machine.clock.now())
    with pytest.raises(NotWrittenError):
        machine.tick()
    monkeypatch.setattr(machine.peer.publisher, "_commit", publish)
    machine.tick()
    evidence, update = sorted(machine.said(), key=lambda message: message.seq)[-2:]
    assert evidence.body.author == liar.author
    assert update.body.merged == (b"12345678",)
    machine.tick()
    assert machine.said()[-1].body.merged == ()


# -- restarts


def test_a_restart_goes_on_where_it_was() -> None:
    machine = ticked(5)
    weights, estimate = machine.learner.weights(), machine.peer.estimate()
    machine.peer.save()
    traffic = machine.peer.status()["bytes_out"]
    machine.boot()
    assert machine.learner.weights().tobytes() == weights.tobytes()
    assert machine.learner.state()["steps"].tolist() == [20]
    assert machine.peer.status()["bytes_out"] == traffic
    assert machine.peer.frames.own_vote.time == machine.said()[-1].time
    assert machine.peer.frames.own_vote.samples == 24
    assert machine.peer.estimate().tobytes() == estimate.tobytes()
    assert machine.peer.status()["steps"] == 20
    machine.heads_again()
    machine.tick(2)
    said = machine.said()
    assert seqs(said) == list(range(8))
    assert said[6].body.frame.base == said[5].cid
    assert machine.problems() == {}


def test_many_restarts_give_the_same_chain_as_none() -> None:
    plain, restarted = Machine(), Machine()
    plain.tick(6)
    for _ in range(6):
        restarted.tick()
        restarted.boot()
        restarted.heads_again()
    assert seqs(restarted.said()) == seqs(plain.said())
    assert not restarted.peer.tangle.is_banned(restarted.identity.author)


@pytest.mark.parametrize("before", [0, 3])
def test_a_crash_before_the_message_is_stored_publishes_the_same_message_later(before: int) -> None:
    machine = Machine()
    machine.tick(before)
    machine.store.failing = True
    with pytest.raises(Crash):
        machine.tick()
    count = len(machine.said())
    machine.boot()
    after_restart = machine.said()
    assert len(after_restart) == count + 1
    machine.heads_again()
    machine.tick(2)
    said = machine.said()
    assert seqs(said) == list(range(len(said)))
    assert after_restart[-1] in said
    assert not machine.peer.tangle.is_banned(machine.identity.author)


def test_a_frame_that_went_with_the_power_is_followed_by_a_keyframe_at_once() -> None:
    """The database of blocks has lost its last transactions, the state has not."""
    machine = ticked(4)
    last = machine.said()[-1]
    for name in (last.cid, *last.blocks):
        del machine.host.blocks[name]
    machine.boot()
    assert machine.said()[-1] == last
    machine.peer.settling.settle(machine.clock.now(), None)  # also if it has nothing to say
    machine.tick(2)
    again, *more = (message for message in machine.said() if message.seq > last.seq)
    assert again.checkpoint
    assert again.body.frame.kind == KEY
    assert not any(message.checkpoint for message in more)


def test_the_state_is_saved_before_anybody_can_see_the_message() -> None:
    machine = Machine()
    saved: list[int] = []
    save = machine.state.save

    def record(*pieces: bytes | memoryview) -> None:
        saved.append(len(machine.said()))
        save(*pieces)

    machine.state.save = record
    machine.tick(3)
    assert saved == [0, 1, 2, 3]


def test_a_lost_state_is_continued_from_what_others_hold() -> None:
    machine = ticked(4)
    machine.state = MemoryStateStore()
    machine.heads_again()
    machine.boot()
    machine.tick(2)
    assert seqs(machine.said()) == list(range(7))
    assert machine.said()[5].body.frame.kind == KEY
    assert not machine.peer.tangle.is_banned(machine.identity.author)


def test_a_lost_state_is_continued_when_the_history_comes_a_little_later() -> None:
    machine = ticked(4)
    machine.state = MemoryStateStore()
    machine.boot()
    machine.heads_again()
    machine.tick(2)
    assert seqs(machine.said()) == list(range(7))


def test_a_lost_state_is_not_gone_on_from_while_the_own_past_is_on_its_way() -> None:
    machine = ticked(4)
    past = machine.lose_all()
    machine.receive(past[-1])
    machine.tick(3)
    assert seqs(machine.said()) == [4]
    machine.receive(*past)
    machine.tick()
    assert seqs(machine.said()) == list(range(6))


def test_what_waits_and_is_older_than_the_own_newest_checkpoint_is_not_waited_for() -> None:
    machine = ticked(5)
    past = machine.lose_all()
    assert past[5].checkpoint
    machine.receive(past[2], past[5])
    machine.tick()
    assert seqs(machine.said()) == [2, 5, 6]


def test_a_lost_state_whose_checkpoint_is_lost_everywhere_is_continued_all_the_same() -> None:
    machine = ticked(4)
    past = machine.lose_all()
    machine.receive(past[-1])
    machine.tick(72)
    first, second = machine.said()[:2]
    assert (first.cid, second.seq, second.checkpoint) == (past[-1].cid, 5, True)
    assert not machine.peer.tangle.is_banned(machine.identity.author)


def test_a_lost_state_is_not_gone_on_from_while_the_own_last_message_cannot_be_read() -> None:
    machine = ticked(4)
    machine.state = MemoryStateStore()
    machine.heads_again()
    peer = machine.boot()
    peer.listen()
    newest = machine.said()[-1]
    del machine.host.blocks[newest.cid]  # another peer of this machine has pruned it
    machine.tick(2)
    assert seqs(machine.said()) == list(range(4))
    machine.receive(newest)
    machine.tick()
    assert seqs(machine.said()) == list(range(6))
    assert not peer.tangle.is_banned(machine.identity.author)


def test_a_lost_state_is_continued_where_somebody_has_equivocated() -> None:
    machine = ticked(4)
    machine.receive(machine.other().say(time=NOW), machine.other().say(time=NOW + 1))
    machine.state = MemoryStateStore()
    machine.heads_again()
    machine.boot()
    machine.has_followed(machine.other())
    machine.tick(2)
    assert seqs(machine.said()) == list(range(8))


def test_a_chain_that_is_lost_is_no_obstacle_as_the_next_update_is_a_checkpoint() -> None:
    machine = ticked(4)
    assert not machine.said()[-1].checkpoint
    for cid in [cid for cid in machine.host.blocks if cid.codec == DAG_CBOR]:
        del machine.host.blocks[cid]
    machine.boot()
    machine.tick(3)
    said = machine.said()
    assert seqs(said) == [4, 5, 6, 7]
    assert [message.checkpoint for message in said] == [False, True, False, True]
    assert machine.problems() == {}


def test_a_peer_comes_back_after_more_than_the_horizon() -> None:
    machine = ticked(3)
    machine.clock.time += 2 * DAY
    machine.boot()
    machine.tick(2)
    assert machine.peer.status()["seq"] == 5


def test_a_peer_starts_though_its_clock_has_fallen_back() -> None:
    machine = ticked(3)
    machine.clock.time -= DAY
    machine.boot()
    assert machine.problems() == {"FutureError": 1}
    machine.tick(2)
    assert machine.peer.status()["seq"] == 3
    machine.clock.time += DAY
    machine.tick()
    assert machine.peer.status()["seq"] == 4


def test_a_state_of_another_swarm_or_a_damaged_one_is_refused() -> None:
    machine = ticked()
    machine.manifest = tiny_manifest(name="other")
    with pytest.raises(StateError, match="belongs to swarm"):
        machine.boot()
    machine.state.save(b"damaged")
    with pytest.raises(StateError, match="damaged"):
        machine.boot()


def test_a_state_of_another_key_is_refused() -> None:
    machine = ticked()
    machine.identity = identity(101)
    with pytest.raises(StateError, match=r"belongs to another key.*bring its key back"):
        machine.boot()


# -- others


def test_who_has_nothing_to_say_believes_what_others_learn_all_the_same() -> None:
    machine, other = ticked(3), Author(1, tiny_manifest().swarm)
    machine.peer.cadence.policy, seq = PublishPolicy(least_change=10.0), machine.peer.status()["seq"]
    for value in (5.0, -3.0):
        frame = frame_of(value, value, value)
        machine.receive(update_of(other, frame, time=machine.clock.time, samples=10**6), blocks=[frame])
        machine.tick(3)
        votes = [machine.peer.frames.own_vote, *machine.peer.following.replicas.values()]
        assert machine.peer.status()["seq"] == seq
        assert len(votes) == 2
        half_life = machine.manifest.merge.half_life
        assert machine.peer.estimate() == pytest.approx(consensus(votes, half_life, machine.clock.time), abs=1e-3)
        metrics = machine.learner.evaluate(machine.peer.estimate())
        assert machine.peer.status()["loss"] == pytest.approx(metrics.loss)


def test_replicas_of_others_are_merged_by_samples() -> None:
    machine = Machine(data=Dataset(tiny_manifest().model, tiny_manifest().objective))
    author, data = machine.other(), frame_of(1, 2, 3)
    machine.tick()
    machine.receive(author.say(body=Join(Profile("other", "trainer", "1")).to_fields()))
    machine.receive(update_of(author, data), blocks=[data])
    tick = machine.peer.tick()
    assert (tick.heard, tick.merged) == (2, 1)
    assert machine.learner.weights().tolist() == [1, 2, 3]
    assert machine.peer.view.names[author.author] == Profile("other", "trainer", "1")
    assert machine.peer.tick().merged == 0
    assert machine.peer.status()["following"] == 1


def test_a_newcomer_takes_what_the_others_believe_in_place_of_its_own_weights() -> None:
    machine = Machine()
    machine.learner.train = lambda _: Trained(0, 24, 0.0)
    for number, data in ((1, frame_of(1, 2, 3)), (2, frame_of(3, 2, 1))):
        machine.receive(update_of(machine.other(number), data, samples=24), blocks=[data])
    tick = machine.peer.tick()
    assert (tick.heard, tick.merged) == (2, 0)
    assert machine.learner.weights() == pytest.approx([2, 2, 2])
    assert machine.peer.estimate() == pytest.approx([2, 2, 2])
    assert kinds(machine) == ["Join"]


def test_a_newcomer_neither_trains_nor_publishes_while_others_are_not_here_yet() -> None:
    machine = Machine()
    author, data = machine.other(), frame_of(1, 2, 3)
    machine.receive(update_of(author, data))
    machine.tick(5)
    assert machine.monitor.last["catching_up"] == {"done": 0, "known": 1}
    assert (machine.said(), machine.peer.steps) == ([], 0)
    machine.host.blocks[Cid.of(RAW, data)] = data
    machine.tick()
    assert machine.peer.status()["catching_up"] is None
    assert kinds(machine) == ["Join", "Update"]
    assert machine.peer.steps == 4
    machine.learner.train = lambda _: Trained(0, 24, 0.0)
    machine.tick(2)
    assert np.abs(machine.learner.weights() - [1, 2, 3]).max() < 1.5, "it began where the other was"


def test_a_newcomer_that_nobody_answers_founds_the_swarm_after_some_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Machine, "listens", True)
    machine = ticked(11)
    assert (machine.said(), machine.peer.steps) == ([], 0)
    machine.tick()
    assert kinds(machine) == ["Join", "Update"]


def test_own_and_other_replicas_share_the_consensus() -> None:
    machine = ticked(3, manifest=tiny_manifest(codec=FramePolicy("f32", "f32", 32)))
    author, data = machine.other(), frame_of(1, 2, 3)
    message = update_of(author, data, time=machine.clock.time + 1000, samples=24)
    machine.receive(message, blocks=[data])
    machine.tick()
    own = machine.said()[-1]
    assert own.body.samples == 24
    assert own.body.merged == (message.cid.digest[:8],)
    assert message.cid in own.parents
    expected = (np.array([1, 2, 3]) + machine.learner.weights()) / 2
    assert machine.peer.estimate() == pytest.approx(expected, abs=1e-5)


def test_the_estimate_of_a_few_votes_is_averaged_over_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Machine, "follow", 1)
    machine = Machine(manifest=tiny_manifest(codec=FramePolicy("f32", "f32", 1)))
    for number in range(1, 9):
        data = frame_of(number, 2, 3)
        machine.receive(update_of(machine.other(number), data), blocks=[data])
    machine.tick()

    def current() -> Vector:
        return consensus(
            machine.peer.merging._votes(machine.peer.following.replicas),
            machine.manifest.merge.half_life,
            machine.clock.time,
        )

    first = machine.peer.estimate()
    machine.tick()
    assert machine.peer.estimate() == pytest.approx(first + 0.3 * (current() - first), abs=1e-3)
    assert np.abs(current() - first).max() > 0.1
    machine.clock.time += 2 * machine.manifest.merge.half_life
    machine.tick()
    assert machine.peer.estimate() == pytest.approx(current(), abs=1e-3)  # what was believed is too old


def test_between_ticks_what_is_new_is_heard_and_passed_on() -> None:
    machine = ticked()
    other = machine.network.host()
    message = machine.other().say(body=Join(Profile("other", "agent", "1")).to_fields())
    machine.receive(message)
    before = machine.peer.status()["seq"], machine.peer.steps
    assert machine.peer.listen() == 1
    machine.network.run_until(machine.clock.time + 1000)
    assert any(message.cid == entry.head for heard in other.inbox for entry in heard.announcement.entries)
    said = len(other.inbox)
    assert machine.peer.listen() == 0
    machine.network.run_until(machine.clock.time + 1000)
    assert len(other.inbox) == said  # nothing new, nothing said
    assert (machine.peer.status()["seq"], machine.peer.steps) == before


def test_a_merge_counts_ones_own_published_weights_too() -> None:
    machine = ticked(3, manifest=tiny_manifest(codec=FramePolicy("f32", "f32", 32)))
    own, data = machine.learner.weights(), frame_of(1, 2, 3)
    machine.learner.train = lambda _: Trained(0, 24, 0.0)
    machine.receive(update_of(machine.other(), data, time=machine.clock.time, samples=48), blocks=[data])
    machine.tick()
    assert machine.learner.weights() == pytest.approx(own / 3 + 2 / 3 * np.array([1, 2, 3]), abs=1e-5)


def test_a_peer_that_rests_merges_what_is_newest_when_its_cycle_has_to_begin() -> None:
    machine = Machine()
    machine.tick(3)
    machine.compose(Options("me", "trainer", 8, seed=1, steps=4, publish=PublishPolicy(every=5000), rests=True))
    peer, train = machine.peer, machine.learner.train

    def slowly(steps: int) -> Trained:
        machine.clock.time += 2000
        return train(steps)

    machine.learner.train = slowly
    while not peer.tick().published:
        machine.clock.time += 100
    ended, data = machine.clock.time, frame_of(1, 2, 3)
    machine.receive(update_of(machine.other(), data, time=machine.clock.time), blocks=[data])
    assert peer.spare() == 3000, "a cycle takes two seconds, and the next update is due in five"
    tick = peer.tick()
    assert (tick.heard, tick.merged, tick.trained.steps) == (1, 0, 0)
    machine.clock.time = ended + 3000
    tick = peer.tick()
    assert (tick.merged, tick.trained.steps, tick.published is not None) == (1, 4, True)
    assert machine.clock.time == ended + 5000


def test_what_is_said_to_be_merged_is_bounded() -> None:
    machine = ticked(manifest=tiny_manifest(limits=Limits(merged=1)))
    for number in (1, 2):
        data = frame_of(number, 2, 3)
        machine.receive(update_of(machine.other(number), data), blocks=[data])
    machine.tick()
    body = machine.said()[-1].body
    assert machine.peer.status()["following"] == 2
    assert len(body.merged) == 1


BAD_FRAMES = {
    "NaN": {"data": frame_of(1, np.nan, 3)},
    "too large": {"data": frame_of(1, 2, 1e9)},
    "short": {"data": frame_of(1, 2)},
    "wrong count": {"data": frame_of(1, 2, 3, 4), "count": 4},
}
DOUBTFUL_FRAMES = {
    "delta on nothing": {"data": frame_of(1, 2, 3), "kind": DELTA},
    "a codec of tomorrow": {"data": b"12", "frame": FrameHeader(KEY, "q2", COUNT, None).to_fields()},
}


def hear_a_bad_frame(machine: Machine, case: dict[str, Any]) -> Author:
    """Let a machine hear it, and then a good one of the same author."""
    case, author, good = dict(case), machine.other(), frame_of(1, 2, 3)
    data = case.pop("data")
    base = author.say().cid if case.get("kind") == DELTA else None
    if author.last is not None:
        machine.receive(author.last)
    bad = update_of(author, data, base=base, **case)
    machine.receive(bad, blocks=[data])
    machine.tick(3)
    assert bad.cid in machine.peer.tangle
    assert machine.peer.status()["following"] == 0
    assert machine.peer.status()["seq"] == 3
    assert np.isfinite(machine.peer.estimate()).all()
    machine.receive(update_of(author, good), blocks=[good])
    machine.tick()
    return author


@pytest.mark.parametrize("name", DOUBTFUL_FRAMES)
def test_frames_that_this_peer_cannot_decode_are_counted_and_healed_by_the_next_keyframe(name: str) -> None:
    machine = Machine()
    author = hear_a_bad_frame(machine, DOUBTFUL_FRAMES[name])
    assert machine.peer.following.replicas[author.author].vector.tolist() == [1, 2, 3]
    assert machine.problems() == {"FrameError": 1}


@pytest.mark.parametrize("name", BAD_FRAMES)
def test_who_signs_a_frame_that_no_peer_can_decode_is_merged_no_more(name: str) -> None:
    machine = Machine()
    author = hear_a_bad_frame(machine, BAD_FRAMES[name])
    assert machine.peer.following.offences.keys() == {author.author}
    assert not machine.peer.following.replicas
    assert machine.problems() == {"BrokenFrameError": 1}


def test_blocks_that_never_come_do_not_stop_a_peer() -> None:
    machine = Machine()
    author, data, good = machine.other(), frame_of(1, 2, 3), frame_of(4, 5, 6)
    machine.receive(update_of(author, data))
    machine.tick(20)
    assert machine.peer.status()["seq"] is None, "it is new, and the frame may come yet"
    machine.tick(3)
    assert (machine.peer.status()["following"], machine.peer.status()["seq"]) == (0, 3)
    machine.receive(update_of(author, good), blocks=[good])
    machine.tick()
    assert machine.peer.following.replicas[author.author].vector.tolist() == [4, 5, 6]


def test_garbage_from_others_is_counted_and_passed_over() -> None:
    machine = ticked()
    garbage = machine.store.put(DAG_CBOR, b"garbage")
    machine.host.inbox.append(Heard("other", Announcement((Entry(b"8 bytes!", 7, garbage, garbage),))))
    machine.receive(Author(1).say())
    machine.tick(2)
    assert machine.problems() == {"EncodingError": 1, "WrongSwarmError": 1}
    assert "swarm" in machine.peer.status()["last_problems"]["WrongSwarmError"]
    assert machine.peer.status()["seq"] == 3


# -- divergence


def test_a_diverged_learner_starts_over_from_the_consensus() -> None:
    machine = Machine()
    author, data = machine.other(), frame_of(1, -2, 1)
    machine.receive(update_of(author, data), blocks=[data])
    machine.tick(3)
    machine.learner.diverging = True
    machine.tick()
    assert machine.problems() == {"FrameError": 1}
    assert "own weights" in machine.peer.status()["last_problems"]["FrameError"]
    assert machine.peer.status()["seq"] == 3
    assert machine.learner.weights() == pytest.approx(machine.peer.estimate(), abs=1e-3)
    machine.tick(3)
    assert machine.peer.status()["seq"] == 6
    assert machine.problems() == {"FrameError": 1}


def test_a_learner_that_diverges_at_once_starts_over_from_the_first_weights() -> None:
    machine = Machine()
    machine.learner.diverging = True
    machine.tick()
    assert machine.learner.weights().tobytes() == machine.manifest.definition.initial(0).tobytes()
    assert int(machine.learner.state()["steps"][0]) == 0
    machine.tick()
    assert machine.peer.status()["seq"] == 1


def test_large_losses_do_not_stop_a_peer() -> None:
    manifest = tiny_manifest()
    machine = Machine(data=tiny_dataset(manifest, scale=1e9))
    machine.learner.train = lambda steps: Trained(steps, 24, 1.0)
    machine.tick(2)
    assert machine.peer.status()["seq"] == 2


# -- equivocation


def test_evidence_is_published_once_and_the_author_is_left_out() -> None:
    machine = Machine()
    machine.has_followed(machine.other())
    one, two = machine.other().say(time=NOW), machine.other().say(time=NOW + 1)
    machine.tick()
    machine.receive(one, two)
    machine.tick(3)
    third = machine.other().say(time=NOW + 2)
    machine.receive(one, two, third)
    machine.tick(3)
    unaware = machine.other(2).say(third)
    machine.receive(third, unaware)
    machine.tick(3)
    assert unaware.cid in machine.peer.tangle
    assert third.cid not in machine.peer.tangle
    evidence = [message.body for message in machine.said() if isinstance(message.body, Evidence)]
    assert len(evidence) == 1
    assert (evidence[0].author, {evidence[0].first, evidence[0].second}) == (one.author, {one.cid, two.cid})
    assert machine.peer.tangle.is_banned(one.author)
    assert set(machine.problems()) == {"BannedError"}
    assert seqs(machine.said()) == list(range(len(machine.said())))


def test_evidence_is_not_published_again_after_a_restart() -> None:
    machine = Machine()
    machine.has_followed(machine.other())
    machine.receive(machine.other().say(time=NOW), machine.other().say(time=NOW + 1))
    machine.tick(2)
    machine.boot()
    machine.heads_again()
    machine.tick(3)
    machine.heads_again()
    machine.tick(3)
    assert len([message for message in machine.said() if isinstance(message.body, Evidence)]) == 1


def test_a_newcomer_joins_also_where_somebody_has_equivocated() -> None:
    machine = Machine()
    machine.receive(machine.other().say(time=NOW), machine.other().say(time=NOW + 1))
    machine.tick(3)
    assert any(isinstance(message.body, Join) for message in machine.said())


def test_evidence_waits_until_the_clock_has_come_up() -> None:
    machine = ticked(3)
    machine.has_followed(machine.other())
    machine.clock.time -= 3 * 60_000
    machine.receive(machine.other().say(time=NOW), machine.other().say(time=NOW + 1))
    machine.tick()
    assert machine.peer.tangle.is_banned(machine.other().author)
    assert len(machine.said()) == 4
    machine.clock.time += 3 * 60_000
    machine.tick()
    assert any(isinstance(message.body, Evidence) for message in machine.said())


def test_who_forks_again_once_it_is_excused_is_accused_again() -> None:
    machine = ticked(3)
    machine.has_followed(machine.other())
    other = machine.other()
    accusations = lambda: [message.body for message in machine.said() if isinstance(message.body, Evidence)]  # noqa: E731
    machine.receive(other.say(), *other.fork(1))
    machine.receive(*other.fork(1))
    machine.tick(3)
    assert len(accusations()) == 1, "of several forks, one is enough"
    machine.receive(other.say(checkpoint=True, forked=2))
    machine.tick()
    assert not machine.peer.tangle.is_banned(other.author)
    machine.receive(*other.fork(3))
    machine.tick(2)
    assert machine.peer.tangle.is_banned(other.author)
    assert len(set(accusations())) == 2


def test_nobody_is_accused_before_the_own_past_is_here() -> None:
    machine = ticked(3)
    first = machine.said()[0]
    del machine.host.blocks[first.cid]
    machine.boot()
    machine.receive(machine.other().say(time=NOW), machine.other().say(time=NOW + 1))
    machine.tick(3)
    assert machine.peer.tangle.is_banned(machine.other().author)
    machine.receive(first)
    machine.heads_again()
    machine.tick(2)
    assert seqs(machine.said()) == list(range(len(machine.said())))


@pytest.mark.parametrize("kind", ["join", "evidence"])
def test_tips_as_far_ahead_as_allowed_do_not_stop_a_peer(kind: str) -> None:
    machine = Machine()
    machine.tick(1 if kind == "evidence" else 0)
    if kind == "evidence":
        machine.receive(machine.other().say(time=NOW), machine.other().say(time=NOW + 1))
    ahead = machine.clock.time + 1000 + machine.manifest.limits.skew
    machine.receive(machine.other(2).say(time=ahead))
    machine.tick()
    machine.clock.time += HOUR
    machine.tick()
    assert machine.peer.status()["seq"] >= 1


# -- whole swarms


def test_three_peers_come_to_one_tangle_and_one_model() -> None:
    manifest = tiny_manifest()
    datasets = [tiny_dataset(manifest, seed) for seed in range(3)]
    simulation = Simulation(manifest, datasets, Setting(seed=1, weather=Weather(loss=0.1)))
    simulation.run(40_000)
    simulation.restart(1)
    simulation.run(20_000)
    simulation.settle(30_000)
    sets = simulation.message_sets()
    assert sets[0] == sets[1] == sets[2]
    assert sum(member.peer.status()["seq"] for member in simulation.members) > 100
    replicas: dict[tuple[bytes, Cid], bytes] = {}
    for member in simulation.members:
        assert member.peer.errors.counts == {}
        assert member.peer.estimate() == pytest.approx(np.array([1, -2, 1]), abs=0.2)
        for author, replica in member.peer.following.replicas.items():
            vector = replicas.setdefault((author, replica.cid), replica.vector.tobytes())
            assert vector == replica.vector.tobytes()
    assert len(replicas) == 3


def test_a_partition_trains_on_and_heals() -> None:
    manifest = tiny_manifest()
    simulation = Simulation(manifest, [tiny_dataset(manifest, seed) for seed in range(4)], Setting(seed=2))
    simulation.partition([[0, 1], [2, 3]])
    simulation.run(15_000)
    sets = simulation.message_sets()
    assert sets[0] & sets[2] == frozenset()
    simulation.heal()
    simulation.run(5_000)
    simulation.settle(20_000)
    assert len(set(simulation.message_sets())) == 1


def test_a_simulation_replays_byte_for_byte() -> None:
    manifest = tiny_manifest()
    traces = []
    for seed in (3, 3, 4):
        setting = Setting(seed=seed, weather=Weather(loss=0.2))
        simulation = Simulation(manifest, [tiny_dataset(manifest, index) for index in range(3)], setting)
        simulation.run(8_000)
        traces.append(simulation.network.trace.hexdigest())
    assert traces[0] == traces[1] != traces[2]
