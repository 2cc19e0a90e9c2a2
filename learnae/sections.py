"""Sections of the configuration that every role has."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from learnae.errors import ConfigurationError
from learnae.home import peer_directory


@dataclass(frozen=True, slots=True)
class PeerSection:
    """``[peer]``: ``name`` of this peer, its ``state`` directory, how many others it may ``follow``.

    Empty values and 0 stand for the role's defaults.
    """

    name: str = ""
    state: str = ""
    follow: int = 0

    def __post_init__(self) -> None:
        if self.follow < 0:
            raise ConfigurationError(f"peer.follow is {self.follow}", "use a number of peers, 0 for the default")

    def directory(self, role: str) -> Path:
        """The peer's own directory."""
        return Path(self.state) if self.state else peer_directory(self.name or role)


@dataclass(frozen=True, slots=True)
class SwarmSection:
    """``[swarm]``: ``id`` names the swarm or its directory; empty for the only one on this machine."""

    id: str = ""


@dataclass(frozen=True, slots=True)
class TrainSection:
    """``[train]``: seconds of ``pause`` between two updates."""

    pause: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.pause <= 86_400:
            raise ConfigurationError(f"train.pause is {self.pause}", "use seconds, from 0 to 86400")


@dataclass(frozen=True, slots=True)
class IotaSection:
    """``[iota]``: heads over a ``node`` of the legacy protocol, such as http://127.0.0.1:14265; empty for none.

    ``pow`` is done here (local) or by the node; ``mwm`` 0 asks the node for the minimum weight magnitude.
    ``poll`` seconds lie between two looks, ``every`` at least between two own announcements. ``coordinator``
    is the address of the only coordinator whose Tangle will do. ``events`` is the node's ZMQ stream, such as
    tcp://127.0.0.1:5556.
    """

    node: str = ""
    pow: str = "local"
    mwm: int = 0
    poll: float = 5.0
    every: float = 30.0
    coordinator: str = ""
    events: str = ""

    def __post_init__(self) -> None:
        if self.node and not self.node.startswith(("http://", "https://")):
            raise ConfigurationError(f"iota.node is {self.node!r}", "use its URL, such as http://127.0.0.1:14265")
        if self.pow not in ("local", "node"):
            raise ConfigurationError(f"iota.pow is {self.pow!r}", "use local or node")
        if not 0 <= self.mwm <= 18:
            raise ConfigurationError(f"iota.mwm is {self.mwm}", "use 0 to ask the node, or 1 to 18")
        for key, value in (("poll", self.poll), ("every", self.every)):
            if not 0.1 <= value <= 600:
                raise ConfigurationError(f"iota.{key} is {value}", "use seconds, from 0.1 to 600")
        if self.coordinator and not re.fullmatch("[9A-Z]{81}", self.coordinator):
            raise ConfigurationError(f"iota.coordinator is {self.coordinator!r}", "use an address of 81 trytes")
        if self.events and not self.events.startswith("tcp://"):
            raise ConfigurationError(f"iota.events is {self.events!r}", "use tcp://HOST:5556")


def check_holdout(section: str, holdout: float) -> None:
    """Raise ConfigurationError unless ``holdout`` is a share of the data that leaves some to train on."""
    if not 0 <= holdout < 1:
        raise ConfigurationError(f"{section}.holdout is {holdout}", "use a share from 0 to below 1")
