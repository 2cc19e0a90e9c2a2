"""A sealed swarm in virtual time: it learns as an open one does, and who has no secret reads nothing of it."""

from collections.abc import Iterator

import numpy as np
import pytest
from sealed_swarm import Ring, name_of, sealed

from learnae.ipld.cid import Cid
from learnae.membership.sealing import Seals
from learnae.models.dataset import Dataset
from learnae.models.optimisers import OptimiserPolicy
from learnae.models.reference.numpy_learner import evaluate
from learnae.ports import Trained
from learnae.protocol.announcements import Announcement
from learnae.protocol.bodies import Metrics
from learnae.simulation.in_memory import MemoryGossip
from learnae.simulation.simulator import Member, Setting, Simulation
from learnae.swarm.manifest import Manifest, TrainingPolicy
from learnae.swarm.presets import dense_config

SECOND = 1000
# those of four letters with CBOR's byte before them: alone, random bytes hold one in 15,000 runs
WORDS = (b"peer-", b"agent", b"dkind", b"update", b"djoin", b"metrics", b"accuracy", b"samples", b"frame", b"codec")


def manifest() -> Manifest:
    training, optimiser = TrainingPolicy(steps=4, batch=8), OptimiserPolicy("momentum", learning_rate=0.1)
    options = {"training": training, "optimiser": optimiser}
    return Manifest("tiny", dense_config(2, (16,), 2, "softmax"), "sparse_categorical_crossentropy", **options)


def rows(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    inputs = np.random.default_rng(seed).normal(size=(count, 2))
    return inputs, (inputs.sum(axis=1) > 0).astype(np.int64)


def swarm(definition: Manifest, rings: list[Ring]) -> Simulation:
    datasets = [Dataset(definition.model, definition.objective) for _ in rings]
    for index, data in enumerate(datasets):
        inputs, classes = rows(index, 60)
        data.add(inputs[:40], classes[:40])
        data.add(inputs[40:], classes[40:], holdout=True)
    return Simulation(definition, datasets, Setting(seed=5), secrets=rings.__getitem__)


def accuracy(simulation: Simulation, index: int) -> float:
    definition = simulation.manifest
    estimate = simulation.members[index].peer.estimate()
    metrics = evaluate(definition.definition, definition.objective, estimate, *rows(99, 500))
    assert metrics is not None
    assert metrics.accuracy is not None
    return metrics.accuracy


class Wiretap:
    """All blocks and announcements that are made, and what they were before: bodies, weights, losses."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.sent: list[bytes] = []
        self.private: list[bytes] = []
        announce, block, fields = MemoryGossip.announce, Seals.block, Metrics.to_fields

        def tap_announce(gossip: MemoryGossip, announcement: Announcement) -> None:
            self.sent.append(announcement.to_bytes())
            announce(gossip, announcement)

        def tap_block(seals: Seals, author: bytes, seq: int, index: int, data: bytes) -> bytes:
            self.private += filter(any, (data[start : start + 8] for start in range(0, len(data) - 7, 8)))
            return block(seals, author, seq, index, data)

        def tap_metrics(metrics: Metrics) -> dict:
            self.private.append(np.array(metrics.loss, ">f8").tobytes())
            return fields(metrics)

        patch.setattr(MemoryGossip, "announce", tap_announce)
        patch.setattr(Seals, "block", tap_block)
        patch.setattr(Metrics, "to_fields", tap_metrics)
        patch.setattr(Member, "is_archive", True)

    def found(self, simulation: Simulation) -> set[bytes]:
        """What was private and can be read in what went out."""
        blocks = {cid: data for host in simulation.network.hosts for cid, data in host.blocks.items()}
        everything = b"\n".join([*self.sent, *blocks.values()])
        return {secret for secret in (*WORDS, *self.private) if secret in everything}


def updates(simulation: Simulation, index: int) -> dict[str, int]:
    """How many messages each of the peers has of the others, by name."""
    peer = simulation.members[index].peer
    return {peer.view.names[author].name: entry.seq for author, entry in peer.tangle.entries()}


def test_a_sealed_swarm_learns_as_an_open_one_and_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    tap, stranger, relay = Wiretap(monkeypatch), Ring(1), Ring()
    stranger.known[name_of(1)] = bytes(32)
    simulation = swarm(sealed(manifest()), [Ring(1), Ring(1), Ring(1), stranger, relay])
    simulation.run(40 * SECOND)

    members, outsider, relaying = simulation.members[:3], *(member.peer for member in simulation.members[3:])
    assert all(accuracy(simulation, index) > 0.95 for index in range(3))
    assert all(set(updates(simulation, index)) == {"peer-0", "peer-1", "peer-2"} for index in range(3))
    assert all(len(member.peer.following.replicas) == 2 for member in members)
    assert all(set(member.peer.errors.counts) <= {"SealError", "SequenceError"} for member in members)
    assert set(outsider.view.names) == {outsider.author}, "with a wrong secret it talks to itself"
    assert not outsider.following.replicas
    assert outsider.errors.counts["SealError"] > 10
    assert (relaying.view.names, relaying.own.last, list(relaying.tangle.cids())) == ({}, None, [])
    assert len(tap.private) > 200
    assert tap.found(simulation) == set()


def test_the_search_finds_all_of_it_in_an_open_swarm(monkeypatch: pytest.MonkeyPatch) -> None:
    tap = Wiretap(monkeypatch)
    simulation = swarm(manifest(), [Ring()] * 3)
    simulation.run(40 * SECOND)
    assert all(accuracy(simulation, index) > 0.95 for index in range(3))
    assert tap.found(simulation) == {*WORDS, *tap.private}


def settle(simulation: Simulation, at_most: int = 30) -> None:
    for _ in range(at_most):
        if len(set(simulation.message_sets())) == 1:
            return
        simulation.settle(SECOND)
    raise AssertionError("they do not know the same")


def test_a_new_key_epoch_stops_nothing_also_where_it_is_heard_of_late() -> None:
    rings = [Ring(1) for _ in range(4)]
    simulation = swarm(sealed(manifest()), rings)
    simulation.run(20 * SECOND)
    before = updates(simulation, 2)
    for ring in rings[:2]:
        ring.give(2)
    simulation.crash(3)  # away while it changes
    simulation.run(10 * SECOND)

    late = simulation.members[2].peer
    assert late.errors.counts["UnknownEpochError"] > 1
    assert updates(simulation, 2)["peer-0"] < updates(simulation, 0)["peer-0"] - 5
    assert updates(simulation, 0)["peer-2"] > before["peer-2"] + 5, "what is sealed under an older epoch is read"
    rings[2].give(2)
    rings[3].give(2)
    simulation.restart(3)
    simulation.run(20 * SECOND)
    settle(simulation)

    after = updates(simulation, 2)
    assert all(after[name] > before[name] + 20 for name in ("peer-0", "peer-1", "peer-2"))
    assert after["peer-3"] > before["peer-3"] + 5
    assert {body_epoch(simulation, cid) for cid in heads(simulation)} == {name_of(2)}
    assert all(accuracy(simulation, index) > 0.95 for index in range(4))
    assert all(set(member.peer.errors.counts) <= {"UnknownEpochError"} for member in simulation.members)


def test_a_newcomer_after_a_removal_reads_all_members_and_nothing_older() -> None:
    """Also those that have nothing new to say."""
    rings = [Ring(1), Ring(1), Ring(1), Ring(2)]
    simulation = swarm(sealed(manifest()), rings)
    simulation.crash(3)
    simulation.run(20 * SECOND)
    simulation.settle(SECOND)
    for member in simulation.members[:3]:
        member.peer.training.learner.train = lambda _: Trained(0, 40, 0.0)
    for ring in rings[:3]:
        ring.give(2)
    simulation.run(5 * SECOND)
    simulation.restart(3)
    simulation.run(40 * SECOND)

    newcomer = simulation.members[3].peer
    assert set(updates(simulation, 3)) == {"peer-0", "peer-1", "peer-2", "peer-3"}
    assert len(newcomer.following.replicas) == 3
    assert accuracy(simulation, 3) > 0.95


def heads(simulation: Simulation) -> Iterator[Cid]:
    for _, entry in simulation.members[0].peer.tangle.entries():
        yield entry.head


def body_epoch(simulation: Simulation, cid: Cid) -> bytes:
    data = simulation.members[0].host.blocks[cid]
    return simulation.opener(data, simulation.manifest.swarm, simulation.manifest.limits).body.data[:8]
