"""The governor, on a virtual clock: limits are kept over time, by less duty, never by failing."""

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from builders import tiny_dataset, tiny_manifest

from agent.config import ResourcesSection
from agent.learning.engine_choice import why_no_training
from agent.learning.governor import DAY_SECONDS, Governor, Usage
from agent.learning.resources import Board, GovernedLearner
from agent.learning.schedule import AgentSchedule
from learnae.errors import ConfigurationError
from learnae.models.passive_learner import PassiveLearner
from learnae.models.reference.numpy_learner import NumpyLearner
from learnae.peer.publishing_policy import Cadence, PublishPolicy
from learnae.ports import Trained


@dataclass
class Machine:
    """A board on a virtual clock: a tick costs CPU seconds, wall seconds and bytes; sampling costs CPU always."""

    governor: Governor
    cpu_a_tick: float = 0.1
    seconds_a_tick: float = 0.2
    bytes_a_tick: int = 1000
    idle: float = 0.0  # CPU share of sampling
    temperature: float | None = None
    memory: float | None = None
    time: float = 0.0
    cpu: float = 0.0
    bytes: int = 0
    ticks: list[float] = field(default_factory=list)
    spent: list[int] = field(default_factory=list)

    def usage(self) -> Usage:
        return Usage(self.time, self.cpu, self.bytes, self.temperature, self.memory)

    def run(self, seconds: float, step: float = 1.0) -> None:
        """Look at the governor every ``step`` seconds, as the work loop does."""
        end = self.time + seconds
        while self.time < end:
            if self.governor.may_tick(self.usage()):
                self.ticks.append(self.time)
                self.spent.append(self.bytes_a_tick)
                self.time += self.seconds_a_tick
                self.cpu += self.cpu_a_tick + self.idle * self.seconds_a_tick
                self.bytes += self.bytes_a_tick
                self.governor.end(self.usage())
            self.time += step
            self.cpu += self.idle * step


def machine(pause: float = 1.0, **limits: float) -> Machine:
    return Machine(Governor(ResourcesSection(**limits), pause))  # type: ignore[arg-type]


def test_without_limits_the_pause_alone_counts() -> None:
    board = machine(pause=2.0, memory=0)
    board.run(100, 0.1)
    assert len(board.ticks) == pytest.approx(100 / 2.25, abs=3)
    assert board.governor.status()["slowed_by"] == []


@pytest.mark.parametrize("idle", [0.0, 0.03])
def test_the_cpu_share_is_kept_over_time_with_what_sampling_uses(idle: float) -> None:
    board = machine(pause=0.1, cpu=0.05)
    board.idle = idle
    board.run(1000, 0.05)
    assert 0.035 < board.cpu / board.time <= 0.055
    assert board.governor.status()["slowed_by"] == ["cpu"]


def test_sampling_that_uses_all_of_the_share_leaves_training_a_little() -> None:
    board = machine(pause=0.1, cpu=0.05)
    board.idle = 0.2
    board.run(1000, 0.05)
    assert 20 < len(board.ticks) < 80


def test_no_24_hours_see_more_bytes_than_the_limit_but_for_one_tick() -> None:
    board = machine(pause=1.0, bytes_per_day=2_000_000)
    for hour in range(72):
        board.bytes_a_tick = 9000 if hour >= 24 and hour % 7 else 100
        board.run(3600, 5.0)
    spent, times = np.array(board.spent), np.array(board.ticks)
    most = max(spent[(times >= start) & (times < start + DAY_SECONDS)].sum() for start in times)
    assert most <= 2_000_000 + 9000
    assert most > 1_500_000, "and most of it is used"
    assert "bytes" in board.governor.status()["slowed_by"]


def test_a_tick_that_costs_days_of_bytes_is_paid_off_before_the_next() -> None:
    board = machine(bytes_per_day=1000)
    board.bytes_a_tick = 2500
    board.run(7 * DAY_SECONDS, 60.0)
    assert len(board.ticks) == 3
    assert np.diff(board.ticks).min() > 2 * DAY_SECONDS


def test_bytes_that_come_in_between_two_ticks_count_and_end_the_listening() -> None:
    board = machine(pause=3600.0, bytes_per_day=24_000)
    board.bytes_a_tick = 100
    board.run(3600 * 3, 1.0)
    assert board.governor.may_listen
    ticks = len(board.ticks)
    board.bytes += 5000
    board.run(2, 1.0)
    assert not board.governor.may_listen
    board.run(3600 * 2, 1.0)
    assert len(board.ticks) == ticks
    board.run(3600 * 4, 1.0)
    assert board.governor.may_listen
    assert len(board.ticks) > ticks


def test_another_pause_counts_at_once() -> None:
    board = machine(pause=3600.0)
    board.run(10, 1.0)
    board.governor.change_pause(2.0)
    board.run(10, 1.0)
    assert len(board.ticks) >= 4


def test_heat_slows_down_step_by_step_and_coolness_speeds_up_again() -> None:
    board = machine(pause=1.0, temperature=70.0)
    board.governor.trained(1, 0.001)
    board.temperature = 75.0
    board.run(400, 0.1)
    gaps = np.diff(board.ticks)
    assert gaps[0] < gaps[2] < gaps[4]
    assert gaps.max() < 70
    assert board.governor.steps(64) == 1
    assert board.governor.status()["slowed_by"] == ["temperature"]
    board.temperature = 69.0  # not yet cool enough: no to and fro at the limit
    board.run(200, 0.1)
    assert board.governor.steps(64) == 1
    board.temperature = 60.0
    board.run(600, 0.1)
    assert board.governor.steps(64) == 64
    assert np.diff(board.ticks)[-1] < 1.5


def test_a_board_without_thermometer_or_memory_figures_is_not_limited_by_them() -> None:
    board = machine(pause=1.0, temperature=10.0, memory=10**6)
    board.run(20, 0.1)
    board.governor.trained(1, 0.001)
    assert board.governor.steps(26) == 26


def test_steps_take_at_most_ten_seconds() -> None:
    governor = Governor(ResourcesSection(), 1.0)
    assert governor.steps(1000) == 1, "nothing is known yet of a step"
    governor.trained(10, 5.0)
    assert governor.steps(1000) == 20
    governor.trained(1, 60.0)
    assert governor.steps(1000) == 1, "the slowest board still trains"


def test_too_little_memory_means_no_training() -> None:
    board = machine(memory=64)
    board.governor.trained(1, 0.001)
    board.memory = 63.0
    board.run(3, 1.0)
    assert board.governor.steps(26) == 0
    assert board.governor.status()["ticks_without_memory"] == 1
    assert board.governor.status()["slowed_by"] == ["memory"]
    board.memory = 65.0
    board.run(3, 1.0)
    assert board.governor.status()["slowed_by"] == []
    assert board.governor.steps(26) == 26


@pytest.mark.parametrize("key", ["cpu", "temperature", "bytes_per_day", "memory", "answers"])
@pytest.mark.parametrize("value", [-1, float("nan"), float("inf")])
def test_limits_that_mean_nothing_are_refused(key: str, value: float) -> None:
    with pytest.raises(ConfigurationError, match=key):
        ResourcesSection(**{key: value})


def test_others_may_ask_for_their_share_of_a_days_bytes_and_no_more() -> None:
    assert ResourcesSection().answers_per_second == 0
    rate = ResourcesSection(bytes_per_day=90_000_000, answers=0.5).answers_per_second
    assert rate * 25 * 3600 == pytest.approx(45_000_000), "of 24 hours, with an hour's at their beginning"


def test_a_governed_learner_trains_as_much_as_is_allowed_and_tells_how_long_it_took() -> None:
    manifest = tiny_manifest()
    rng = np.random.default_rng(0)
    plain = NumpyLearner(manifest.model, manifest.objective, manifest.optimiser, tiny_dataset(manifest), 8, rng)
    governor = Governor(ResourcesSection(memory=100), 1.0)
    learner = GovernedLearner(plain, governor, most=5)
    assert learner.train(8).steps == 5
    assert governor.status()["step_milliseconds"] > 0
    governor.may_tick(Usage(0.0, 0.0, 0, None, 50.0))
    assert learner.train(5).steps == 0
    assert (learner.weights() == plain.weights()).all()
    assert learner.evaluate(plain.weights()) == plain.evaluate(plain.weights())


class Slow(PassiveLearner):
    """Takes a step in ``seconds`` of the test's clock."""

    def __init__(self, seconds: float) -> None:
        super().__init__(1)
        self.seconds, self.now, self.calls = seconds, 0.0, list[float]()

    def train(self, steps: int) -> Trained:
        self.calls.append(steps * self.seconds)
        self.now += steps * self.seconds
        return Trained(steps, 1, float(len(self.calls)))


@pytest.mark.parametrize("seconds", [1e-5, 0.02, 3.0, 60.0])
def test_no_call_takes_long_whatever_the_steps_of_a_definition(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    slow = Slow(seconds)
    monkeypatch.setattr("agent.learning.resources.time", SimpleNamespace(monotonic=lambda: slow.now))
    learner = GovernedLearner(slow, Governor(ResourcesSection(), 1.0), most=10**6)
    trained = learner.train(1 << 40)
    assert slow.calls[0] == seconds
    assert max(slow.calls) <= max(10.0, seconds)
    assert trained.steps == pytest.approx(sum(slow.calls) / seconds)
    assert 1 < trained.loss <= 2, "the mean of both calls"


def test_a_tick_that_fails_counts_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    governor, ticks = Governor(ResourcesSection(), 1000.0), []

    def tick() -> None:
        ticks.append(1)
        raise ZeroDivisionError

    idle: list[int] = []
    cadence = Cadence(PublishPolicy(every=1_000_000))
    peer = SimpleNamespace(tick=tick, cadence=cadence, traffic=SimpleNamespace(bytes_out=0, bytes_in=0), status=dict)
    oracle = SimpleNamespace(monitor=SimpleNamespace(report=lambda _: idle.append(1)))
    schedule = AgentSchedule(peer, None, oracle, governor, Board(), None)
    with pytest.raises(ZeroDivisionError):
        schedule.tick()
    schedule.tick()
    assert (ticks, idle) == ([1], [1])


def test_the_board_is_as_hot_as_its_hottest_zone(tmp_path: Path) -> None:
    for name, text in (("thermal_zone0", "41000\n"), ("thermal_zone1", "72500\n"), ("thermal_zone2", "off\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "temp").write_text(text)
    (tmp_path / "meminfo").write_text("MemTotal:  500000 kB\nMemAvailable:     102400 kB\n")
    board = Board(tmp_path, tmp_path / "meminfo")
    assert (board.temperature(), board.memory()) == (72.5, 100.0)
    manifest = tiny_manifest()
    assert why_no_training(manifest, "auto", ResourcesSection(memory=100), board) == ""
    assert "100 MiB" in why_no_training(manifest, "auto", ResourcesSection(memory=101), board)
    nothing = Board(tmp_path / "absent", tmp_path / "absent")
    assert (nothing.temperature(), nothing.memory()) == (None, None)
    assert why_no_training(manifest, "auto", ResourcesSection(memory=101), nothing) == ""
    assert nothing.usage(7).bytes == 7
