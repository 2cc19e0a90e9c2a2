"""What a role's peer does between two ticks."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from learnae.error_log import ErrorLog
from learnae.errors import EquivocationError, NotWrittenError
from learnae.runtime import peer_service as member
from learnae.runtime.peer_service import PeerService


class Peer:
    """Writes down what it is told to do."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.errors = ErrorLog()

    def tick(self) -> None:
        self.done.append("tick")

    def listen(self) -> None:
        self.done.append("listen")

    def endure(self, error: NotWrittenError) -> None:
        self.errors.count(error)

    def status(self) -> dict[str, Any]:
        return {}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(member.time, "monotonic", lambda: now[0])
    return now


def test_a_member_listens_between_ticks_and_collects_before_each(clock: list[float]) -> None:
    peer = Peer()
    step = PeerService(None, peer, 1.0, lambda: 1.0, lambda: peer.done.append("collect")).work().step  # type: ignore[arg-type]
    pauses = []
    for _ in range(5):
        pauses.append(step())
        clock[0] += pauses[-1]
    assert peer.done == ["collect", "tick", "listen", "listen", "listen", "collect", "tick"]
    assert pauses == pytest.approx([0.25] * 5)


def test_ticks_close_to_each_other_leave_no_time_to_listen(clock: list[float]) -> None:
    peer = Peer()
    work = PeerService(None, peer, 0.1, lambda: 0.0, lambda: None).work()  # type: ignore[arg-type]
    assert work.step() == pytest.approx(0.1)
    clock[0] += 0.11
    work.reload()
    assert work.step() == 0.0
    assert peer.done == ["tick", "tick"]


def test_a_disk_that_takes_nothing_while_listening_stops_nobody(clock: list[float]) -> None:
    class Full(Peer):
        def listen(self) -> None:
            raise NotWrittenError("no space")

    peer = Full()
    step = PeerService(None, peer, 1.0, lambda: 1.0, lambda: None).work().step  # type: ignore[arg-type]
    step()
    clock[0] += 0.25
    assert step() == pytest.approx(0.25)
    assert dict(peer.errors.counts) == {"NotWrittenError": 1}


@pytest.mark.parametrize("moment", ["tick", "listen"])
def test_a_peer_that_is_banned_leaves_before_the_program_ends(
    clock: list[float], monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    def banned() -> None:
        raise EquivocationError

    peer = Peer()
    place = SimpleNamespace(leave=lambda left: peer.done.append(f"leave {left is peer}"))
    monkeypatch.setattr(member, "summary", lambda _: "banned")
    monkeypatch.setattr(peer, moment, banned)
    work = PeerService(place, peer, 1.0, lambda: 1.0, lambda: None, leave=lambda: peer.done.append("keep")).work()  # type: ignore[arg-type]
    if moment == "listen":
        work.step()
        clock[0] += 0.25
    with pytest.raises(EquivocationError, match="joins with a new key"):
        work.step()
    assert peer.done[-2:] == ["keep", "leave True"]
