"""A role's peer as a service: what agents and trainers have in common once they are wired."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from learnae.adapters.local.status_file import summary
from learnae.errors import EquivocationError, NotWrittenError
from learnae.peer.peer import Peer
from learnae.runtime.workspace import Workspace
from learnae.system.service import Work

log = logging.getLogger("learnae")

_LISTEN = 0.25  # seconds: what others say is this much older at every hop, and listening costs little


class PeerService:
    """Lets a peer tick with ``pause`` seconds between, in which it listens.

    ``collect`` runs before each tick, ``leave`` when it ends; ``tick`` and ``listen`` stand in for the peer's own
    where a role knows better when it is time. A disk that takes nothing stops nobody: nothing is published before
    it is saved, and the next tick tries again.
    """

    def __init__(
        self,
        place: Workspace,
        peer: Peer,
        pause: float,
        read_pause: Callable[[], float],
        collect: Callable[[], None],
        tick: Callable[[], object] | None = None,
        leave: Callable[[], None] = lambda: None,
        listen: Callable[[], object] | None = None,
    ) -> None:
        self.peer = peer
        self._place = place
        self._pause = pause
        self._read_pause = read_pause
        self._collect = collect
        self._tick = tick or peer.tick
        self._leave = leave
        self._listen = listen or peer.listen
        self._due = time.monotonic()

    def work(self) -> Work:
        """The member as the service sees it."""
        return Work(self._step, self._drain, self._reload, lambda: summary(self.peer.status()))

    def _step(self) -> float:
        if time.monotonic() < self._due:
            self._survive(self._listen)
        else:
            self._collect()
            self._survive(self._tick)
            self._due = time.monotonic() + self._pause
        return max(0.0, min(self._due - time.monotonic(), _LISTEN))

    def _survive(self, work: Callable[[], object]) -> None:
        try:
            work()
        except NotWrittenError as error:
            self.peer.endure(error)
        except EquivocationError:
            self._drain()  # what has been collected is kept, and the last status says why it ends
            raise

    def _drain(self) -> None:
        self._leave()
        self._place.leave(self.peer)
        log.info(summary(self.peer.status()))

    def _reload(self) -> None:
        """Only the pause changes while the peer runs; everything else is read at the next start."""
        pause = self._read_pause()
        self._due += pause - self._pause  # it counts at once
        self._pause = pause
