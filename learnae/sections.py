"""Sections of the configuration that every role has."""

from __future__ import annotations

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
    """``[swarm]``: ``id`` names the swarm, its directory or a copy of its manifest; empty for the only one here."""

    id: str = ""


@dataclass(frozen=True, slots=True)
class TrainSection:
    """``[train]``: seconds of ``pause`` between two updates."""

    pause: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.pause <= 86_400:
            raise ConfigurationError(f"train.pause is {self.pause}", "use seconds, from 0 to 86400")


def check_holdout(section: str, holdout: float) -> None:
    """Raise ConfigurationError unless ``holdout`` is a share of the data that leaves some to train on."""
    if not 0 <= holdout < 1:
        raise ConfigurationError(f"{section}.holdout is {holdout}", "use a share from 0 to below 1")
