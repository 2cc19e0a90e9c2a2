"""When a peer settles and wakes: the rule alone, then a peer, then a swarm."""

import numpy as np
import pytest
from builders import tiny_dataset, tiny_manifest
from machine import Machine, frame_of, update_of

from learnae.models.dataset import Dataset
from learnae.peer.learning.settling import Settled, Settling
from learnae.peer.peer import Options, Peer
from learnae.peer.publishing_policy import PublishPolicy
from learnae.protocol.bodies import KEY, Metrics, Update
from learnae.simulation.simulator import Setting, Simulation

PATIENCE = 5
BASIS = Settled(100, frozenset({b"a", b"b"}), np.full(4, 2.0, np.float32))


def counted(settling: Settling, *found: tuple[float, float | None]) -> Settling:
    for loss, accuracy in found:
        settling.note(Metrics(loss, accuracy, 10), None, BASIS.estimate)
    return settling


# -- the rule


def test_a_peer_settles_after_so_many_updates_without_a_gain() -> None:
    settling = counted(Settling(PATIENCE), (1.0, 0.5), *[(1.0, 0.5)] * (PATIENCE - 1))
    assert not settling.is_due
    assert counted(settling, (1.0, 0.5)).is_due


@pytest.mark.parametrize("gain", [(0.98, 0.5), (2.0, 0.51)], ids=["loss", "accuracy"])
def test_either_less_loss_or_more_accuracy_is_a_gain(gain: tuple[float, float]) -> None:
    settling = counted(Settling(PATIENCE), *[(1.0, 0.5)] * PATIENCE, gain)
    assert not counted(settling, *[(1.0, 0.5)] * (PATIENCE - 1)).is_due
    assert counted(settling, (1.0, 0.5)).is_due


def test_what_is_lost_in_noise_is_no_gain() -> None:
    assert counted(Settling(PATIENCE), *[(1.0 - 0.0001 * number, 0.5) for number in range(PATIENCE + 1)]).is_due


def test_without_a_holdout_the_training_loss_counts() -> None:
    settling = Settling(PATIENCE)
    for number in range(3 * PATIENCE):
        settling.note(None, 0.9**number, BASIS.estimate)
    assert not settling.is_due
    for _ in range(PATIENCE):
        settling.note(None, 1.0, BASIS.estimate)
    assert settling.is_due


def test_a_peer_without_patience_never_settles() -> None:
    assert not counted(Settling(0), *[(1.0, 0.5)] * 1000).is_due


@pytest.mark.parametrize(
    ("rows", "authors", "scale", "why"),
    [
        (104, {b"a"}, 1.05, ""),
        (106, {b"a"}, 1.0, "data has grown"),
        (100, {b"a", b"c"}, 1.0, "new member"),
        (100, {b"a", b"b"}, 1.2, "consensus has moved"),
    ],
)
def test_what_wakes_a_settled_peer(rows: int, authors: set[bytes], scale: float, why: str) -> None:
    settling = Settling(PATIENCE)
    settling.settle(7, BASIS)
    said = settling.why_wake(rows, authors, BASIS.estimate * np.float32(scale))
    assert (why in said) if why else not said


def test_after_a_restart_what_is_there_then_is_the_basis() -> None:
    settling = Settling(PATIENCE)
    settling.settle(7)
    assert not settling.why_wake(BASIS.rows, BASIS.authors, BASIS.estimate)
    assert settling.why_wake(200, BASIS.authors, BASIS.estimate)


def test_who_wakes_counts_from_the_beginning() -> None:
    settling = counted(Settling(PATIENCE), *[(1.0, 0.5)] * (PATIENCE + 1))
    settling.settle(7, BASIS)
    settling.wake()
    assert settling.since is None
    assert not counted(settling, (5.0, 0.1), *[(5.0, 0.1)] * (PATIENCE - 1)).is_due


def test_what_was_right_on_few_rows_is_not_the_best_for_ever() -> None:
    settling, first, second = Settling(PATIENCE), np.zeros(4, np.float32), np.ones(4, np.float32)
    settling.note(Metrics(0.01, 1.0, 2), None, first)
    now = {first.tobytes(): Metrics(1.0, 0.4, 50), second.tobytes(): Metrics(0.5, 0.8, 50)}
    for _ in range(PATIENCE):
        settling.note(now[second.tobytes()], None, second, lambda weights: now[weights.tobytes()])
        assert settling.best is second
    assert not settling.is_due, "on the rows of now it was a gain"
    settling.note(Metrics(0.9, 0.5, 60), None, first, lambda _: Metrics(0.6, 0.7, 60))
    assert settling.best is second, "it is measured on the rows of now"


def test_the_best_estimate_is_remembered_until_it_wakes() -> None:
    settling = Settling(PATIENCE)
    for number, loss in enumerate([0.9, 0.5, 0.7]):
        settling.note(Metrics(loss, 0.5, 10), None, np.full(4, number, np.float32))
    assert settling.best is not None
    assert settling.best.tolist() == [1.0] * 4
    settling.wake()
    assert settling.best is None


# -- a peer


class Patient(Machine):
    """A machine whose peer settles."""

    def boot(self) -> Peer:
        super().boot()
        return self.compose(Options("me", "agent", 8, seed=1, patience=PATIENCE, rows=lambda: len(self.data.train)))


def settled_machine() -> Patient:
    machine = Patient()
    for _ in range(400):
        machine.tick()
        if machine.peer.settling.since is not None:
            return machine
    raise AssertionError("it never settles")


def test_the_last_update_says_so_and_then_nothing_is_said() -> None:
    machine = settled_machine()
    last, steps = machine.said()[-1], machine.peer.steps
    assert isinstance(last.body, Update)
    assert (last.body.settled, last.checkpoint, last.body.frame.kind) == (True, True, KEY)
    assert machine.peer.status()["settled"] == machine.clock.time
    machine.tick(50)
    assert machine.peer.steps == steps
    assert machine.said()[-1] == last


def test_it_settles_on_the_best_that_it_had() -> None:
    machine = Patient()
    machine.tick(14)
    machine.peer.training.evaluate = lambda _: None  # type: ignore[method-assign]
    machine.peer.training.metrics = Metrics(0.0, 1.0, 10)  # nothing will be better
    machine.tick(1)
    best = machine.peer.settling.best
    while machine.peer.settling.since is None:
        machine.tick()
    assert machine.learner.weights().tolist() == best.tolist()
    assert machine.peer.estimate() == pytest.approx(best, abs=0.05)  # but for the codec


def test_its_checkpoint_is_renewed_three_times_a_horizon() -> None:
    machine = settled_machine()
    seq = machine.said()[-1].seq
    machine.clock.time += machine.manifest.limits.horizon // 3
    machine.tick(10)
    assert machine.said()[-1].seq == seq + 1
    assert machine.said()[-1].body.settled


def test_it_stays_settled_over_a_restart() -> None:
    machine = settled_machine()
    since, steps = machine.peer.status()["settled"], machine.peer.steps
    machine.boot()
    machine.tick(30)
    assert machine.peer.status()["settled"] == since
    assert machine.peer.steps == steps


def test_it_learns_again_when_its_data_grows() -> None:
    machine = settled_machine()
    machine.data.add(np.ones((20, 2)), np.ones(20))
    steps = machine.peer.steps
    machine.tick(2)
    assert machine.peer.status()["settled"] is None
    assert machine.peer.steps > steps
    assert not machine.said()[-1].body.settled


def test_it_learns_again_when_a_new_member_speaks() -> None:
    machine = settled_machine()
    frame = frame_of(*machine.peer.estimate())
    machine.receive(update_of(machine.other(), frame, time=machine.clock.time), blocks=[frame])
    steps = machine.peer.steps
    machine.tick(3)
    assert machine.peer.steps > steps


def test_what_changed_too_little_waits_for_the_checkpoint_that_is_due_anyway() -> None:
    machine = Machine(data=Dataset(tiny_manifest().model, tiny_manifest().objective))
    machine.tick(3)  # without rows it publishes its name alone
    machine.data.add(np.zeros((8, 2)), np.zeros(8))
    machine.peer.cadence.policy = PublishPolicy(least_change=10.0)
    machine.tick()  # others hold nothing of it yet: that is worth it
    seq = machine.said()[-1].seq
    machine.tick(20)
    assert machine.said()[-1].seq == seq
    machine.clock.time += machine.manifest.limits.horizon // 3
    machine.tick(2)
    assert machine.said()[-1].seq == seq + 1


# -- a swarm


def test_a_settled_swarm_sends_hardly_anything_and_wakes() -> None:
    manifest = tiny_manifest()
    datasets = [tiny_dataset(manifest) for _ in range(8)]
    simulation = Simulation(manifest, datasets, Setting(seed=1, listen=250, patience=PATIENCE))

    def sent(seconds: int) -> int:
        before = sum(member.host.bytes_in for member in simulation.members)
        simulation.run(seconds * 1000)
        return sum(member.host.bytes_in for member in simulation.members) - before

    simulation.run(20_000)  # newcomers hear first
    learning = sent(10)
    for _ in range(60):
        simulation.run(10_000)
        if all(member.peer.settling.since is not None for member in simulation.members):
            break
    else:
        raise AssertionError("it never settles")
    quiet = sent(100) / 10
    assert quiet <= 0.05 * learning

    steps = [member.peer.steps for member in simulation.members]
    datasets[0].add(np.ones((100, 2)), np.ones(100))
    simulation.run(10_000)
    assert simulation.members[0].peer.steps > steps[0]
