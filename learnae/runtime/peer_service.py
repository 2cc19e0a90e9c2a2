"""A role's peer as a service: what agents and trainers have in common once they are wired."""

import logging
import time
from collections.abc import Callable
from typing import Protocol

from learnae.adapters.local.status_file import summary
from learnae.adapters.local.vector_files import LARGE
from learnae.basics.memory import give_back
from learnae.basics.overriding import override
from learnae.errors import EquivocationError, NotWrittenError
from learnae.peer.peer import Peer, Tick
from learnae.runtime.linked_peer import LinkedPeer
from learnae.system.service import Work

_log = logging.getLogger(__name__)

_LISTEN_SECONDS = 0.25  # what others announce gets so much older at every hop, and listening costs little


class Schedule:
    """Lets ``peer`` tick with ``pause`` seconds between, in which it listens. Each role overrides what it decides."""

    def __init__(self, peer: Peer, pause: float) -> None:
        self.peer = peer
        self.pause = pause

    def collect(self) -> None:
        """Take in new data, before each tick."""

    def tick(self) -> Tick | None:
        """Let the peer tick, if it is time; return what it did."""
        return self.peer.tick()

    def listen(self) -> None:
        """Let the peer listen between two ticks, if it may."""
        self.peer.listen()

    def reload(self) -> None:
        """Read the configuration again: only how often is published changes meanwhile. Raises ConfigurationError."""

    def leave(self) -> None:
        """Keep what has been collected, before the peer is saved."""


class Page(Protocol):
    """Shows the peer to people; called between the parts of a tick, and never waits."""

    def serve(self) -> None:
        """Push what viewers wait for."""

    def close(self) -> None:
        """Show nothing any more."""


class Worker(Protocol):
    """Something that runs as a service."""

    def work(self) -> Work:
        """Return what a Service calls."""


class PeerService(Worker):
    """Runs a peer by its role's ``schedule``, from the first tick until it leaves.

    A disk that takes nothing does not end it: nothing is published before it is saved, and the next tick tries again.
    ``page`` shows it, if there is one.
    """

    def __init__(
        self,
        linked: LinkedPeer,
        schedule: Schedule,
        monotonic: Callable[[], float] = time.monotonic,
        page: Page | None = None,
    ) -> None:
        self._linked = linked
        self._page = page
        self._schedule = schedule
        self._monotonic = monotonic
        self._due = monotonic()
        self._is_starting = True  # until an update is out

    @override
    def work(self) -> Work:
        return Work(self._step, self._drain, self._reload, self._summary)

    def _step(self) -> float:
        self._linked.serve()
        if self._page:
            self._page.serve()
        if self._monotonic() < self._due:
            self._survive(self._schedule.listen)
        else:
            self._schedule.collect()
            self._survive(self._tick)
            self._due = self._monotonic() + self._schedule.pause
        return max(0.0, min(self._due - self._monotonic(), _LISTEN_SECONDS))

    def _tick(self) -> None:
        self._linked.unmerging.act()
        done = self._schedule.tick()
        if done and done.published:
            self._linked.versions.offer()
        if done and (done.published or done.merged) and (self._is_starting or self._is_large()):
            self._is_starting = self._is_starting and not done.published
            give_back()

    def _is_large(self) -> bool:
        """Return True where merges and updates make whole vectors that are worth giving back."""
        return len(self._linked.peer.estimate()) >= LARGE

    def _survive(self, work: Callable[[], object]) -> None:
        try:
            work()
        except NotWrittenError as error:
            self._linked.peer.endure(error)
        except EquivocationError:
            self._drain()  # what has been collected is kept, and the last status says why it ends
            raise

    def _drain(self) -> None:
        if self._page:
            self._page.close()
        self._schedule.leave()
        self._linked.leave()
        _log.info(self._summary())

    def _reload(self) -> None:
        before = self._schedule.pause
        self._schedule.reload()
        self._due += self._schedule.pause - before  # it counts at once

    def _summary(self) -> str:
        return summary(self._linked.peer.status())
