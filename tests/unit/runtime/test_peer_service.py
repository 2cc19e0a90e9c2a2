"""What a role's peer does between two ticks."""

from collections.abc import Callable
from typing import Any

import pytest

from learnae.basics.error_log import ErrorLog
from learnae.errors import EquivocationError, NotWrittenError
from learnae.runtime import peer_service as member
from learnae.runtime.peer_service import PeerService, Schedule
from learnae.system.service import Work


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


class Linked:
    """A peer that writes down that it left."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.unmerging = self

    def act(self) -> None:
        pass

    def serve(self) -> None:
        pass

    def leave(self) -> None:
        self.peer.done.append("leave")


class Recording(Schedule):
    """Writes down, too, and has another pause after it was reloaded."""

    later = 0.0

    def collect(self) -> None:
        self.peer.done.append("collect")

    def reload(self) -> None:
        self.pause = self.later

    def leave(self) -> None:
        self.peer.done.append("keep")


@pytest.fixture
def clock() -> list[float]:
    return [100.0]


@pytest.fixture
def work(clock: list[float]) -> Callable[[Peer, Schedule], Work]:
    return lambda peer, schedule: PeerService(Linked(peer), schedule, lambda: clock[0]).work()  # type: ignore[arg-type]


Make = Callable[[Peer, Schedule], Work]


def test_a_member_listens_between_ticks_and_collects_before_each(clock: list[float], work: Make) -> None:
    peer = Peer()
    step = work(peer, Recording(peer, 1.0)).step
    pauses = []
    for _ in range(5):
        pauses.append(step())
        clock[0] += pauses[-1]
    assert peer.done == ["collect", "tick", "listen", "listen", "listen", "collect", "tick"]
    assert pauses == pytest.approx([0.25] * 5)


def test_ticks_close_to_each_other_leave_no_time_to_listen(clock: list[float], work: Make) -> None:
    peer = Peer()
    running = work(peer, Recording(peer, 0.1))
    assert running.step() == pytest.approx(0.1)
    clock[0] += 0.11
    running.reload()
    assert running.step() == 0.0
    assert peer.done == ["collect", "tick", "collect", "tick"]


def test_a_disk_that_takes_nothing_while_listening_stops_nobody(clock: list[float], work: Make) -> None:
    class Full(Peer):
        def listen(self) -> None:
            raise NotWrittenError("no space")

    peer = Full()
    step = work(peer, Schedule(peer, 1.0)).step  # type: ignore[arg-type]
    step()
    clock[0] += 0.25
    assert step() == pytest.approx(0.25)
    assert dict(peer.errors.counts) == {"NotWrittenError": 1}


@pytest.mark.parametrize("moment", ["tick", "listen"])
def test_a_peer_that_is_banned_leaves_before_the_program_ends(
    clock: list[float], work: Make, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    def banned() -> None:
        raise EquivocationError

    peer = Peer()
    monkeypatch.setattr(member, "summary", lambda _: "banned")
    monkeypatch.setattr(peer, moment, banned)
    running = work(peer, Recording(peer, 1.0))
    if moment == "listen":
        running.step()
        clock[0] += 0.25
    with pytest.raises(EquivocationError, match="joins with a new key"):
        running.step()
    assert peer.done[-2:] == ["keep", "leave"]
