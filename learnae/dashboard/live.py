"""The page of a running peer: starts the server, and pushes a state when there is a viewer."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from learnae.basics.overriding import override
from learnae.config.dashboard_section import DashboardSection
from learnae.config.sections import LanSection, MqttSection
from learnae.dashboard.access import Access
from learnae.dashboard.address import PageAddress
from learnae.dashboard.board import Board
from learnae.dashboard.metrics import exposition
from learnae.dashboard.parts import Offers, Parts
from learnae.dashboard.server import DashboardServer, ServerBounds, Write
from learnae.dashboard.writes import invites_of, labels_of
from learnae.errors import LearnaeError, NotWrittenError
from learnae.runtime.linked_peer import LinkedPeer
from learnae.runtime.peer_service import Page

_log = logging.getLogger(__name__)

_TRY_SECONDS = 30.0  # from one try to the next to listen where another program does
_NOTE_SECONDS = 1.0  # from one point of the curves to the next


class LivePage(Page):
    """Shows ``linked`` as ``section`` says; called on the tick's thread. A place that is taken ends no peer."""

    def __init__(
        self,
        section: DashboardSection,
        linked: LinkedPeer,
        offers: Offers,
        writes: Mapping[str, Write],
        bounds: ServerBounds | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._section = section
        self._linked = linked
        self._bounds = bounds or ServerBounds()
        self._monotonic = monotonic
        self._board = Board()
        self._parts = Parts(linked, offers, self._board.history)
        self._writes = writes
        self._server: DashboardServer | None = None
        self._is_refused = False
        self._try_at = self._note_at = self._push_at = float("-inf")

    @override
    def serve(self) -> None:
        now = self._monotonic()
        if self._server is None and now >= self._try_at:
            self._try_at = now + _TRY_SECONDS
            self._start()
        if now >= self._note_at:
            self._note_at = now + _NOTE_SECONDS
            self._parts.note()
        if now >= self._push_at and self._board.is_wanted:
            self._push_at = now + self._bounds.pause
            try:
                self.push()
            except LearnaeError as error:  # what cannot be shown ends no peer
                self._linked.peer.errors.count(error)

    def push(self) -> None:
        """Show the peer as it is now."""
        status = self._linked.peer.status()
        texts = self._parts.texts(status)
        shown = exposition(status, self._parts.headline(status).state) if self._section.metrics else ""
        self._board.publish(texts, shown)

    @override
    def close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        self._try_at = float("inf")

    @property
    def port(self) -> int:
        """Return where it is served; 0 if it is not."""
        return self._server.port if self._server else 0

    def _start(self) -> None:
        """Listen, and write down where, for ``learnae dashboard``."""
        directory: Path = self._linked.workspace.directory
        place, run = self._section.place(), secrets.token_bytes(8)
        key = PageAddress.key_in(directory)
        names = [*self._section.names.split(), *([] if place[0] in ("0.0.0.0", "::") else [_as_host(place[0])])]  # noqa: S104
        access = partial(_access, key, run, names)
        server = DashboardServer(
            self._board, place, access, self._writes, metrics=self._section.metrics, bounds=self._bounds
        )
        try:
            server.start()
        except OSError as error:
            remedy = "set another dashboard.listen, or port 0 for a free one"
            if not self._is_refused:
                _log.warning("no dashboard at %s: %s; %s", self._section.listen, error.strerror, remedy)
            self._is_refused = True  # the next time, too; said once
            return
        self._server = server
        host = "127.0.0.1" if place[0] in ("0.0.0.0", "::") else place[0]  # noqa: S104
        try:
            PageAddress(f"http://{_as_host(host)}:{server.port}/", key, run).write(directory)
        except NotWrittenError as error:
            _log.warning("where the dashboard is could not be written: %s", error)
        _log.info("dashboard at http://%s:%d/: learnae dashboard prints the address with a token", host, server.port)


def live_page(
    section: DashboardSection,
    linked: LinkedPeer,
    mqtt: MqttSection,
    lan: LanSection,
    offers: Offers,
    label: Callable[[str, float | None], None] | None = None,
) -> LivePage:
    """Make the page that ``section`` asks for, with what a role ``offers``; ``label`` labels readings (writes.py).

    Its viewers may let others in where a key of this machine can.
    """
    writes = invites_of(linked.workspace.swarm, mqtt, lan)
    offers = replace(offers, invite=bool(writes))
    return LivePage(section, linked, offers, writes | (labels_of(label) if label and offers.classes else {}))


def _access(key: bytes, run: bytes, names: list[str], port: int) -> Access:
    return Access(key, run, port, names)


def _as_host(host: str) -> str:
    return f"[{host}]" if ":" in host else host
