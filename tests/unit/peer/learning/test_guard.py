"""A member that sends a trap: no other trains on it, it is named and not heard for a while, and the others go on."""

from dataclasses import replace

import numpy as np
from attacked import WRIST, dataset_of, person

from learnae.audit.imprint import imprint
from learnae.error_log import ErrorLog
from learnae.ipld.cid import RAW, Cid
from learnae.models.dataset import Dataset
from learnae.models.passive_learner import PassiveLearner
from learnae.overriding import override
from learnae.peer.following import Replica
from learnae.peer.learning.guard import MUTED_MS, Guard
from learnae.ports import Learner, Trained
from learnae.protocol.identity import peer_name
from learnae.simulation.simulator import Setting, Simulation, numpy_learner
from learnae.swarm.initial_weights import start_blocks, start_links
from learnae.swarm.manifest import Manifest
from learnae.weights.codecs import Vector

SECOND = 1000
START = np.zeros(2, np.float32)


def replica(*values: float) -> Replica:
    vector = np.array(values, np.float32)
    return Replica(vector, 100, 0, False, Cid.of(RAW, vector.tobytes()))


def mean(replicas: dict[bytes, Replica]) -> Vector:
    return np.mean([each.vector for each in replicas.values()] or [START], axis=0)


def guard_of() -> tuple[Guard, ErrorLog]:
    errors = ErrorLog()
    return Guard(lambda weights, before, start: "too far" if np.linalg.norm(weights) > 3 else "", errors, START), errors


def test_who_brings_a_trap_is_muted_named_and_heard_again() -> None:
    guard, errors = guard_of()
    given = {b"a" * 32: replica(1, 0), b"b" * 32: replica(0, 1), b"c" * 32: replica(0, 50)}
    found = guard.combine(given, START, mean, now=0)
    assert found is not None
    assert found.tolist() == [0.5, 0.5]
    assert list(guard.heard(given)) == [b"a" * 32, b"b" * 32]
    assert peer_name(b"c" * 32) in errors.last["TrapError"]
    guard.heal(MUTED_MS - 1)
    assert len(guard.heard(given)) == 2
    guard.heal(MUTED_MS)
    assert len(guard.heard(given)) == 3


def test_a_trap_that_no_one_brings_alone_is_not_taken() -> None:
    guard, errors = guard_of()
    given = {bytes([number]) * 32: replica(2.9, number / 10) for number in range(4)}

    def total(replicas: dict[bytes, Replica]) -> Vector:
        return np.sum([each.vector for each in replicas.values()] or [START], axis=0)

    assert guard.combine(given, START, total, now=0) is None
    assert guard.combine(given, START, total, now=1) is None
    assert errors.counts == {"TrapError": 1}, "the same once more is not looked at again"
    assert len(guard.heard(given)) == 4


class Trapper(PassiveLearner):
    """Publishes one trap again and again, with the votes of a million rows."""

    def __init__(self, trap: Vector) -> None:
        super().__init__(len(trap))
        self._trap, self._number = trap, 0

    @override
    def train(self, steps: int) -> Trained:
        self._number += 1
        self._weights = self._trap * np.float32(1 + 0.1 * (self._number % 2))  # each update has something new
        return Trained(steps, 1_000_000, 0.0)


def test_a_swarm_goes_on_without_who_sends_a_trap() -> None:
    trap = imprint(WRIST.definition, person(4).rows, np.random.default_rng(1))
    people = [dataset_of(WRIST, person(number)) for number in (1, 2, 3)]
    hostile = people[2]

    def learner(manifest: Manifest, data: Dataset, rng: np.random.Generator) -> Learner:
        return Trapper(trap) if data is hostile else numpy_learner(manifest, data, rng)

    simulation = Simulation(WRIST, people, Setting(seed=1, listen=250), learner)
    simulation.run(40 * SECOND)
    author = simulation.members[2].identity.author
    for member in simulation.members[:2]:
        status = member.peer.status()
        assert author in member.peer.following.replicas, "its weights are here"
        assert peer_name(author) in status["last_problems"]["TrapError"]
        check = member.peer.options.suspicion
        start = WRIST.definition.initial(WRIST.seed)
        assert check(member.peer.training.learner.weights(), start, start) == ""
        assert member.peer.training.loss < 0.5


def test_starting_weights_that_are_a_trap_are_left_for_the_seeds() -> None:
    trap = imprint(WRIST.definition, person(4).rows, np.random.default_rng(1))
    blocks = start_blocks(trap)
    manifest = replace(WRIST, start=start_links(blocks))
    simulation = Simulation(manifest, [dataset_of(manifest, person(1))], Setting(seed=1))
    for block in blocks:
        simulation.members[0].peer.ports.store.put(RAW, block)
    simulation.run(30 * SECOND)
    peer = simulation.members[0].peer
    assert "starts from" in peer.status()["last_problems"]["TrapError"]
    assert peer.steps > 0
    seeded = WRIST.definition.initial(manifest.seed)
    assert peer.options.suspicion(peer.training.learner.weights(), seeded, seeded) == ""
