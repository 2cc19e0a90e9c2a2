"""From a board's ticks to Unix time."""

import random

import pytest

from firmware_bridge.serial_link.clock import BoardClock

START = 1_700_000_000.0


class Board:
    """A clock that is ``fast`` (parts of 1) and began at ``ticks``."""

    def __init__(self, fast: float = 0.0, ticks: int = 0, rate: int = 1000) -> None:
        self.fast, self.begun, self.rate = fast, ticks, rate

    def ticks(self, time: float) -> int:
        return (self.begun + round((time - START) * (1 + self.fast) * self.rate)) % (1 << 32)


def follow(board: Board, seconds: int, noise: float = 0.0, seed: int = 1) -> BoardClock:
    clock, rng = BoardClock(board.rate), random.Random(seed)
    for second in range(seconds):
        sent = START + second
        answered = sent + rng.uniform(0.001, 0.001 + noise)
        clock.observe(board.ticks(answered), sent, answered + rng.uniform(0.001, 0.001 + noise))
    return clock


@pytest.mark.parametrize("fast", [0.0, 50e-6, -0.003, 0.02])
def test_offset_and_drift_are_found_through_noise(fast):
    board = Board(fast)
    clock = follow(board, 120, noise=0.02)
    assert clock.is_set
    assert clock.drift == pytest.approx(1 / (1 + fast) - 1, abs=100e-6)
    for ahead in (-10, 0, 5):
        moment = START + 119 + ahead
        assert clock.time(board.ticks(moment)) == pytest.approx(moment, abs=0.015)
    assert clock.steps == 0


def test_one_answer_is_enough_for_an_offset():
    board = Board(ticks=12345)
    clock = follow(board, 1)
    assert clock.drift == 0
    assert clock.time(board.ticks(START + 2)) == pytest.approx(START + 2, abs=0.003)
    assert clock.doubt < 0.01


def test_ticks_that_wrap_do_not_turn_time_back():
    board = Board(ticks=2**32 - 30_000)
    clock = follow(board, 60)
    assert clock.time(board.ticks(START + 29.5)) == pytest.approx(START + 29.5, abs=0.01)
    assert clock.time(board.ticks(START + 62)) == pytest.approx(START + 62, abs=0.01)


def test_microseconds_wrap_often_and_a_long_silence_is_bridged():
    board = Board(rate=1_000_000)
    clock = follow(board, 10)
    later = START + 3 * 4294.967296 + 100  # three wraps without a word
    clock.observe(board.ticks(later), later - 0.001, later + 0.001)
    assert clock.time(board.ticks(later + 1)) == pytest.approx(later + 1, abs=0.01)
    assert clock.steps == 0


@pytest.mark.parametrize("jump", [3600.0, -3600.0])
def test_a_system_clock_that_is_set_is_followed_at_once(jump):
    board = Board()
    clock = follow(board, 60)
    sent = START + 60
    clock.observe(board.ticks(sent), sent + jump, sent + jump + 0.002)
    assert clock.steps == 1
    assert clock.time(board.ticks(START + 61)) == pytest.approx(START + 61 + jump, abs=0.01)


def test_what_is_kept_is_bounded_and_reaches_far_back():
    board = Board(1e-4)
    clock = follow(board, 3000, noise=0.01)
    assert len(clock._answers) <= 64
    assert clock._answers[-1].host - clock._answers[0].host > 300
    assert clock.drift == pytest.approx(-1e-4, abs=5e-6)


def test_a_slow_answer_counts_little():
    board = Board()
    clock = follow(board, 30)
    sent = START + 30
    clock.observe(board.ticks(sent), sent, sent + 0.9)  # the answer was held up
    assert clock.time(board.ticks(START + 31)) == pytest.approx(START + 31, abs=0.005)
