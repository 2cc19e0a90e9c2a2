"""What ``learnae watch --broker`` waits for before it shows its first table."""

from __future__ import annotations

import pytest

from learnae.cli.commands.look import watch_broker as remote


class Broker:
    """A connection and its audience at once: slow to confirm, then quick to tell. Only sleeping moves its clock."""

    is_connected = True

    def __init__(self, monkeypatch: pytest.MonkeyPatch, confirms_at: float) -> None:
        self.now, self.confirms_at = 0.0, confirms_at
        monkeypatch.setattr(remote, "time", self)

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    @property
    def is_subscribing(self) -> bool:
        return self.now < self.confirms_at

    def peers(self) -> list[str]:
        return [] if self.is_subscribing else ["alice"]


def test_a_first_look_waits_for_a_broker_that_confirms_late(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = Broker(monkeypatch, confirms_at=4.0)
    remote._wait_for_retained(broker, broker)
    assert broker.peers() == ["alice"]


def test_a_broker_that_never_confirms_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = Broker(monkeypatch, confirms_at=1e9)
    remote._wait_for_retained(broker, broker)
    assert broker.now < 60
