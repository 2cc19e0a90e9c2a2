"""Cycles that begin short and grow, with the real peer: how many steps each tick, which is a cycle here, takes."""

import pytest
from machine import Machine

from learnae.peer.learning.training import ENDLESS
from learnae.peer.peer import Options
from learnae.peer.publishing_policy import PublishPolicy


def options(steps: int, first: int, every: int = 0) -> Options:
    publish = PublishPolicy(every)
    return Options(
        "me", "trainer", 8, seed=1, steps=steps, first_steps=first, publish=publish, rests=True, rows=lambda: 24
    )


def made(steps: int, first: int, every: int = 0) -> Machine:
    machine = Machine()
    machine.compose(options(steps, first, every))
    return machine


def cycles(machine: Machine, count: int) -> list[int]:
    """Let so many ticks pass that train; return how many steps each took."""
    found: list[int] = []
    for _ in range(10 * count):
        before = machine.peer.steps
        machine.tick()
        if machine.peer.steps > before and len(found) < count:
            found.append(machine.peer.steps - before)
    assert len(found) == count
    return found


def test_first_cycles_are_short_and_the_next_a_quarter_of_what_was_learnt_until_they_are_as_long_as_any() -> None:
    machine = made(steps=20, first=4)
    assert cycles(machine, 14) == [4, 4, 4, 4, 4, 5, 6, 7, 9, 11, 14, 18, 20, 20]
    assert not machine.peer.training.is_early


def test_a_restart_goes_on_where_cycles_were() -> None:
    machine = made(steps=20, first=4)
    for _ in range(12):
        machine.tick()
    steps = machine.peer.steps
    machine.compose(options(20, 4))
    assert cycles(machine, 1)[0] == min(20, max(4, steps // 4))


@pytest.mark.parametrize("first", [0, 20, 100])
def test_without_first_steps_or_with_as_many_all_cycles_are_alike(first: int) -> None:
    assert set(cycles(made(steps=20, first=first), 5)) == {20}


def test_one_without_an_end_grows_until_its_steps_take_all_the_time() -> None:
    machine = made(steps=ENDLESS, first=4)
    training, cadence = machine.peer.training, machine.peer.cadence
    cadence.policy = PublishPolicy(every=3000)
    machine.tick(6)
    assert training.is_early
    cadence.begin(0)
    cadence.note_done(3000)
    assert cadence.is_full
    training.stop_growing()
    assert training.goal == ENDLESS
    assert not training.is_early
