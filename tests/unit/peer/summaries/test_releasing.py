"""When a summary is released, and that none is ever drawn twice: pure, without a swarm."""

import math
import random
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from learnae.errors import NotWrittenError
from learnae.peer.summaries.releasing import CHECKS, Released, Releasing
from learnae.privacy.policy import PrivacyPolicy, SummaryPrivacy
from learnae.protocol.bodies import DIAGONAL, Summary
from learnae.protocol.limits import HOUR, Limits
from learnae.samples.dp_statistics import GATE, Layout, Statistics
from learnae.simulation.in_memory import MemoryStateStore

LIMITS = Limits()
HORIZON = 24 * HOUR
STEP = HORIZON // CHECKS
BEGAN = 10**12


def releasing(
    rows: Callable[[], int] = lambda: 10_000,
    store: MemoryStateStore | None = None,
    is_back: bool = False,
    **changes: int,
) -> Releasing:
    policy = PrivacyPolicy(summary=SummaryPrivacy(**changes))
    made = Releasing(policy, lambda: Statistics(Layout(DIAGONAL, 2, 2)), rows, store or MemoryStateStore())
    made.begin(BEGAN, LIMITS, is_back)
    return made


def first_check(rows: int, seed: int) -> int:
    """The number of the check at which the first summary of so many rows is released; 0 for none of ten."""
    rng, policy = random.Random(seed), PrivacyPolicy()
    made = Releasing(policy, lambda: Statistics(Layout(DIAGONAL, 1, 1)), lambda: rows, MemoryStateStore(), rng=rng)
    made.begin(BEGAN, LIMITS, is_back=False)
    return next((check for check in range(1, 11) if made.due(BEGAN + check * STEP, HORIZON, None)), 0)


def test_when_a_summary_appears_tells_no_more_of_a_row_than_was_paid_for() -> None:
    """Every moment is about as likely with a row as without: today's exact count told them apart with certainty."""
    rounds, epsilon = 4000, PrivacyPolicy().summary.epsilon * GATE
    shares = []
    for rows in (99, 100):
        found = np.bincount([first_check(rows, seed) for seed in range(rounds)], minlength=11)
        shares.append(found[:3] / rounds)  # never, at the first check, at the second
    for one, other in zip(*shares, strict=True):
        assert min(one, other) > 0.01
        error = 4 * math.sqrt(max(one, other) / rounds)
        assert max(one, other) <= math.exp(epsilon) * min(one, other) + error


def test_few_rows_are_not_released_and_many_are_at_once() -> None:
    assert {first_check(10, seed) for seed in range(50)} == {0}
    assert {first_check(400, seed) for seed in range(50)} == {1}


def test_nothing_is_released_between_the_fixed_times() -> None:
    rows = 0
    made = releasing(lambda: rows)
    assert made.due(BEGAN + STEP, HORIZON, None) is None
    rows = 10_000
    assert made.due(BEGAN + 2 * STEP - 1, HORIZON, None) is None
    assert made.due(BEGAN + 2 * STEP, HORIZON, None) is not None


def test_there_are_as_many_releases_as_the_manifest_says_a_horizon_apart() -> None:
    made, now, found = releasing(releases=2), BEGAN + STEP, set()
    for _ in range(200):
        now += HORIZON // 40
        summary = made.due(now, HORIZON, None)
        assert summary
        found.add((summary.release, summary.sums))
    assert sorted(number for number, _ in found) == [1, 2]
    assert made.status() == {"release": 2, "of": 2, "epsilon": 8.0, "closed": False}


def test_what_is_drawn_is_on_the_disk_before_it_is_told() -> None:
    store = MemoryStateStore()
    made = releasing(store=store)
    first = made.due(BEGAN + STEP, HORIZON, None)
    assert releasing(store=store).due(BEGAN + 5 * HORIZON, HORIZON, None) == first

    class Full(MemoryStateStore):
        def save(self, *pieces: bytes | memoryview) -> None:
            raise NotWrittenError("no space left")

    made = releasing(store=store)
    made._store = Full()
    made._record = replace(made.record, number=0, summary=None)
    with pytest.raises(NotWrittenError):
        made.due(BEGAN + 9 * STEP, HORIZON, None)
    assert made.record.summary is None


@pytest.mark.parametrize("data", [None, b"", b"damaged", Released(BEGAN, 0).to_bytes()[:-1]], ids=str)
def test_who_was_here_and_knows_nothing_of_it_releases_nothing_new(data: bytes | None) -> None:
    store = MemoryStateStore()
    if data is not None:
        store.save(data)
    made = releasing(store=store, is_back=data is None)
    assert made.due(BEGAN + 9 * HORIZON, HORIZON, None) is None
    assert made.status()["closed"]
    again = releasing(store=store)
    assert again.status()["closed"]


def test_what_the_swarm_knows_of_own_releases_counts() -> None:
    other = releasing().due(BEGAN + STEP, HORIZON, None)
    assert isinstance(other, Summary)
    made = releasing(releases=3)
    assert made.due(BEGAN + STEP, HORIZON, replace(other, release=2)) == replace(other, release=2)
    assert made.due(BEGAN + 9 * HORIZON, HORIZON, None) == replace(other, release=2), "no third: more may be lost"


def test_who_has_said_more_than_its_disk_knows_releases_nothing_new() -> None:
    made = releasing()
    made.doubt()
    assert made.due(BEGAN + 9 * HORIZON, HORIZON, None) is None


def test_what_is_on_the_disk_reads_back() -> None:
    summary = Statistics(Layout(DIAGONAL, 2, 2)).release(3, PrivacyPolicy())
    for record in (Released(1, -7), Released(1, 60, 3, 4, summary, True)):
        assert Released.from_bytes(record.to_bytes(), LIMITS) == record


def test_beside_private_training_nothing_is_released() -> None:
    barred, alone = True, False
    store, policy = MemoryStateStore(), PrivacyPolicy()
    made = Releasing(
        policy, lambda: Statistics(Layout(DIAGONAL, 2, 2)), lambda: 9999, store, lambda: alone, lambda: barred
    )
    made.begin(BEGAN, LIMITS, is_back=False)
    assert made.due(BEGAN + STEP, HORIZON, None) is None
    barred = False
    assert made.due(BEGAN + 2 * STEP, HORIZON, None) is not None
