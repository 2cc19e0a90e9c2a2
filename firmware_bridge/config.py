"""The bridge's configuration (``bridge.toml``)."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from firmware_bridge.records import MAX_RATE
from firmware_bridge.serial_link.port import AUTO
from learnae.errors import ConfigurationError
from learnae.system.paths import home

ROLE = "bridge"
SOCKET_VARIABLE = "LEARNAE_BRIDGE"  # systemd's units set it: services share no home
_MIN_RATE = 0.001  # Hz: what a frame can express
LEARNAE, SENML = PROTOCOLS = ("learnae", "senml")


@dataclass(frozen=True, slots=True)
class PortSection:
    """``[port]``: ``name`` of the board below /dev/serial, or a device, or ``auto``; ``baud``; ``protocol``."""

    name: str = AUTO
    baud: int = 115200
    protocol: str = LEARNAE

    def __post_init__(self) -> None:
        if not self.name:
            raise ConfigurationError("port.name is empty", f"use {AUTO!r}, a device, or a name of firmware-bridge list")
        if not 2400 <= self.baud <= 12_000_000:
            raise ConfigurationError(f"port.baud is {self.baud}", "use the firmware's, usually 115200")
        if self.protocol not in PROTOCOLS:
            raise ConfigurationError(f"port.protocol is {self.protocol!r}", f"use {' or '.join(PROTOCOLS)}")


@dataclass(frozen=True, slots=True)
class BoardSection:
    """``[board]``: the ``rate`` in Hz that the board is asked for; 0 leaves it as it is."""

    rate: float = 0.0

    def __post_init__(self) -> None:
        if self.rate and not _MIN_RATE <= self.rate <= MAX_RATE:
            remedy = f"use Hz, from {_MIN_RATE:g} to {MAX_RATE:g}; 0 leaves it"
            raise ConfigurationError(f"board.rate is {self.rate}", remedy)


@dataclass(frozen=True, slots=True)
class BridgeSection:
    """``[bridge]``: the ``socket`` that agents connect to, and the ``group`` that may (besides this user)."""

    socket: str = ""
    group: str = ""

    @property
    def path(self) -> Path:
        """Return where the socket is."""
        return Path(self.socket) if self.socket else default_socket()


@dataclass(frozen=True, slots=True)
class BridgeConfig:
    """All sections."""

    port: PortSection = field(default_factory=PortSection)
    board: BoardSection = field(default_factory=BoardSection)
    bridge: BridgeSection = field(default_factory=BridgeSection)


def default_socket() -> Path:
    """Return where a bridge listens, and agents look for it, by default: $LEARNAE_BRIDGE, or in the home."""
    path = os.environ.get(SOCKET_VARIABLE)
    return Path(path) if path else home() / "bridge.sock"
