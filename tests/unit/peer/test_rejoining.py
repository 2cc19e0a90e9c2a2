"""Who must hear others before it speaks, and how long."""

import pytest
from builders import NOW
from learnae.peer.rejoining import RejoinGuard

from learnae.ports import Gossip
from learnae.protocol.limits import HOUR, MINUTE
from learnae.simulation.network import VirtualClock

SECOND = 1000


class Radio(Gossip):
    """A peer that is back after ``away`` ms, on a machine that has been up for ``uptime``."""

    def __init__(self, away: int, uptime: int = HOUR, has_links: bool = True) -> None:
        self.clock = VirtualClock(NOW)
        self.clock.booted = NOW - uptime
        self.announced = 3  # by an earlier run of the same process, perhaps
        self.has_links = has_links
        self.guard = RejoinGuard(self.clock, self)
        self.guard.start(NOW - away)

    @property
    def announcements(self) -> int | None:
        return self.announced if self.has_links else None

    def wait(self, seconds: float, heard: int = 0, oldest: int | None = None) -> bool:
        """Whether it still listens after so long, in which so much was ``heard``."""
        self.clock.time += int(seconds * SECOND)
        self.announced += heard
        self.guard.note_heard(oldest)
        return self.guard.must_stay_silent(has_spoken=True)


@pytest.mark.parametrize(("away", "uptime", "listens"), [
    (2 * SECOND, HOUR, False),
    (-2 * SECOND, HOUR, False),  # dated after the others' messages, whose clocks are ahead
    (MINUTE, HOUR, True),
    (-MINUTE, HOUR, True),  # the clock went back: who knows for how long it was away
    (2 * SECOND, 30 * SECOND, True),  # a board whose clock went on from where its card was copied
])  # fmt: skip
def test_who_was_away_or_has_just_started_its_machine_listens(away: int, uptime: int, listens: bool) -> None:
    radio = Radio(away, uptime)
    assert radio.wait(0) is listens
    assert (radio.guard.since == NOW) is listens


def test_where_there_is_nobody_to_hear_nobody_listens() -> None:
    assert not Radio(HOUR, has_links=False).wait(0)


def test_it_ends_when_somebody_was_heard_and_nothing_old_has_come_for_a_while() -> None:
    radio = Radio(HOUR)
    assert radio.wait(30)
    assert radio.wait(30, heard=1)
    assert radio.wait(19, heard=1, oldest=NOW + MINUTE), "what is new is said all the time"
    assert radio.wait(0.5, oldest=NOW - 1), "a part of the past"
    assert radio.wait(19.9)
    assert not radio.wait(0.1)
    assert radio.guard.since is None
    assert not radio.wait(MINUTE)


def test_it_ends_though_nobody_is_heard_and_though_the_past_never_ends() -> None:
    for oldest in (None, NOW - HOUR):
        radio = Radio(HOUR)
        assert all(radio.wait(10, heard=oldest is not None, oldest=oldest) for _ in range(29))
        assert not radio.wait(10)


def test_an_hour_back_or_forth_makes_who_has_spoken_listen_once() -> None:
    for jump in (HOUR, -HOUR):
        for has_spoken in (True, False):
            radio = Radio(2 * SECOND)
            assert not radio.wait(0)
            radio.clock.time += jump
            radio.clock.booted += jump
            assert radio.guard.must_stay_silent(has_spoken) is has_spoken
            assert radio.wait(1, heard=1) is has_spoken
            assert not radio.wait(20)


def test_a_long_pause_is_no_jump() -> None:
    radio = Radio(2 * SECOND)
    assert not radio.wait(0)
    assert not radio.wait(3600)
