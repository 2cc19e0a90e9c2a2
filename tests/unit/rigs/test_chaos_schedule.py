"""What goes wrong in a run under faults: the same for the same seed, all kinds of it, and over at the end."""

from collections import Counter
from itertools import pairwise

import pytest

from bench.chaos.schedule import BROKER, KILL, KINDS, KUBO, PARTITION, STOP, churn, plan


@pytest.mark.parametrize("seed", range(5))
def test_a_plan_has_all_kinds_and_ends_with_the_run(seed: int) -> None:
    faults = plan(seed, 900, 8, 10)
    count = Counter(fault.kind for fault in faults)
    assert faults == plan(seed, 900, 8, 10) != plan(seed + 1, 900, 8, 10)
    assert set(count) == set(KINDS)
    assert 60 <= count[KILL] <= 120
    assert [count[kind] for kind in (PARTITION, BROKER, KUBO)] == [2, 2, 2]
    assert all(fault.at + fault.seconds <= 900 for fault in faults)
    for machine in range(8):  # what is killed or stopped runs again before it is hit anew
        hits = [fault for fault in faults if fault.kind in (KILL, STOP) and fault.target == machine]
        assert all(one.at + one.seconds < other.at for one, other in pairwise(hits))


def test_under_churn_each_machine_is_away_half_of_the_time() -> None:
    away = sum(fault.seconds for fault in churn(3, 20_000, 8)) / 8 / 20_000
    assert 0.4 < away < 0.6
