import math

import pytest

from learnae.peer.publishing_policy import Cadence, PublishPolicy

HOUR = 3_600_000


def test_the_first_update_is_due_at_once_and_the_next_after_a_while() -> None:
    cadence = Cadence(PublishPolicy(every=750))
    assert cadence.is_due(10)
    cadence.end(10, 5000)
    assert not cadence.is_due(759)
    assert cadence.is_due(760)


def test_without_a_limit_every_cycle_ends_at_once() -> None:
    cadence = Cadence(PublishPolicy())
    cadence.end(10, 10**9)
    assert cadence.is_due(10)


def test_no_hour_sees_more_bytes_than_allowed_but_for_one_update() -> None:
    cadence = Cadence(PublishPolicy(every=1000, bytes_per_hour=60_000))
    now = spent = 0
    sizes = [5000, 500, 9000, 1]
    while now < HOUR:
        if cadence.is_due(now):
            size = sizes[len(sizes) % 3]
            sizes.append(size)
            spent += size
            cadence.end(now, size)
        now += 1000
    assert 60_000 * 0.9 < spent <= 60_000 + max(sizes)


def test_a_dear_update_is_paid_off_before_the_next() -> None:
    cadence = Cadence(PublishPolicy(every=1000, bytes_per_hour=3600))
    cadence.end(0, 100)
    assert not cadence.is_due(99_999)
    assert cadence.is_due(100_000)


@pytest.mark.parametrize(("change", "is_worth"), [(0.0009, False), (0.001, True), (math.inf, True), (math.nan, True)])
def test_what_hardly_changed_is_not_worth_it(change: float, is_worth: bool) -> None:
    assert Cadence(PublishPolicy(least_change=0.001)).is_worth(change) == is_worth
    assert Cadence(PublishPolicy()).is_worth(change)


def test_another_policy_counts_at_once() -> None:
    cadence = Cadence(PublishPolicy(every=HOUR))
    cadence.end(0, 1)
    cadence.policy = PublishPolicy(every=50)
    assert cadence.is_due(50)


def test_an_update_has_room_for_what_one_each_time_may_take() -> None:
    assert PublishPolicy(every=60_000).room == math.inf
    assert PublishPolicy(every=60_000, bytes_per_hour=60_000).room == 1000
    assert PublishPolicy(every=60_000, bytes_per_hour=60_000, aim=30_000).room == 500
    assert PublishPolicy(every=1000, aim=3600).room == 1


def test_a_hurried_cadence_waits_for_two_thirds_of_the_time_and_is_full_when_steps_take_it_all() -> None:
    cadence = Cadence(PublishPolicy(every=900))
    cadence.end(0, 0)
    cadence.is_hurried = True
    assert cadence.wait(0) == 600
    cadence.begin(0)
    cadence.note_done(500)
    assert not cadence.is_full
    cadence.begin(500)
    cadence.note_done(1100)
    assert cadence.is_full
    cadence.is_hurried = False
    assert (cadence.wait(0), cadence.is_full) == (900, False)
