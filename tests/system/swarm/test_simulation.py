"""Whole swarms in virtual time: lost packets, crashing machines, partitions, liars, long absences, pruning.

Run as a program with a seed, it prints what a stormy swarm came to: replays in other processes
are compared with that.
"""

import hashlib
import json
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from learnae.ipld.cid import DAG_CBOR, RAW, Cid
from learnae.models.dataset import Dataset
from learnae.models.optimisers import OptimiserPolicy
from learnae.models.reference.numpy_learner import evaluate
from learnae.protocol.bodies import Evidence
from learnae.protocol.identity import Identity
from learnae.protocol.limits import Limits
from learnae.protocol.messages import Message, compose
from learnae.protocol.tangle import Node
from learnae.simulation.in_memory import MemoryBlockStore, MemoryStateStore
from learnae.simulation.network import Weather
from learnae.simulation.simulator import Setting, Simulation
from learnae.swarm.manifest import Manifest, TrainingPolicy
from learnae.swarm.presets import dense_config
from learnae.weights.frames import FramePolicy

SECOND = 1000
PEERS = 30
CHURN = 0.3  # share of machines that are down at any time
USUAL = Limits()
WEATHER = Weather(delay=(10, 400), loss=0.2)


def tiny_manifest(limits: Limits = USUAL, every: int = 32) -> Manifest:
    """Two inputs, two classes: as little arithmetic as a swarm can have."""
    training, optimiser = TrainingPolicy(steps=1, batch=8), OptimiserPolicy("momentum", learning_rate=0.1)
    options = {"training": training, "optimiser": optimiser, "codec": FramePolicy(every=every), "limits": limits}
    return Manifest("tiny", dense_config(2, (4,), 2, "softmax"), "sparse_categorical_crossentropy", **options)


def draw_rows(rng: np.random.Generator, count: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    rows = rng.normal(size=(count, 2))
    return rows, (rows.sum(axis=1) > 0).astype(np.int64)


def swarm(count: int, setting: Setting, manifest: Manifest | None = None) -> Simulation:
    manifest = manifest or tiny_manifest()
    datasets = [Dataset(manifest.model, manifest.objective) for _ in range(count)]
    for index, data in enumerate(datasets):
        data.add(*draw_rows(np.random.default_rng(index), 20))
    return Simulation(manifest, datasets, setting)


# -- what must hold in every swarm of honest peers


def settle(simulation: Simulation, at_most: int = 60) -> int:
    """Let peers only hear until all know the same; returns the seconds that it took."""
    for second in range(at_most):
        if len(set(simulation.message_sets())) == 1:
            return second
        simulation.settle(SECOND)
    sizes = sorted(map(len, simulation.message_sets()))
    raise AssertionError(f"no convergence in {at_most} s: peers know between {sizes[0]} and {sizes[-1]} messages")


def nodes(simulation: Simulation, index: int) -> dict[Cid, Node]:
    """All messages that one member knows."""
    tangle = simulation.members[index].peer.tangle
    found = {cid: tangle.node(cid) for cid in tangle.cids()}
    assert all(found.values())
    return found  # type: ignore[return-value]


def sequences(simulation: Simulation, index: int) -> dict[bytes, list[int]]:
    """The seqs of every author as one member knows them, ascending."""
    found: dict[bytes, list[int]] = {}
    for node in sorted(nodes(simulation, index).values(), key=lambda node: node.seq):
        found.setdefault(node.author, []).append(node.seq)
    return found


def assert_chains_are_whole(simulation: Simulation) -> None:
    """Nobody is banned, and every author's seqs are 0, 1, 2 ... without gap or double."""
    for index, member in enumerate(simulation.members):
        for author, seqs in sequences(simulation, index).items():
            assert not member.peer.tangle.is_banned(author)
            assert seqs == list(range(len(seqs)))


def assert_no_problems(simulation: Simulation) -> None:
    """Honest peers never find fault with each other, except that a message may come twice."""
    counts = sum((Counter(member.peer.errors.counts) for member in simulation.members), Counter[str]())
    counts.pop("ReplayError", None)
    assert not counts, [member.peer.errors.last for member in simulation.members if member.peer.errors.counts]


# -- a storm


@dataclass(frozen=True)
class Storm:
    """What came of it; ``crashes`` and ``down`` (the mean share of machines) show that it was one."""

    trace: str
    messages: tuple[str, ...]
    crashes: int
    down: float


@cache
def storm(seed: int) -> tuple[Simulation, Storm]:
    """A swarm after two partitions that formed and healed, while machines crashed and came back all the time; settled.

    Run once for all tests that look at it.
    """
    simulation = swarm(PEERS, Setting(seed=seed, weather=WEATHER))
    rng = random.Random(f"storm {seed}")
    crashes, down = 0, 0
    for second in range(60):
        if second in (10, 35):
            simulation.partition(random_groups(rng, 2 if second == 10 else 3))
        if second in (25, 50):
            simulation.heal()
        crashes += churn(simulation, rng)
        down += len(simulation.network.down)
        simulation.run(SECOND)
    for index in sorted(simulation.network.down):
        simulation.restart(index)
    settle(simulation)
    known = [b"".join(sorted(cid.to_bytes() for cid in cids)) for cids in simulation.message_sets()]
    digests = tuple(hashlib.sha256(names).hexdigest() for names in known)
    return simulation, Storm(simulation.network.trace.hexdigest(), digests, crashes, down / 60 / PEERS)


def churn(simulation: Simulation, rng: random.Random) -> int:
    """Crash and restart machines at random so that CHURN of them are down; returns how many crashed."""
    crashes = 0
    for index in range(PEERS):
        if index in simulation.network.down:
            if rng.random() < 0.25:
                simulation.restart(index)
        elif rng.random() < 0.25 * CHURN / (1 - CHURN):
            simulation.crash(index)
            crashes += 1
    return crashes


def random_groups(rng: random.Random, count: int) -> list[list[int]]:
    indices = list(range(PEERS))
    rng.shuffle(indices)
    return [indices[number::count] for number in range(count)]


@pytest.mark.slow
def test_after_a_storm_all_peers_know_the_same():
    simulation, after = storm(1)

    assert after.crashes > PEERS
    assert 0.2 < after.down < 0.4
    assert len(set(after.messages)) == 1
    authors = sequences(simulation, 0)
    assert len(authors) == PEERS
    assert sum(map(len, authors.values())) > 600, "the storm stopped the swarm"
    assert_chains_are_whole(simulation)
    assert_no_problems(simulation)


@pytest.mark.slow
def test_after_a_storm_training_goes_on_everywhere():
    simulation, _ = storm(1)
    before = sequences(simulation, 0)

    simulation.run(10 * SECOND)
    settle(simulation)

    after = sequences(simulation, 0)
    assert all(len(after[author]) >= len(before[author]) + 7 for author in before)
    assert all(len(member.peer.following.replicas) >= 6 for member in simulation.members)  # of 8: one is redrawn
    assert_chains_are_whole(simulation)


@pytest.mark.slow
def test_a_storm_replays_byte_for_byte_in_other_processes():
    _, after = storm(1)
    command, root = [sys.executable, __file__, "1"], Path(__file__).parents[3]
    environments = [{**os.environ, "PYTHONHASHSEED": seed} for seed in "01"]
    replays = [subprocess.Popen(command, stdout=subprocess.PIPE, env=each, cwd=root) for each in environments]
    for replay in replays:
        output, _ = replay.communicate(timeout=600)
        assert replay.returncode == 0
        assert json.loads(output) == {"trace": after.trace, "messages": list(after.messages)}


def short_run(seed: int) -> str:
    simulation = swarm(6, Setting(seed=seed, weather=WEATHER))
    simulation.run(10 * SECOND)
    return simulation.network.trace.hexdigest()


def test_the_seed_and_nothing_else_decides_what_happens():
    assert short_run(3) == short_run(3)
    assert short_run(3) != short_run(4)


def mean_age(setting: Setting) -> float:
    simulation = swarm(16, setting)
    simulation.run(12 * SECOND)
    now = simulation.clock.time
    ages = [now - replica.time for each in simulation.members for replica in each.peer.following.replicas.values()]
    return sum(ages) / len(ages)


def test_who_listens_between_ticks_merges_younger_weights():
    assert mean_age(Setting(seed=3, listen=250)) < 0.6 * mean_age(Setting(seed=3))


# -- who is followed


def test_followed_peers_change_at_every_merge_and_cost_no_more_frames():
    """With keyframes as small as deltas and often enough, nobody pays for a chain."""
    simulation = swarm(16, Setting(seed=4, follow=4, listen=250), tiny_manifest(every=4))
    simulation.run(5 * SECOND)
    before = [member.peer.following.redraws for member in simulation.members]
    simulation.run(20 * SECOND)
    redraws = [member.peer.following.redraws - old for member, old in zip(simulation.members, before, strict=True)]
    assert sum(redraws) / len(redraws) > 20
    assert all(len(member.peer.following.replicas) == 4 for member in simulation.members)


# -- partitions


def test_a_partition_trains_on_and_what_both_halves_said_survives():
    simulation = swarm(8, Setting(seed=5))
    simulation.run(5 * SECOND)
    simulation.partition([range(4), range(4, 8)])
    simulation.run(20 * SECOND)
    left, right = simulation.message_sets()[0], simulation.message_sets()[7]
    assert len(left - right) > 40
    assert len(right - left) > 40

    simulation.heal()
    settle(simulation, at_most=20)

    assert simulation.message_sets()[0] >= left | right
    assert_chains_are_whole(simulation)


# -- an author that says two things at once


class Liar:
    """Signs two different messages with one seq, and goes on after each as if nothing had happened."""

    def __init__(self, simulation: Simulation) -> None:
        self.identity = Identity.from_seed(b"liar".ljust(32))
        self._simulation = simulation

    @property
    def author(self) -> bytes:
        return self.identity.author

    def say(self, kind: str, previous: Message | None = None) -> Message:
        seq, parents, time = 0, (), self._simulation.clock.now()
        if previous:
            seq, parents, time = previous.seq + 1, (previous.cid,), max(time, previous.time + 20)
        return compose(self.identity, self._simulation.manifest.swarm, seq, parents, time, {"kind": kind})

    def tell(self, index: int, messages: Sequence[Message]) -> None:
        host = self._simulation.network.hosts[index]
        for message in messages:
            MemoryBlockStore(host).put(DAG_CBOR, message.data)
        host.inbox.append([message.cid for message in messages])


def honest_messages(simulation: Simulation, liar: Liar) -> list[frozenset[Cid]]:
    known = [nodes(simulation, index) for index in range(len(simulation.members))]
    return [frozenset(cid for cid, node in each.items() if node.author != liar.author) for each in known]


def lie_in(simulation: Simulation, seconds: int) -> tuple[Liar, Message, tuple[Message, Message]]:
    """After a while, an author has begun, and goes on in two ways."""
    liar = Liar(simulation)
    simulation.run(seconds * SECOND)
    start = liar.say("start")
    return liar, start, (liar.say("yes", start), liar.say("no", start))


def lied_to_swarm() -> tuple[Simulation, Liar, tuple[Message, Message]]:
    """Each half of a partition believes another half of the lie, and builds on it; then it heals."""
    simulation = swarm(12, Setting(seed=6, weather=WEATHER))
    liar, start, halves = lie_in(simulation, 5)
    simulation.partition([range(6), range(6, 12)])
    for index, half in ((1, halves[0]), (10, halves[1])):
        liar.tell(index, [start, half, liar.say("more", half)])
    simulation.run(10 * SECOND)
    return simulation, liar, halves


def test_an_equivocating_author_is_banned_by_everybody_and_the_rest_converges():
    simulation, liar, halves = lied_to_swarm()
    assert not any(member.peer.tangle.is_banned(liar.author) for member in simulation.members)

    simulation.heal()
    simulation.run(15 * SECOND)
    for _ in range(60):  # one in three requests goes unanswered: most are here soon, the last takes long
        simulation.settle(SECOND)
        if len(set(honest_messages(simulation, liar))) == 1:
            break

    for index, member in enumerate(simulation.members):
        assert all(half.cid in member.peer.tangle for half in halves), f"peer {index} lacks the proof"
        assert member.peer.tangle.is_banned(liar.author)
        assert liar.author not in member.peer.following.live(simulation.clock.now())
    assert len(set(honest_messages(simulation, liar))) == 1
    honest = {member.peer.author for member in simulation.members}
    assert not any(member.peer.tangle.is_banned(author) for member in simulation.members for author in honest)
    for author, seqs in sequences(simulation, 0).items():
        assert author == liar.author or seqs == list(range(len(seqs)))


def test_one_witness_of_a_lie_is_enough():
    """Nobody passes on a banned author's words, so the others must ask for the proof by name."""
    simulation = swarm(8, Setting(seed=17))
    liar, start, halves = lie_in(simulation, 3)
    liar.tell(1, [start, halves[0]])
    simulation.run(6 * SECOND)
    assert all(halves[0].cid in member.peer.tangle for member in simulation.members)

    liar.tell(3, [halves[1]])
    simulation.run(10 * SECOND)

    for member in simulation.members:
        assert halves[1].cid in member.peer.tangle
        assert member.peer.tangle.is_banned(liar.author)


def test_what_a_banned_author_says_later_spreads_no_further():
    simulation, liar, halves = lied_to_swarm()
    simulation.heal()
    simulation.run(15 * SECOND)
    late = liar.say("forgive me", liar.say("more", halves[0]))

    liar.tell(3, [late])
    simulation.run(10 * SECOND)

    assert not any(late.cid in member.peer.tangle for member in simulation.members)
    assert simulation.members[3].peer.errors.counts["BannedError"]


def test_everybody_who_sees_the_lie_says_so_once_at_most():
    simulation, liar, _ = lied_to_swarm()
    simulation.heal()
    simulation.run(20 * SECOND)
    simulation.settle(10 * SECOND)

    blocks = simulation.network.hosts[0].blocks
    evidence = [
        message
        for cid in simulation.members[0].peer.tangle.cids()
        if cid in blocks and isinstance((message := opened(simulation, blocks[cid])).body, Evidence)
    ]
    accusers = Counter(message.author for message in evidence if message.body.author == liar.author)
    assert accusers
    assert set(accusers.values()) == {1}


def opened(simulation: Simulation, block: bytes) -> Message:
    return simulation.opener(block, simulation.manifest.swarm, simulation.manifest.limits)


# -- catching up


@pytest.mark.parametrize(("loss", "seconds"), [(0.0, 6), (0.2, 25)])
def test_a_peer_that_was_down_for_long_catches_up_soon(loss, seconds):
    simulation = swarm(10, Setting(seed=7, weather=Weather(loss=loss)))
    simulation.run(5 * SECOND)
    simulation.crash(9)
    simulation.run(80 * SECOND)
    missed = simulation.message_sets()[0] - simulation.message_sets()[9]
    assert len(missed) > 600

    simulation.restart(9)
    taken = 0
    while not simulation.message_sets()[9] >= missed and taken < 60:
        simulation.run(SECOND)
        taken += 1

    assert taken <= seconds, f"{len(missed)} messages took {taken} ticks"
    simulation.run(5 * SECOND)
    assert len(simulation.members[9].peer.following.replicas) >= 6
    settle(simulation)
    assert_chains_are_whole(simulation)


def test_a_newcomer_without_any_history_catches_up_too():
    simulation = swarm(10, Setting(seed=8))
    simulation.crash(9)
    simulation.run(60 * SECOND)
    missed = simulation.message_sets()[0]

    simulation.restart(9)
    simulation.run(8 * SECOND)

    assert simulation.message_sets()[9] >= missed
    assert simulation.members[9].peer.author in sequences(simulation, 0)


def test_a_peer_whose_state_is_lost_continues_its_chain_where_blocks_are_shared():
    simulation = swarm(6, Setting(seed=11))
    simulation.run(10 * SECOND)
    before = sequences(simulation, 5)[simulation.members[5].peer.author]
    simulation.crash(5)
    simulation.members[5]._state = MemoryStateStore()
    simulation.run(5 * SECOND)

    simulation.network.down.discard(5)
    simulation.network.hosts[5].inbox = [simulation.members[0].peer.tangle.heads()]
    for data in list(simulation.network.hosts[0].blocks.values()):  # as in a directory of one machine
        MemoryBlockStore(simulation.network.hosts[5]).put(DAG_CBOR, data)
    simulation.members[5].peer = simulation.members[5].boot()
    simulation.run(10 * SECOND)

    settle(simulation)
    assert_chains_are_whole(simulation)
    assert len(sequences(simulation, 0)[simulation.members[5].peer.author]) > len(before) + 6


SLOW = Weather(delay=(2000, 6000), loss=0.2)


def restored_swarm() -> tuple[Simulation, bytes, list[int]]:
    """A swarm whose peer 5 comes back from an image of its disk, older than what the others have heard of it."""
    simulation = swarm(6, Setting(seed=21))
    simulation.run(20 * SECOND)
    member = simulation.members[5]
    image, blocks = member._state.load(), dict(member.host.blocks)
    assert image is not None
    simulation.run(20 * SECOND)
    simulation.crash(5)
    simulation.run(90 * SECOND)
    said = sequences(simulation, 0)[member.peer.author]
    messages = [opened(simulation, block) for cid, block in blocks.items() if cid.codec != RAW]
    assert said[-1] > max(message.seq for message in messages if message.author == member.peer.author) + 10
    member._state.save(image)
    member.host.blocks = blocks
    return simulation, member.peer.author, said


@pytest.mark.parametrize("weather", [Weather(), SLOW], ids=["quick", "slow"])
def test_a_peer_restored_from_an_old_image_continues_what_the_others_have_heard(weather):
    simulation, author, said = restored_swarm()
    simulation.network.weather = weather
    simulation.restart(5)
    steps = simulation.members[5].peer.steps
    simulation.run(10 * SECOND)
    assert simulation.members[5].peer.status()["listening"]
    assert simulation.members[5].peer.steps > steps

    simulation.run(80 * SECOND)
    simulation.network.weather = Weather()
    settle(simulation)

    assert_chains_are_whole(simulation)
    assert len(sequences(simulation, 0)[author]) > len(said) + 20
    assert_no_problems(simulation)


def test_a_peer_restored_from_an_old_image_where_nobody_is_left_goes_on_after_a_while():
    simulation, author, said = restored_swarm()
    for index in range(5):
        simulation.crash(index)
    simulation.restart(5)
    simulation.run(290 * SECOND)
    before = sequences(simulation, 5)[author]
    assert len(before) < len(said)
    simulation.run(20 * SECOND)
    assert len(sequences(simulation, 5)[author]) > len(before) + 5


def test_a_peer_alone_with_its_state_goes_on_though_all_its_blocks_are_lost():
    simulation = swarm(1, Setting(seed=13))
    simulation.run(10 * SECOND)
    spoken = simulation.members[0].peer.status()["seq"]
    simulation.crash(0)
    forget_blocks(simulation, 0)

    simulation.restart(0)
    simulation.run(80 * SECOND)

    peer = simulation.members[0].peer
    assert peer.status()["seq"] > spoken + 20
    assert not peer.tangle.is_banned(peer.author)


def forget_blocks(simulation: Simulation, index: int) -> None:
    host = simulation.network.hosts[index]
    MemoryBlockStore(host).delete(list(host.blocks))


def test_a_peer_that_lost_all_its_blocks_fetches_them_again():
    simulation = swarm(6, Setting(seed=14))
    simulation.run(20 * SECOND)
    simulation.crash(5)
    forget_blocks(simulation, 5)

    simulation.restart(5)
    simulation.run(10 * SECOND)

    settle(simulation)
    assert_chains_are_whole(simulation)
    assert len(simulation.members[5].peer.following.replicas) == 5


# -- following


def test_replicas_keep_up_though_frames_take_as_long_as_a_tick():
    """Each frame arrives when the next is announced already: what is here must be decoded all the same."""
    simulation = swarm(8, Setting(seed=15, weather=Weather(delay=(900, 1100))))
    simulation.run(40 * SECOND)

    now = simulation.clock.now()
    ages = [now - replica.time for member in simulation.members for replica in member.peer.following.replicas.values()]

    assert len(ages) == 8 * 7
    assert max(ages) < 15 * SECOND


# -- pruning


HORIZON = 16 * SECOND
FORGETFUL = Limits(horizon=HORIZON, skew=2 * SECOND)


def largest_over(simulation: Simulation, seconds: int) -> tuple[int, int]:
    """The messages of the largest tangle, and the most blocks on one machine."""
    messages = blocks = 0
    for _ in range(seconds):
        simulation.run(SECOND)
        messages = max(messages, *(len(member.peer.tangle) for member in simulation.members))
        blocks = max(blocks, *(len(host.blocks) for host in simulation.network.hosts))
    return messages, blocks


@pytest.mark.parametrize("loss", [0.0, 0.2])
def test_with_a_short_horizon_memory_stays_bounded_while_training_continues(loss):
    simulation = swarm(9, Setting(seed=10, weather=Weather(loss=loss)), tiny_manifest(FORGETFUL, every=8))
    simulation.run(2 * HORIZON)

    early_messages, early_blocks = largest_over(simulation, 20)
    simulation.run(6 * HORIZON)
    messages, blocks = largest_over(simulation, 20)

    within = 9 * (HORIZON + HORIZON // 16) // SECOND  # what the horizon holds, until the next pruning
    assert messages <= 1.5 * within  # half as much again for parents and frame chains beyond the cut
    assert messages <= 1.2 * early_messages
    assert blocks <= 1.2 * early_blocks
    steps = [member.peer.steps for member in simulation.members]
    assert min(steps) > 0.8 * (8 * HORIZON / SECOND + 40)
    assert all(len(member.peer.following.replicas) >= 6 for member in simulation.members)
    assert_no_problems(simulation)


def test_a_newcomer_joins_where_the_past_is_already_forgotten():
    simulation = swarm(8, Setting(seed=11), tiny_manifest(FORGETFUL, every=8))
    simulation.crash(7)
    simulation.run(5 * HORIZON)

    simulation.restart(7)
    simulation.run(10 * SECOND)

    newcomer = simulation.members[7].peer
    assert len(newcomer.following.replicas) == 7
    assert newcomer.steps >= 7
    assert all(newcomer.author in member.peer.following.news for member in simulation.members)
    assert accuracy(simulation, 7) > max(0.9, accuracy(simulation, 0) - 0.05)


def accuracy(simulation: Simulation, index: int) -> float:
    """Of a member's consensus estimate, on rows that nobody has seen."""
    rows, targets = draw_rows(np.random.default_rng(99), 500)
    manifest, estimate = simulation.manifest, simulation.members[index].peer.estimate()
    reached = evaluate(manifest.model, manifest.objective, estimate, rows.astype(np.float32), targets)
    assert reached is not None
    assert reached.accuracy is not None
    return reached.accuracy


def test_a_newcomer_can_follow_an_author_whose_keyframe_is_older_than_the_horizon():
    """Its last frame is young enough to count, so what that stands on must be kept."""
    simulation = swarm(6, Setting(seed=18), tiny_manifest(FORGETFUL, every=1024))
    simulation.crash(5)
    silent = simulation.members[0].peer
    while keyframe_age(simulation, 0) < HORIZON * 7 // 16:
        simulation.run(SECOND // 4)
    simulation.crash(0)
    simulation.run(HORIZON * 5 // 8)
    assert keyframe_age(simulation, 0) > HORIZON

    simulation.restart(5)
    seconds = []  # it takes some to find all, and at last the frame is too old to count
    for _ in range(10):
        simulation.run(SECOND)
        seconds.append(silent.author in simulation.members[5].peer.following.replicas)
    assert sum(seconds) >= 3


def keyframe_age(simulation: Simulation, index: int) -> int:
    """How long ago a member published its last keyframe, in ms."""
    author, now = simulation.members[index].peer.author, simulation.clock.now()
    own = [node for node in nodes(simulation, index).values() if node.author == author]
    return now - max((node.time for node in own if node.frame and node.frame.base is None), default=now)


def test_a_peer_that_was_down_beyond_the_horizon_comes_back():
    simulation = swarm(8, Setting(seed=12), tiny_manifest(FORGETFUL, every=8))
    simulation.run(HORIZON)
    simulation.crash(7)
    simulation.run(4 * HORIZON)

    simulation.restart(7)
    simulation.run(2 * HORIZON)

    returned = simulation.members[7].peer
    assert len(returned.following.replicas) == 7
    assert all(
        member.peer.following.replicas.get(returned.author) for member in simulation.members if member.peer != returned
    )
    assert len(returned.tangle) <= 1.2 * len(simulation.members[0].peer.tangle)


def test_a_message_that_never_arrives_is_done_without_once_nobody_keeps_it():
    """All that follows stands on it; a peer that waited for it for ever would be out of the swarm."""
    simulation = swarm(6, Setting(seed=17), tiny_manifest(FORGETFUL, every=8))
    simulation.run(7 * SECOND)
    lose_next_message(simulation, author=0, at=5)
    simulation.run(HORIZON // 2)
    behind = recent_messages(simulation, 0) - recent_messages(simulation, 5)
    assert len(behind) > 20, "nothing was lost"

    for _ in range(2 * HORIZON // SECOND):
        simulation.run(SECOND)
        assert_heads_are_not_approved(simulation, 5)
    simulation.settle(5 * SECOND)

    recent = recent_messages(simulation, 0)
    assert len(recent) > 10
    assert recent_messages(simulation, 5) == recent
    assert len(simulation.members[5].peer.following.replicas) == 5


def assert_heads_are_not_approved(simulation: Simulation, index: int) -> None:
    """What some other message stands on is no head any more."""
    approved = {parent for node in nodes(simulation, index).values() for parent in node.parents}
    assert approved.isdisjoint(simulation.members[index].peer.tangle.heads())


def lose_next_message(simulation: Simulation, author: int, at: int) -> None:
    """Let one new message of ``author`` and none of its copies ever reach the host ``at``."""
    host, receive, lost = simulation.network.hosts[at], simulation.network.hosts[at].receive, set[Cid]()
    lossy = simulation.members[author].peer.author

    def receive_others(cid: Cid, data: bytes) -> None:
        if not lost and cid.codec == DAG_CBOR and opened(simulation, data).author == lossy:
            lost.add(cid)
        if cid not in lost:
            receive(cid, data)

    host.receive = receive_others


def recent_messages(simulation: Simulation, index: int) -> set[Cid]:
    """What a member knows of the last eight seconds."""
    since = simulation.clock.now() - HORIZON // 2
    return {cid for cid, node in nodes(simulation, index).items() if node.time >= since}


def main() -> None:
    _, after = storm(int(sys.argv[1]))
    json.dump({"trace": after.trace, "messages": after.messages}, sys.stdout)


if __name__ == "__main__":
    main()
