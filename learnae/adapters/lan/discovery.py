"""Say every half minute who listens here, answer who asks, and look around for a few seconds."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable, Sequence

from learnae.adapters.lan.beacons import QUESTION
from learnae.adapters.lan.multicast import Multicast, interfaces
from learnae.adapters.lan.neighbours import BEACON_SECONDS, Neighbours
from learnae.adapters.token_bucket import TokenBucket
from learnae.errors import LearnaeError

_log = logging.getLogger(__name__)

BROWSE_SECONDS = 3.0
_ASK_EVERY = 1.0  # seconds, within a browse: datagrams are lost
_ASK_AGAIN = 5.0  # seconds between two questions of a service
_MAX_BEACONS = 8  # of one machine
_ANSWERS_A_SECOND = 1.0  # whatever is asked: answers go to all
_ANSWERS_AT_ONCE = 3


class BeaconService:
    """A thread that asks who is there, and sends what ``beacons`` returns: at once, each ``every`` seconds, if asked.

    What others say is kept in ``neighbours``. It follows interfaces that come and go; without any it waits.
    """

    def __init__(
        self,
        beacons: Callable[[], Sequence[bytes]],
        neighbours: Neighbours | None = None,
        every: float = BEACON_SECONDS,
    ) -> None:
        self.neighbours = neighbours or Neighbours()
        self._beacons, self._every = beacons, every
        self._answers = TokenBucket(_ANSWERS_AT_ONCE, _ANSWERS_A_SECOND)
        self._awake, self._alarm = socket.socketpair()
        self._closing, self._asking = threading.Event(), threading.Event()
        self._questions = TokenBucket(1, 1 / _ASK_AGAIN)
        self._reason = ""
        self._thread = threading.Thread(target=self._run, name="beacon", daemon=True)
        self._thread.start()

    def __enter__(self) -> BeaconService:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def state(self) -> str:
        """Return the state, for the status."""
        return f"away: {self._reason}" if self._reason else "connected"

    def ask(self) -> None:
        """Ask who is there; what was asked a moment ago is not asked again. Safe to use from several threads."""
        if self._questions.take() and not self._closing.is_set():
            self._asking.set()
            with contextlib.suppress(OSError):  # closed meanwhile
                self._alarm.send(b"\0")

    def close(self) -> None:
        """Stop; others forget this machine when it has missed three beacons."""
        self._closing.set()
        self._alarm.send(b"\0")
        self._thread.join()
        self._awake.close()
        self._alarm.close()

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                with Multicast() as group:
                    self._serve(group)
            except OSError as error:
                if not self._reason:
                    _log.warning("no beacon on this network: %s", error)
                self._reason = error.strerror or str(error)
                self._closing.wait(self._every)

    def _serve(self, group: Multicast) -> None:
        """Send and listen until the interfaces are other ones."""
        self._reason = ""
        group.send(QUESTION)  # what others said before is not known
        due = time.monotonic()
        while not self._closing.is_set():
            if time.monotonic() >= due:
                if interfaces() != group.interfaces:
                    return
                self._send(group)
                due = time.monotonic() + self._every
            heard = group.receive(due - time.monotonic(), self._awake)
            if self._asking.is_set():
                self._awake.recv(1)
                self._asking.clear()
                group.send(QUESTION)
            is_asked = [self.neighbours.hear(data, address) for data, address in heard]
            if any(is_asked) and self._answers.take():
                self._send(group)

    def _send(self, group: Multicast) -> None:
        try:
            beacons = self._beacons()
        except LearnaeError as error:
            _log.warning("no beacon this time: %s", error)
            return
        for datagram in beacons[:_MAX_BEACONS]:
            group.send(datagram)


def browse(
    seconds: float = BROWSE_SECONDS,
    neighbours: Neighbours | None = None,
    is_found: Callable[[Neighbours], bool] = lambda _: False,
    mdns: bool = True,
) -> Neighbours:
    """Ask this network who is there and listen for ``seconds``, or until ``is_found``; return what was heard.

    With ``mdns`` also by mDNS, if the package zeroconf is installed. Where there is no multicast nothing is heard.
    """
    from learnae.adapters.lan.mdns import MdnsBrowser  # noqa: PLC0415 - an agent only has a beacon

    neighbours = neighbours or Neighbours()
    end, ask = time.monotonic() + seconds, 0.0
    with MdnsBrowser(neighbours, is_wanted=mdns):
        try:
            with Multicast() as group:
                while (now := time.monotonic()) < end and not is_found(neighbours):
                    if now >= ask:
                        group.send(QUESTION)
                        ask = now + _ASK_EVERY
                    for data, address in group.receive(min(end - now, 0.1)):
                        neighbours.hear(data, address)
        except OSError as error:
            _log.info("no multicast here: %s", error)
            while time.monotonic() < end and mdns and not is_found(neighbours):
                time.sleep(0.1)
    return neighbours
