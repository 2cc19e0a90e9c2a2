"""When a trainer ticks: how its share of the time and its updates make slices and pauses."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from learnae.models.passive_learner import PassiveLearner
from learnae.peer.publishing_policy import Cadence, PublishPolicy
from learnae.ports import Trained
from trainer_node.config import TrainerConfig
from trainer_node.learning.paced_learner import PacedLearner
from trainer_node.wiring import TrainerSchedule, policy_of


class Peer:
    """Trains for as long as its learner's slice, or not at all."""

    is_idle = is_private = False
    spared = 0.0

    def __init__(self, every: int) -> None:
        self.cadence = Cadence(PublishPolicy(every))
        self.learner = PacedLearner(PassiveLearner(count=1), 26)

    def spare(self) -> float:
        return self.spared

    def tick(self) -> Any:
        self.learner.last_seconds = 0.0 if self.is_idle else self.learner.slice_seconds
        return SimpleNamespace(trained=Trained(0 if self.is_idle else 26, 1, 0.0), published=None)


def schedule_of(peer: Peer, share: float, config: TrainerConfig | None = None) -> TrainerSchedule:
    return TrainerSchedule(peer, peer.learner, share, lambda: config or TrainerConfig())  # type: ignore[arg-type]


def test_a_whole_core_is_trained_on_without_a_pause() -> None:
    peer = Peer(every=750)
    schedule = schedule_of(peer, share=1.0)
    schedule.tick()
    assert (peer.learner.slice_seconds, schedule.pause) == (0.2, 0.0)


@pytest.mark.parametrize(
    ("share", "every", "slice_seconds"), [(0.25, 750, 0.1875), (0.1, 80, 0.008), (0.5, 60_000, 0.2)]
)
def test_a_share_is_kept_and_an_update_comes_in_time(share: float, every: int, slice_seconds: float) -> None:
    peer = Peer(every)
    schedule = schedule_of(peer, share)
    schedule.tick()
    assert peer.learner.slice_seconds == pytest.approx(slice_seconds)
    assert slice_seconds / (slice_seconds + schedule.pause) == pytest.approx(share)
    assert slice_seconds + schedule.pause <= max(every / 1000, 0.4) + 1e-9


@pytest.mark.parametrize(
    ("every", "spare", "pause"), [(80, 0.0, 0.08), (60_000, 0.0, 1.0), (60_000, 300.0, 0.3), (60_000, 5000.0, 1.0)]
)
def test_without_anything_to_train_it_waits_until_a_cycle_begins(every: int, spare: float, pause: float) -> None:
    peer = Peer(every)
    peer.is_idle, peer.spared = True, spare
    schedule = schedule_of(peer, share=1.0)
    schedule.tick()
    assert schedule.pause == pause


def test_a_tick_that_fails_is_not_repeated_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> None:
        raise ZeroDivisionError

    peer = Peer(every=750)
    schedule = schedule_of(peer, share=1.0)
    monkeypatch.setattr(peer, "tick", fails)
    with pytest.raises(ZeroDivisionError):
        schedule.tick()
    assert schedule.pause == 1.0


def test_a_reload_changes_share_and_how_often_is_published() -> None:
    config = TrainerConfig()
    config = replace(config, train=replace(config.train, share=0.5), publish=replace(config.publish, every=0.1))
    peer = Peer(every=750)
    schedule = schedule_of(peer, 1.0, config)
    schedule.reload()
    schedule.tick()
    assert peer.cadence.policy == policy_of(config, is_private=False)
    assert (peer.learner.slice_seconds, schedule.pause) == pytest.approx((0.05, 0.05))
    peer.is_private = True
    schedule_of(peer, 1.0, TrainerConfig()).reload()
    assert peer.cadence.policy.every == 60_000, "rows pay for each update"
