"""A peer that knows few rows by heart, in a swarm that grows: when it goes back towards the start, and for how long."""

import logging
import random
from collections.abc import Sequence

import numpy as np
import pytest
from builders import COUNT, NOW, Author, new_tangle, tiny_learner, tiny_manifest

from learnae.basics.error_log import ErrorLog
from learnae.ipld.cid import RAW, Cid
from learnae.models.dataset import Dataset
from learnae.models.optimisers import OptimiserPolicy
from learnae.peer.following import Following, Replica
from learnae.peer.frame_encoder import FrameEncoder
from learnae.peer.learning.growth import KEPT, Growth
from learnae.peer.learning.merging import Merging
from learnae.simulation.in_memory import MemoryBlockStore
from learnae.simulation.network import Network, VirtualClock, Weather
from learnae.simulation.simulator import Member, Setting, Simulation
from learnae.swarm.manifest import TrainingPolicy
from learnae.swarm.presets import dense_config
from learnae.weights.codecs import Vector
from learnae.weights.frames import FramePolicy

ME, *OTHERS = (Author(number).author for number in range(6))
ROWS = 400


class Bench:
    """A peer whose others all have the same weights, and 400 rows each; ``said`` is how much each has published."""

    def __init__(self) -> None:
        manifest = tiny_manifest()
        self.learner, self.trap = tiny_learner(manifest), lambda _: ""
        store = MemoryBlockStore(Network(VirtualClock(NOW), random.Random(0), Weather()).host())
        self.following = Following(new_tangle(), store, ErrorLog(), random.Random(1), ME, COUNT, 8, 10_000)
        self.merging = Merging(
            manifest, self.learner, self.following, FrameEncoder(FramePolicy()),
            suspicion=self,
        )  # fmt: skip
        self.merging.begin(np.zeros(COUNT, np.float32))
        self.said = dict.fromkeys([ME, *OTHERS], 0)
        self.merging._said_by = lambda author: self.said[author]  # type: ignore[method-assign]
        self.now = NOW

    def __call__(self, weights: Vector, before: Vector, start: Vector, others: Sequence[Vector] = ()) -> str:
        return self.trap(weights)

    def turned_apart(self, weights: Vector, start: Vector) -> None:
        return None

    def turn(self, others: int, by_heart: bool = True, rows: int = ROWS) -> float:
        """Merge with so many others, whose weights are all 1, and return where that leads."""
        self.now += 1000
        one = np.ones(COUNT, np.float32)
        self.following.replicas = {
            author: Replica(one, rows, self.now, False, Cid.of(RAW, random.randbytes(8)), self.now)
            for author in OTHERS[:others]
        }
        self.learner.load(one)
        self.merging.merge(self.now, lambda: by_heart)
        return float(self.learner.weights()[0])


def test_who_knows_few_rows_by_heart_goes_back_once_when_many_come() -> None:
    bench = Bench()
    assert [bench.turn(others) for others in (2, 2)] == [1, 1]
    assert bench.turn(3) == pytest.approx(KEPT)
    bench.said = dict.fromkeys(bench.said, 2)
    assert [bench.turn(others) for others in (3, 2, 3)] == [1, 1, 1], "who is gone and comes back counts once"


def test_what_is_not_known_by_heart_is_trained_on_and_so_is_what_was_saved() -> None:
    bench = Bench()
    assert [bench.turn(others, by_heart=False) for others in (2, 3)] == [1, 1]
    restarted = Bench()
    restarted.merging._is_restored = True
    assert [restarted.turn(others) for others in (1, 3)] == [1, 1]


def test_a_swarm_that_has_said_much_does_not_begin_anew_for_who_comes() -> None:
    bench = Bench()
    bench.said = dict.fromkeys(bench.said, 500)
    assert [bench.turn(others) for others in (2, 3, 5)] == [1, 1, 1]


def test_back_there_it_waits_until_most_others_are_or_it_has_said_enough_itself() -> None:
    def back() -> Bench:
        bench = Bench()
        bench.turn(2), bench.turn(4)
        bench.said[OTHERS[0]] += 2
        bench.said[OTHERS[1]] += 1
        bench.turn(4)
        assert bench.merging.merge(bench.now) == 0, "the first may have been on its way"
        return bench

    bench = back()
    bench.said[OTHERS[1]] += 1
    bench.said[OTHERS[2]] += 2
    assert bench.merging.merge(bench.now) == 4
    bench = back()
    bench.said[ME] += 4
    assert bench.merging.merge(bench.now) == 4, "others that are slow are not waited for"


def test_a_trap_on_the_way_back_is_not_trained_on() -> None:
    bench = Bench()
    bench.turn(2)
    bench.trap = lambda weights: "a trap" if weights[0] < 1 else ""
    assert bench.turn(3) == 1
    assert "a trap" in bench.following.errors.last["TrapError"]


def test_few_that_claim_any_number_of_rows_let_it_go_back_once_at_most() -> None:
    growth = Growth()
    growth.note([ROWS] * 8, by_heart=True)
    gone = [growth.note([ROWS] * 5 + [claim] * 3, by_heart=True) for claim in range(ROWS, 100 * ROWS, 7)]
    assert sum(gone) <= 1


def test_what_is_used_stays_while_it_is_better_on_own_rows_and_not_for_ever() -> None:
    bench = Bench()
    bench.turn(2)
    bench.merging.believe(None, bench.now)
    before = bench.merging.estimate
    bench.merging._loss_of = bench.merging._own_loss = lambda weights: float(weights[0] != 1)  # type: ignore[method-assign]
    bench.turn(4)
    for replica in bench.following.replicas.values():
        replica.vector[:] = 0.5
    bench.merging.believe(None, bench.now)
    assert bench.merging.estimate is before
    bench.said[ME] += 40
    bench.merging.believe(None, bench.now)
    assert bench.merging.estimate == pytest.approx(0.5)


@pytest.mark.parametrize("is_balanced", [True, False])
def test_rows_of_nearly_one_class_have_a_small_loss_and_are_not_known_by_heart(
    caplog: pytest.LogCaptureFixture, is_balanced: bool
) -> None:
    manifest = tiny_manifest(
        config=dense_config(2, (), 2, "softmax"), loss="sparse_categorical_crossentropy",
        optimiser=OptimiserPolicy("adam", learning_rate=0.1), training=TrainingPolicy(steps=20, batch=ROWS),
    )  # fmt: skip
    rng, members = np.random.default_rng(1), []
    for _ in range(6):
        data = Dataset(manifest.model, manifest.objective)
        classes = np.arange(ROWS) % (2 if is_balanced else 100) == 0
        rows = rng.normal(size=(ROWS, 2)) + 9 * classes[:, None] * is_balanced  # else nothing tells them apart
        data.add(rows, classes.astype(np.int64))
        members.append(data)
    caplog.set_level(logging.INFO)
    simulation = Simulation(manifest, members[:2], Setting(seed=1))
    simulation.run(40_000)
    losses = [member.peer.training.loss or 1 for member in simulation.members]
    for number, data in enumerate(members[2:], 2):
        newcomer = Member(simulation, number, data)
        simulation.members.append(newcomer)
        simulation.schedule(newcomer)
        simulation.listen(newcomer)
    simulation.run(20_000)
    assert max(losses) < 0.1 * np.log(2), "as small as that of two classes that are known by heart"
    assert ("going back most of the way" in caplog.text) is is_balanced
