"""Peers in this process, one of them with its page: ticked by a thread, as a service does."""

import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from builders import tiny_learner, tiny_manifest

from learnae.config.dashboard_section import DashboardSection
from learnae.dashboard.address import PageAddress
from learnae.dashboard.live import LivePage
from learnae.dashboard.parts import Offers
from learnae.dashboard.server import ServerBounds, Write
from learnae.peer.peer import Options
from learnae.runtime.linked_peer import LinkedPeer, build_peer
from learnae.runtime.workspace import Workspace
from learnae.swarm.directory import create_swarm


class PagedPeers:
    """Peers of one swarm below ``root`` (LEARNAE_HOME), by name; the first has a page. A context manager."""

    def __init__(self, root: Path, *names: str, writes: dict[str, Write] | None = None, **offers: Any) -> None:
        swarm = create_swarm(tiny_manifest())
        self.linked = [self._peer(swarm, root / f"peer {number}", name) for number, name in enumerate(names)]
        section = DashboardSection("127.0.0.1:0", metrics=True)
        self.page = LivePage(section, self.linked[0], Offers(**offers), writes or {}, ServerBounds(pause=0.05))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work)

    def __enter__(self) -> Self:
        for _ in range(3):
            self.tick()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self.page.close()
        with ExitStack() as leaving:
            for linked in self.linked:
                leaving.callback(linked.leave)

    def tick(self) -> None:
        """Let each peer tick once, and the page be served."""
        for linked in self.linked:
            linked.peer.tick()
        self.page.serve()

    def url(self) -> str:
        """Return the page's address with a token."""
        address = PageAddress.read(self.linked[0].workspace.directory)
        assert address
        return address.with_token()

    def _work(self) -> None:
        while not self._stop.wait(0.05):
            self.tick()

    @staticmethod
    def _peer(swarm: Any, directory: Path, name: str) -> LinkedPeer:
        workspace = Workspace(swarm, directory)
        return build_peer(workspace, tiny_learner(), Options(name, "trainer", 8, seed=1))
