"""What is said of a broker that is away, and of a rival with the same key; how long it is left alone."""

import logging
import re

import pytest

from learnae.adapters.mqtt import outage as module
from learnae.adapters.mqtt.outage import RIVAL, TAKEN_OVER, Outage


@pytest.fixture
def seconds(monkeypatch):
    """The time, moved by hand; and no jitter."""
    now = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(module.random, "uniform", lambda *_: 1.0)
    return now


def lose(outage: Outage, code: int = 0) -> float:
    """One connection from its beginning to its end."""
    outage.try_again()
    outage.end()
    outage.cut("lost", code)
    outage.go_on("gone", was_connected=True, is_wanted=False)
    return outage.delay(was_connected=True)


def said(caplog) -> list[str]:
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    return [re.sub("^MQTT broker broker(: | is away: )", "", text) for text in warnings]


def test_a_rival_is_named_once_and_given_more_and_more_time(seconds, caplog):
    outage, delays = Outage("broker"), []
    for _ in range(9):
        delays.append(lose(outage, TAKEN_OVER))
        seconds[0] += 2 * delays[-1]
    assert delays == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    assert said(caplog) == [RIVAL]
    assert RIVAL in outage.describe()
    assert outage.is_contested


def test_a_rival_that_is_gone_is_forgotten_and_another_is_named(seconds, caplog):
    outage = Outage("broker")
    for _ in range(3):
        lose(outage, TAKEN_OVER)
    seconds[0] += 121
    assert not outage.is_contested
    assert lose(outage, TAKEN_OVER) == 0.5
    assert said(caplog) == [RIVAL] * 2


def test_a_rival_that_only_this_process_has_noticed_is_blamed_for_the_next_loss(seconds, caplog):
    outage = Outage("broker")
    assert lose(outage) == 0.5
    outage.try_again()
    outage.end()
    outage.contest()
    assert [lose(outage) for _ in range(3)] == [0.5, 1, 2]
    assert said(caplog) == ["lost; trying again", RIVAL]
    seconds[0] += 121
    assert lose(outage) == 0.5
    assert said(caplog)[2:] == ["lost; trying again"]


def test_while_there_is_a_rival_other_reasons_are_still_told(seconds, caplog):
    outage = Outage("broker")
    lose(outage, TAKEN_OVER)
    outage.try_again()
    outage.blame("it refuses us")
    outage.go_on("gone", was_connected=False, is_wanted=False)
    assert said(caplog) == [RIVAL, "it refuses us; trying again"]
    assert "it refuses us" in outage.describe()


def test_other_losses_are_said_each_time_and_followed_by_quick_attempts(seconds, caplog):
    outage = Outage("broker")
    assert [lose(outage, code) for code in (0, 139, 128, 0)] == [0.5] * 4
    assert said(caplog) == ["lost; trying again"] * 4
    assert not outage.is_contested


def test_a_broker_that_is_away_is_tried_less_and_less_often(seconds, caplog):
    outage, delays = Outage("broker"), []
    for _ in range(6):
        outage.try_again()
        outage.go_on("refused", was_connected=False, is_wanted=False)
        delays.append(outage.delay(was_connected=False))
    assert delays == [0.5, 1, 2, 4, 8, 10]
    assert said(caplog) == ["refused; trying again"]
