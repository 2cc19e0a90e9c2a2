"""A member that sends a trap: no other trains on it, it is named and not heard until its next update."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from bench.rigs.attacked import WRIST, dataset_of, person
from learnae.audit.imprint import imprint
from learnae.basics.error_log import ErrorLog
from learnae.basics.overriding import override
from learnae.ipld.cid import RAW, Cid
from learnae.models.dataset import Dataset
from learnae.models.passive_learner import PassiveLearner
from learnae.models.traps.trap_check import TrapCheck
from learnae.peer.following import Replica
from learnae.peer.learning.guard import NAMED_MS, Guard
from learnae.ports import Learner, Trained
from learnae.privacy.floors import Floors
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


class TooFar:
    """Takes long weights for a trap; ``turns`` makes what is to be looked at in place of them."""

    def __init__(self, turns: Callable[[Vector], Vector | None] = lambda _: None) -> None:
        self._turns, self.seen = turns, []

    def __call__(self, weights: Vector, before: Vector, start: Vector, others: Sequence[Vector] = ()) -> str:
        self.seen.append(len(others))
        return "too far" if np.linalg.norm(weights) > 3 else ""

    def turned_apart(self, weights: Vector, start: Vector) -> Vector | None:
        return self._turns(weights)


def guard_of(turns: Callable[[Vector], Vector | None] = lambda _: None) -> tuple[Guard, ErrorLog]:
    errors = ErrorLog()
    return Guard(TooFar(turns), errors, START), errors


def test_who_brings_a_trap_is_muted_named_and_heard_again() -> None:
    guard, errors = guard_of()
    given = {b"a" * 32: replica(1, 0), b"b" * 32: replica(0, 1), b"c" * 32: replica(0, 50)}
    found = guard.combine(given, START, mean, now=0)
    assert found is not None
    assert found.tolist() == [0.5, 0.5]
    assert list(guard.heard(given)) == [b"a" * 32, b"b" * 32]
    assert peer_name(b"c" * 32) in errors.last["TrapError"]
    assert errors.counts == {"TrapError": 1}
    better = {**given, b"c" * 32: replica(1, 1)}
    assert len(guard.heard(better)) == 3, "its next update is looked at anew"
    for now, warnings in ((1, 1), (NAMED_MS, 2)):
        worse = {**given, b"c" * 32: replica(0, 60 + now)}
        guard.combine(worse, START, mean, now)
        assert len(guard.heard(worse)) == 2
        assert errors.counts == {"TrapError": warnings}, "it is not named each time"


def test_a_trap_that_no_one_brings_alone_is_not_taken() -> None:
    guard, errors = guard_of()
    given = {bytes([number]) * 32: replica(2.9, number / 10) for number in range(4)}

    def total(replicas: dict[bytes, Replica]) -> Vector:
        return np.sum([each.vector for each in replicas.values()] or [START], axis=0)

    assert guard.combine(given, START, total, now=0) is None
    assert guard.combine(given, START, total, now=1) is None
    assert errors.counts == {"TrapError": 1}, "the same once more is not looked at again"
    assert len(guard.heard(given)) == 4


def test_the_look_is_told_what_weights_are_made_of() -> None:
    look = TooFar()
    given = {bytes([number]) * 32: replica(number, 9) for number in range(3)}
    Guard(look, ErrorLog(), START).combine(given, START, mean, now=0)
    assert set(look.seen) == {3}, "also while it is looked for who brings it"


def test_what_is_turned_apart_is_merged_and_nobody_is_blamed() -> None:
    guard, errors = guard_of(lambda weights: weights / 4)
    given = {b"a" * 32: replica(8, 0), b"b" * 32: replica(0, 8)}
    found = guard.combine(given, START, mean, now=0)
    assert found is not None
    assert found.tolist() == [1, 1]
    assert len(guard.heard(given)) == 2
    assert not errors.counts
    trapped = {**given, b"c" * 32: replica(0, 90)}
    found = guard.combine(trapped, START, mean, now=0)
    assert found is not None
    assert found.tolist() == [1, 1], "what is turned is looked at, too"
    assert list(guard.heard(trapped)) == list(given), "who could be turned apart alone is not to blame"


@pytest.mark.parametrize(("every", "rows"), [(0, 26 * 32), (5000, 300)])
def test_the_look_knows_of_how_many_rows_an_update_is_at_least(every: int, rows: int) -> None:
    setting = Setting(seed=1, every=every, floors=Floors(100, 300))
    simulation = Simulation(WRIST, [dataset_of(WRIST, person(1))], setting)
    check = simulation.members[0].peer.options.suspicion
    assert isinstance(check, TrapCheck)
    assert check.rows_drawn == rows


class Trapper(PassiveLearner):
    """Publishes what makes a trap of the mean of itself and its victim, which gives it two thirds of the votes."""

    def __init__(self, trap: Vector, victim: Callable[[], Vector | None]) -> None:
        super().__init__(len(trap))
        self._trap, self._victim = trap, victim

    @override
    def train(self, steps: int) -> Trained:
        victim = self._victim()
        if victim is not None:
            self._weights = (3 * self._trap - victim) / np.float32(2)
        return Trained(steps, 1_000_000, 0.0)


@pytest.mark.parametrize("is_looking", [True, False])
def test_a_member_that_sends_a_trap_is_named_and_left_out(is_looking: bool) -> None:
    trap = 300 * imprint(WRIST.definition, person(4).rows, np.random.default_rng(1))
    people = [dataset_of(WRIST, person(number)) for number in (1, 2)]
    simulations: list[Simulation] = []

    def of_victim() -> Vector | None:
        following = simulations[0].members[1].peer.following
        found = following.replicas.get(simulations[0].members[0].identity.author)
        return None if found is None else found.vector

    def learner(manifest: Manifest, data: Dataset, rng: np.random.Generator) -> Learner:
        return Trapper(trap, of_victim) if data is people[1] else numpy_learner(manifest, data, rng)

    simulations.append(Simulation(WRIST, people, Setting(seed=1, listen=250), learner))
    victim, author = simulations[0].members[0].peer, simulations[0].members[1].identity.author
    start = WRIST.definition.initial(WRIST.seed)
    check, seen = victim.options.suspicion, []
    if not is_looking:
        victim.merging._guard._suspicion = None
    train = victim.training.train

    def watched() -> Trained:
        seen.append(check(victim.training.learner.weights(), start, start))
        return train()

    victim.training.train = watched  # type: ignore[method-assign]
    simulations[0].run(40 * SECOND)
    assert author in victim.following.replicas, "its weights are here"
    assert any(seen) is not is_looking, "no step is taken from a trap, and it would work"
    if is_looking:
        assert peer_name(author) in victim.status()["last_problems"]["TrapError"]
        assert victim.training.loss is not None
        assert victim.training.loss < 0.5


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
