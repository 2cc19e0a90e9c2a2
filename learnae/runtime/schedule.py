"""When a role's peer does what. Each role has a schedule of its own."""

from __future__ import annotations

from learnae.peer.peer import Peer


class Schedule:
    """Lets ``peer`` tick with ``pause`` seconds between, in which it listens. A role overrides what it decides."""

    def __init__(self, peer: Peer, pause: float) -> None:
        self.peer = peer
        self.pause = pause

    def collect(self) -> None:
        """Take in new data, before each tick."""

    def tick(self) -> None:
        """Let the peer tick, if it is time."""
        self.peer.tick()

    def listen(self) -> None:
        """Let the peer listen between two ticks, if it may."""
        self.peer.listen()

    def reload(self) -> None:
        """Read the configuration again: only ``pause`` changes while the peer runs. Raises ConfigurationError."""

    def leave(self) -> None:
        """Keep what has been collected, before the peer is saved."""
