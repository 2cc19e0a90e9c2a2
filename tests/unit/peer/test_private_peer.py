"""A peer whose updates are differentially private: what they say, when they come, and when they end."""

from typing import Any

import numpy as np
import pytest
from builders import COUNT
from machine import Crash, Machine, frame_of, update_of
from noisy import EVERY, Private, with_rows

from learnae.errors import StateError
from learnae.privacy.spent import PRIVATE_SAMPLES
from learnae.protocol.bodies import KEY, Update
from learnae.protocol.limits import HOUR


def private_bodies(machine: Private) -> list[Update]:
    return [message.body for message in machine.updates() if isinstance(message.body, Update)]


def test_an_update_says_what_is_spent_and_nothing_of_rows() -> None:
    machine = Private()
    other = update_of(machine.other(), frame_of(*[0.5] * COUNT))
    machine.receive(other, blocks=[frame_of(*[0.5] * COUNT)])
    machine.tick(12)
    bodies = private_bodies(machine)
    assert len(bodies) >= 2
    assert [(body.samples, body.metrics, body.merged) for body in bodies] == [(PRIVATE_SAMPLES, None, ())] * len(bodies)
    assert [body.steps for body in bodies] == [4 * count for count in range(1, len(bodies) + 1)]
    assert [body.privacy.releases for body in bodies if body.privacy] == [body.steps for body in bodies]
    status = machine.peer.status()
    assert status["privacy"] == machine.noisy.spent().to_fields()
    assert status["holdout_rows"], "on the own disk people see how good the model is"
    assert machine.peer.following.replicas, "and what it has merged"


def test_time_alone_decides_when_something_is_published() -> None:
    said = []
    for rows in (8, 24):
        machine = with_rows(rows)
        machine.tick(61)
        said.append([(message.time, message.checkpoint) for message in machine.updates()])
    assert said[0] == said[1]
    assert len(said[0]) == 61_000 // EVERY + 1, "though nothing is gained, and little changes"


def test_when_all_rows_are_spent_it_merges_and_renews_and_trains_no_more() -> None:
    machine = Private(left=10)
    machine.tick(40)
    assert [body.steps for body in private_bodies(machine)] == [4, 8, 10], "the last cycle ends with what there is"
    newest = machine.updates()[-1]
    estimate = machine.peer.estimate().copy()
    frame = frame_of(*[3.0] * COUNT)
    machine.receive(update_of(machine.other(), frame, time=machine.clock.time), blocks=[frame])
    machine.tick(5)
    assert not np.array_equal(machine.peer.estimate(), estimate), "it follows the others"
    assert machine.updates()[-1] == newest
    machine.clock.time += 9 * HOUR
    machine.tick(3)
    renewed = machine.updates()[-1].body
    assert isinstance(renewed, Update)
    assert (renewed.frame.kind, renewed.steps, renewed.privacy) == (KEY, 10, machine.noisy.spent())
    assert machine.disk.releases == 10


def test_it_pays_for_nothing_before_it_has_heard_what_it_said() -> None:
    machine = Private()
    machine.tick(30)
    paid = private_bodies(machine)[-1].privacy.releases
    machine.disk.releases, machine.disk.left = 8, 72  # a backup of long ago
    past = machine.lose_all()
    machine.listens = machine.is_back = True
    machine.boot()
    machine.tick(20)
    assert machine.disk.releases == 8, "it may have said more than it knows"
    machine.receive(*past)
    machine.tick(60)
    assert machine.disk.releases > paid > 8
    new = [body.privacy.releases for body in private_bodies(machine)[-3:] if body.privacy]
    assert min(new) > paid


def test_weights_that_learnt_without_noise_are_no_beginning() -> None:
    machine, plain = Private(), Machine()
    plain.tick(3)
    machine.state, machine.host.blocks = plain.state, plain.host.blocks
    with pytest.raises(StateError, match="only 0 with noise"):
        machine.boot()


def test_a_budget_that_is_lost_counts_what_was_said_and_saved() -> None:
    machine = Private()
    machine.tick(8)
    machine.peer.save()
    saved, machine.disk.releases = machine.disk.releases, 0
    machine.boot()
    assert machine.disk.releases == saved


@pytest.mark.parametrize("survived", range(1, 9))
def test_a_crash_makes_no_release_forgotten(survived: int) -> None:
    machine = Private()
    before, put, save = 0, machine.store.put, machine.state.save

    def counted(call: Any) -> Any:
        def wrapped(*arguments: Any) -> Any:
            nonlocal before
            before += 1
            if before > survived:
                raise Crash
            return call(*arguments)

        return wrapped

    machine.store.put, machine.state.save = counted(put), counted(save)  # type: ignore[method-assign]
    with pytest.raises(Crash):
        machine.tick(60)
    machine.store.put, machine.state.save = put, save  # type: ignore[method-assign]
    taken = machine.disk.releases
    machine.boot()
    machine.tick(30)
    told = [body.privacy.releases for body in private_bodies(machine) if body.privacy]
    assert told == sorted(set(told))
    assert machine.disk.releases >= told[-1] > taken, "each step is paid for once, and told"
