"""Who must hear others before it publishes, and how long."""

import pytest
from builders import NOW

from learnae.peer.catching_up import CatchUp, Progress
from learnae.ports import Gossip
from learnae.protocol.limits import HOUR, MINUTE
from learnae.simulation.network import VirtualClock

SECOND = 1000


class Radio(Gossip):
    """A peer that last spoke ``away`` ms ago, or never, on a machine that has been up for ``uptime``."""

    def __init__(self, away: int | None, uptime: int = HOUR, has_links: bool = True) -> None:
        self.clock = VirtualClock(NOW)
        self.clock.booted = NOW - uptime
        self.announced = 3  # by an earlier run of the same process, perhaps
        self.has_links = has_links
        self.here, self.begun = Progress(0, 0), 0
        self.catch_up = CatchUp(self.clock, self, self.begin, lambda: self.here)
        self.catch_up.start(None if away is None else NOW - away, is_new=away is None)

    @property
    def announcements(self) -> int | None:
        return self.announced if self.has_links else None

    def begin(self) -> None:
        self.begun += 1

    def wait(self, seconds: float, heard: int = 0, done: int | None = None, known: int | None = None) -> bool:
        """Whether it is still silent after so long, at whose end so much was ``heard`` and is ``done``."""
        self.clock.time += int(seconds * SECOND)
        self.announced += heard
        before = self.here
        self.here = Progress(before.done if done is None else done, before.known if known is None else known)
        return self.catch_up.must_stay_silent(has_spoken=True)


@pytest.mark.parametrize(("away", "uptime", "listens"), [
    (2 * SECOND, HOUR, False),
    (-2 * SECOND, HOUR, False),  # dated after the others' messages, whose clocks are ahead
    (MINUTE, HOUR, True),
    (-MINUTE, HOUR, True),  # the clock went back: who knows for how long it was away
    (2 * SECOND, 30 * SECOND, True),  # a board whose clock went on from where its card was copied
    (None, HOUR, True),
])  # fmt: skip
def test_who_is_new_or_was_away_or_has_just_started_its_machine_listens(
    away: int | None, uptime: int, listens: bool
) -> None:
    radio = Radio(away, uptime)
    assert radio.wait(0) is listens
    assert (radio.catch_up.since == NOW) is listens
    assert radio.begun == listens


@pytest.mark.parametrize("away", [None, HOUR])
def test_where_there_is_nobody_to_hear_only_what_is_missing_is_waited_for(away: int | None) -> None:
    assert not Radio(away, has_links=False).wait(0)
    radio = Radio(away, has_links=False)
    assert radio.wait(0, done=0, known=2)
    assert radio.wait(19.9, done=1)
    assert not radio.wait(0.1, done=2)


def test_who_was_away_stays_silent_without_end_while_no_other_machine_is_heard() -> None:
    radio = Radio(HOUR)
    assert all(radio.wait(10 * 60) for _ in range(100))
    assert radio.wait(1, done=2, known=2), "peers of the own machine know no more than it does"
    assert radio.wait(10 * 60)
    assert radio.wait(1, heard=1)
    assert not radio.wait(12)


def test_it_ends_when_all_is_here_that_was_announced_first() -> None:
    radio = Radio(HOUR)
    assert radio.wait(30, heard=1, known=3)
    assert radio.wait(3, heard=1, known=4), "one more was announced in time"
    assert radio.wait(15, heard=1, done=3)
    assert radio.catch_up.since == NOW
    assert not radio.wait(1, heard=1, done=4, known=5)
    assert radio.catch_up.since is None
    assert not radio.wait(HOUR / SECOND, known=9)


@pytest.mark.parametrize(("away", "seconds"), [(None, 3), (HOUR, 12)])
def test_where_nothing_is_missing_it_ends_after_some_seconds(away: int | None, seconds: float) -> None:
    """Who has spoken hears until announcements are renewed: an older one may lack what it said last."""
    radio = Radio(away)
    assert radio.wait(5, heard=1, done=3, known=3)
    assert radio.wait(seconds - 0.1, heard=20)
    assert not radio.wait(0.1)


def test_what_does_not_come_is_given_up() -> None:
    radio = Radio(HOUR)
    assert radio.wait(1, heard=1, known=3)
    assert radio.wait(10, done=1)
    assert radio.wait(19.9, heard=20)
    assert not radio.wait(0.1)


def test_what_one_has_taken_to_its_grave_keeps_no_newcomer_waiting_for_long() -> None:
    for away, seconds in ((None, 6), (HOUR, 20)):
        radio = Radio(away)
        assert radio.wait(1, heard=1, done=2, known=8)
        assert radio.wait(1, done=7)
        assert radio.wait(seconds - 0.1, heard=20)
        assert not radio.wait(0.1)


def test_invented_authors_and_a_swarm_that_grows_all_the_time_keep_no_peer_silent() -> None:
    radio = Radio(None)
    assert radio.wait(1, heard=1, done=1, known=2)
    assert all(radio.wait(1, heard=1, known=2 + number) for number in range(1, 20))
    assert not radio.wait(1, heard=1, known=30)
    radio = Radio(None)
    assert radio.wait(1, heard=1, done=0, known=20)
    assert all(radio.wait(1, heard=1, done=number, known=20 + number) for number in range(1, 20))
    assert not radio.wait(1, heard=1, done=23, known=40)


def test_a_newcomer_that_hears_nobody_founds_the_swarm_after_some_seconds() -> None:
    radio = Radio(None)
    assert radio.wait(9)
    assert radio.wait(2.9)
    assert not radio.wait(0.1)


@pytest.mark.parametrize(("away", "listens"), [(None, False), (MINUTE, True)])
def test_only_the_first_newcomer_of_all_has_nobody_to_hear(away: int | None, listens: bool) -> None:
    radio = Radio(away)
    radio.catch_up = CatchUp(radio.clock, radio, radio.begin, lambda: radio.here)
    radio.catch_up.start(None if away is None else NOW - away, is_new=away is None, is_first=True)
    assert radio.wait(0) == listens


def test_a_newcomer_that_hears_only_its_own_machine_takes_that_in_and_goes_on() -> None:
    radio = Radio(None)
    assert radio.wait(1, known=2)
    assert radio.wait(12, done=1)
    assert radio.wait(3)
    assert not radio.wait(1, done=2)


def test_a_newcomer_that_hears_somebody_at_last_waits_for_what_was_announced() -> None:
    radio = Radio(None)
    assert radio.wait(9)
    assert radio.wait(2.9, heard=1, known=1)
    assert radio.wait(15)
    assert not radio.wait(0, done=1)


def test_progress_is_shown() -> None:
    radio = Radio(HOUR)
    radio.wait(1, heard=1, done=1, known=7)
    assert radio.catch_up.progress == Progress(done=1, known=7)


def test_an_hour_back_or_forth_makes_who_has_spoken_listen_anew() -> None:
    for jump in (HOUR, -HOUR):
        for has_spoken in (True, False):
            radio = Radio(2 * SECOND)
            assert not radio.wait(0)
            radio.clock.time += jump
            radio.clock.booted += jump
            assert radio.catch_up.must_stay_silent(has_spoken) is has_spoken
            assert radio.begun == has_spoken
            assert radio.wait(1, heard=1, done=1, known=1) is has_spoken
            assert not radio.wait(12)
            assert not radio.wait(0, known=2)


def test_a_jump_of_the_clock_of_a_machine_without_links_is_nothing_to_hear_about() -> None:
    radio = Radio(2 * SECOND, has_links=False)
    radio.clock.time += HOUR
    radio.clock.booted += HOUR
    assert not radio.wait(0)
    assert not radio.begun


def test_a_long_pause_is_no_jump() -> None:
    radio = Radio(2 * SECOND)
    assert not radio.wait(0)
    assert not radio.wait(3600)
