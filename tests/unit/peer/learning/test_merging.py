"""A peer whose merges have momentum: when it goes beyond what it merges, and when it begins anew."""

import random
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from builders import COUNT, NOW, Author, new_tangle, tiny_learner, tiny_manifest

from learnae.basics.error_log import ErrorLog
from learnae.ipld.cid import RAW, Cid
from learnae.peer.following import Following, Replica
from learnae.peer.frame_encoder import FrameEncoder
from learnae.peer.learning.merging import Merging
from learnae.ports import Keep, in_memory
from learnae.protocol.bodies import Metrics
from learnae.simulation.in_memory import MemoryBlockStore
from learnae.simulation.network import Network, VirtualClock, Weather
from learnae.weights.codecs import Vector
from learnae.weights.frames import FramePolicy
from learnae.weights.merge import MergePolicy

OTHERS = [Author(number).author for number in range(1, 6)]
SECOND, HALF_LIFE = 1000, 10_000


class Bench:
    """A peer that follows three others, all at ``place``: it goes on by 1 from one merge to the next."""

    def __init__(self, beta: float = 0.25, is_private: bool = False, keep: Keep = in_memory) -> None:
        self.manifest = tiny_manifest(merge=MergePolicy(half_life=HALF_LIFE, momentum=beta))
        self.learner, self.trap = tiny_learner(self.manifest), lambda _: ""
        store = MemoryBlockStore(Network(VirtualClock(NOW), random.Random(0), Weather()).host())
        me = Author(0).author
        self.following = Following(new_tangle(), store, ErrorLog(), random.Random(1), me, COUNT, 8, HALF_LIFE)
        self.merging = Merging(
            self.manifest, self.learner, self.following, FrameEncoder(FramePolicy()),
            suspicion=self, is_private=is_private, keep=keep,
        )  # fmt: skip
        self.turned: Vector | None = None
        self.merging.begin(np.zeros(COUNT, np.float32))
        self.now, self.place, self.authors = NOW, 0.0, OTHERS[:3]

    def __call__(self, weights: Vector, before: Vector, start: Vector, others: Sequence[Vector] = ()) -> str:
        return self.trap(weights)

    def turned_apart(self, weights: Vector, start: Vector) -> Vector | None:
        return self.turned

    def turn(self, wait: int = SECOND) -> float:
        """Train to where the others go, and merge; return how far beyond them that is."""
        self.now, self.place = self.now + wait, self.place + 1
        self.learner.load(np.full(COUNT, self.place, np.float32))
        self.following.replicas = {author: self.replica() for author in self.authors}
        assert self.merging.merge(self.now)
        return float(self.learner.weights()[0]) - self.place

    def replica(self) -> Replica:
        vector = np.full(COUNT, self.place, np.float32)
        return Replica(vector, 10, self.now, False, Cid.of(RAW, vector.tobytes() + random.randbytes(8)), self.now)

    def went(self) -> "Bench":
        """Merge some times."""
        for _ in range(9):
            ahead = self.turn()
        assert ahead > 0.2
        return self


def banned(bench: Bench) -> None:
    bench.following.offences[OTHERS[0]] = "what no peer can decode"
    bench.authors = OTHERS[1:3]


def left_out(bench: Bench) -> None:
    bench.following.fits = lambda author: author != OTHERS[0]
    bench.authors = OTHERS[1:3]


def muted(bench: Bench) -> None:
    heard = bench.merging._guard.heard
    bench.merging._guard.heard = lambda replicas: {a: r for a, r in heard(replicas).items() if a != OTHERS[0]}  # type: ignore[method-assign]


def redrawn(bench: Bench) -> None:
    bench.authors = [OTHERS[0], *OTHERS[3:5]]


def alone_with_one(bench: Bench) -> None:
    bench.authors = OTHERS[:1]


def went_back(bench: Bench) -> None:
    bench.merging.go_back(np.zeros(COUNT, np.float32), frozenset(), bench.now)


def started_over(bench: Bench) -> None:
    bench.merging.start_over(bench.now)


def adopted(bench: Bench) -> None:
    bench.merging.adopt(bench.now)


def nothing(bench: Bench) -> None:
    pass


def one_gone(bench: Bench) -> None:
    bench.authors = OTHERS[1:3]


@pytest.mark.parametrize("happened", [nothing, one_gone])
def test_merges_go_on_on_their_way(happened: Callable[[Bench], None]) -> None:
    bench = Bench().went()
    happened(bench)
    assert bench.turn() > 0.2
    estimate = bench.merging
    estimate.believe(None, bench.now)
    assert estimate.estimate == pytest.approx(np.full(COUNT, bench.place)), "what is used is the mean all the same"


@pytest.mark.parametrize(
    "happened", [banned, left_out, muted, redrawn, alone_with_one, went_back, started_over, adopted]
)
def test_after_what_is_no_way_to_go_on_a_merge_is_plain(happened: Callable[[Bench], None]) -> None:
    bench = Bench().went()
    happened(bench)
    assert bench.turn() == pytest.approx(0, abs=1e-5)


def test_a_swarm_of_no_momentum_merges_as_ever_and_one_absent_for_long_begins_anew() -> None:
    plain = Bench(beta=0.0)
    assert [plain.turn() for _ in range(9)] == pytest.approx([0] * 9, abs=1e-5)
    assert Bench().went().turn(wait=HALF_LIFE + 1) == pytest.approx(0, abs=1e-5)


def test_who_does_not_train_merges_plainly() -> None:
    bench = Bench().went()
    for step in range(1, 4):
        bench.place += step
        bench.following.replicas = {author: bench.replica() for author in bench.authors}
        bench.merging.merge(bench.now)
        assert float(bench.learner.weights()[0]) == pytest.approx(bench.place, abs=1e-5)


def test_a_trap_that_momentum_would_make_is_not_trained_on() -> None:
    bench = Bench().went()
    bench.trap = lambda weights: "too far" if weights[0] > bench.place + 0.1 else ""
    assert bench.turn() == pytest.approx(0, abs=1e-5)
    assert "what merges have moved towards: too far" in bench.following.errors.last["TrapError"]
    bench.trap = lambda _: ""
    assert bench.turn() == pytest.approx(0.25)


def test_what_momentum_would_make_may_be_turned_apart() -> None:
    bench = Bench().went()
    bench.trap = lambda weights: "too far" if weights[0] > bench.place + 0.2 else ""
    bench.turned = np.full(COUNT, bench.place + 1.1, np.float32)  # its next place is one farther
    assert bench.turn() == pytest.approx(0.1, abs=1e-5)
    assert not bench.following.errors.counts
    bench.trap = lambda _: ""
    assert bench.turn() == pytest.approx(0.25 * 0.9, abs=1e-5), "what was turned is no way to go on"


@pytest.mark.parametrize("is_private", [False, True])
def test_much_of_it_asks_own_rows_and_where_these_are_private_there_is_less(is_private: bool) -> None:
    bench = Bench(beta=0.8, is_private=is_private)
    asked: list[Vector] = []
    evaluate = bench.learner.evaluate

    def watched(weights: Vector) -> Metrics | None:
        asked.append(weights)
        return evaluate(weights)

    bench.learner.evaluate = watched  # type: ignore[method-assign]
    for _ in range(5):
        ahead = bench.turn()
    assert bool(asked) is not is_private
    if is_private:
        assert ahead == pytest.approx(0.3, rel=0.01)


def test_vectors_that_are_kept_elsewhere_are_only_read_and_change_nothing() -> None:
    kept: list[Vector] = []

    def keep(vector: Vector) -> Vector:
        copy = vector.copy()
        copy.flags.writeable = False
        kept.append(copy)
        return copy

    plain, elsewhere = Bench(beta=0.25), Bench(beta=0.25, keep=keep)
    for _ in range(9):
        assert plain.turn() == elsewhere.turn()
    elsewhere.merging.believe(None, elsewhere.now)
    assert any(elsewhere.merging.estimate is vector for vector in kept)
