"""Updates that would tell rows are held back, whatever a manifest says, and the peer goes on learning and hearing."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from builders import tiny_dataset, tiny_manifest
from machine import HOUR, Machine, frame_of, update_of

from learnae.basics.overriding import override
from learnae.models.dataset import Dataset
from learnae.models.reference.numpy_learner import NumpyLearner
from learnae.peer.peer import Options
from learnae.peer.publishing_policy import PublishPolicy
from learnae.privacy.floors import Floors, ReleaseFloor
from learnae.protocol.bodies import Update
from learnae.simulation.network import Weather
from learnae.simulation.simulator import Setting, Simulation
from learnae.swarm.manifest import Manifest, TrainingPolicy
from learnae.weights.codecs import Vector

pytestmark = pytest.mark.slow

USUAL = Floors(100, 256, merge_first=True)
SECOND = 1000


class Remembering(NumpyLearner):
    """A learner that knows of all weights it has had which rows went into them since they came from elsewhere."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.drawn = Counter[bytes]()
        self.past: dict[bytes, Counter[bytes]] = {}

    @override
    def load(self, weights: Vector) -> None:
        super().load(weights)
        self.drawn = Counter(self.past.get(self._weights.tobytes(), {}))

    @override
    def step(self, rows: np.ndarray, targets: np.ndarray) -> float:
        loss = super().step(rows, targets)
        self.drawn.update(row.tobytes() for row in rows)
        self.past[self._weights.tobytes()] = Counter(self.drawn)
        return loss

    def forget(self) -> None:
        """What was published before does not count."""
        self.drawn.clear()
        self.past.clear()


def remembering(manifest: Manifest, data: Dataset, rng: np.random.Generator) -> Remembering:
    batch = manifest.training.batch
    return Remembering(manifest.definition, manifest.objective, manifest.optimiser, data, batch, rng)


def copies(manifest: Manifest, times: int) -> Dataset:
    data = Dataset(manifest.model, manifest.objective)
    data.add(np.ones((times, 2)), np.ones((times, 1)))
    return data


def swarm_of(rows: Sequence[int], manifest: Manifest, floors: Floors = USUAL, every: int = 0) -> Simulation:
    datasets = [tiny_dataset(manifest, seed, rows=each * 4 // 3) for seed, each in enumerate(rows)]
    weather = Weather(delay=(10, 200), loss=0.05)
    return Simulation(manifest, datasets, Setting(3, every=every, floors=floors, weather=weather), remembering)


def has_published(simulation: Simulation, index: int) -> bool:
    peer = simulation.members[index].peer
    return peer.frames.own_vote is not None


@pytest.mark.parametrize("rows", [3, 29, 98])
def test_below_the_floor_nothing_is_published_and_others_are_merged(rows: int) -> None:
    manifest = tiny_manifest()
    simulation = swarm_of([rows, 300], manifest)
    simulation.run(120 * SECOND)
    few, many = (member.peer for member in simulation.members)
    assert (has_published(simulation, 0), has_published(simulation, 1)) == (False, True)
    assert few.status()["held_back"] == f"{len(few.training.learner.data.train)} of 100 distinct rows"
    assert few.steps > 100
    assert few.following.replicas, "it learns and hears"
    assert few.status()["loss"] < 0.1, "and its owner has a model"
    assert many.status()["held_back"] == ""


def test_a_thousand_copies_of_a_row_are_one_row() -> None:
    manifest = tiny_manifest()
    simulation = Simulation(
        manifest, [copies(manifest, 1000), tiny_dataset(manifest, rows=300)], Setting(3, floors=USUAL)
    )
    simulation.run(120 * SECOND)
    assert not has_published(simulation, 0)
    assert simulation.members[0].peer.status()["held_back"] == "1 of 100 distinct rows"


@pytest.mark.parametrize(
    ("training", "every"),
    [(TrainingPolicy(1, 8), 0), (TrainingPolicy(3, 16), 400), (TrainingPolicy(9, 32), 0)],
    ids=str,
)
def test_each_update_is_of_as_many_rows_and_draws_as_the_floor_says(
    training: TrainingPolicy, every: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a manifest wants an update of one row, through merges, restarts and looks back at better weights."""
    simulation = swarm_of([150, 120, 400], tiny_manifest(training=training), every=every)
    found: list[tuple[int, int]] = []

    def watch(index: int) -> None:
        peer = simulation.members[index].peer
        learner, publish = peer.training.learner, peer.publisher.publish_update

        def published(samples: int, **options: bool) -> object:
            assert isinstance(learner, Remembering)
            if not options.get("again"):
                found.append((len(learner.drawn), sum(learner.drawn.values())))
            learner.forget()
            return publish(samples, **options)

        monkeypatch.setattr(peer.publisher, "publish_update", published)

    for index in range(3):
        watch(index)
    for victim, away in ((0, 5), (2, 70), (1, 70)):  # of which the second hears before it speaks
        simulation.run(60 * SECOND)
        simulation.crash(victim)
        simulation.run(away * SECOND)
        simulation.restart(victim)
        watch(victim)
    simulation.run(60 * SECOND)
    assert len(found) > 10
    assert min(rows for rows, _ in found) >= 100
    assert min(draws for _, draws in found) >= 256


def test_eight_peers_that_start_at_once_do_not_wait_for_each_other_for_ever() -> None:
    simulation = swarm_of([150] * 8, tiny_manifest())
    simulation.run(15 * SECOND)
    assert not any(has_published(simulation, index) for index in range(8)), "two intervals are not over"
    assert simulation.members[0].peer.status()["held_back"] == "nothing of others was merged yet"
    simulation.run(45 * SECOND)
    assert all(has_published(simulation, index) for index in range(8))


def test_who_comes_later_publishes_only_after_a_merge() -> None:
    machine = Machine(data=tiny_dataset(tiny_manifest(), rows=300))
    machine.listens = True
    machine.compose(options_of(machine))
    other = machine.other()
    machine.receive(update_of(other, frame_of(1, 1, 1)), blocks=[frame_of(1, 1, 1)])
    machine.tick(40)
    updates = [message for message in machine.said() if isinstance(message.body, Update)]
    assert updates[0].body.merged, "it names what it has merged"


def options_of(machine: Machine, floors: Floors = USUAL) -> Options:
    return Options("me", "agent", 8, seed=1, floors=ReleaseFloor(floors, machine.data.train))


def test_a_peer_whose_link_is_down_does_not_take_itself_for_the_founder(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(data=tiny_dataset(tiny_manifest(), rows=300))
    machine.listens = True
    peer = machine.compose(options_of(machine))
    linked = False
    monkeypatch.setattr(type(peer.ports.gossip), "is_linked", property(lambda _: linked))
    machine.tick(120)
    assert peer.frames.own_vote is None
    linked = True
    machine.tick(18)
    assert peer.frames.own_vote is None
    machine.tick(10)
    assert peer.frames.own_vote is not None


def test_a_restart_begins_to_count_anew() -> None:
    machine = Machine(
        data=tiny_dataset(tiny_manifest(), rows=300), manifest=tiny_manifest(training=TrainingPolicy(1, 32))
    )
    machine.compose(options_of(machine))
    machine.tick(2)
    machine.peer.save()
    assert machine.peer.status()["steps"] > 0
    peer = machine.compose(options_of(machine))
    assert peer.options.floors.why_held_back() == "0 of 100 distinct rows drawn since the last update or merge"


def test_a_checkpoint_that_is_due_repeats_what_others_hold_and_nothing_newer() -> None:
    machine = Machine(data=tiny_dataset(tiny_manifest(), rows=300))
    peer = machine.compose(replace(options_of(machine), publish=PublishPolicy(every=1)))
    machine.tick(40)
    vote = peer.frames.own_vote
    assert vote is not None
    held = vote.vector.copy()
    machine.data.train.adopt(machine.data.train.rows[:20].copy(), machine.data.train.targets[:20] + 5)
    machine.compose(options_of(machine))  # of 20 rows now
    before = machine.peer.own.last
    for _ in range(20):
        machine.clock.time += HOUR
        machine.tick()
    assert machine.peer.own.last != before, "a checkpoint was due"
    again = machine.peer.frames.own_vote
    assert again is not None
    assert np.allclose(again.vector, held, atol=0.02), "q8 rounds it, and that is all"
    assert machine.peer.status()["held_back"] == "20 of 100 distinct rows"
    assert not np.allclose(machine.learner.weights(), held, atol=0.02)
