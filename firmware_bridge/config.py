"""The bridge's configuration (``bridge.toml``)."""

from dataclasses import dataclass, field
from pathlib import Path

from firmware_bridge.records import MAX_RATE
from firmware_bridge.serial_link.port import AUTO
from learnae.config.keys import Range, check_keys, setting
from learnae.config.places import NamedPlace, Place
from learnae.errors import ConfigurationError
from learnae.system.paths import home, path_from

ROLE = "bridge"
SOCKET_VARIABLE = "LEARNAE_BRIDGE"  # systemd's units set it: services share no home
_MIN_RATE = 0.001  # Hz: what a frame can express
LEARNAE, SENML = PROTOCOLS = ("learnae", "senml")


@dataclass(frozen=True, slots=True)
class PortSection:
    """``[port]``: where the board is."""

    name: NamedPlace = setting(AUTO, "a name of `firmware-bridge list`, a device, or `auto`: the only board there is")
    baud: int = setting(115200, "as in the firmware", Range(2400, 12_000_000, "the firmware's, usually 115200"))
    protocol: str = setting(LEARNAE, "`senml`: the board prints a SenML pack (JSON) a line", choices=PROTOCOLS)

    def __post_init__(self) -> None:
        if not self.name:
            raise ConfigurationError("port.name is empty", f"use {AUTO!r}, a device, or a name of firmware-bridge list")
        check_keys(self, "port")


@dataclass(frozen=True, slots=True)
class BoardSection:
    """``[board]``: what the board is asked for."""

    rate: float = setting(
        0.0, "Hz that the board is asked for; SIGHUP reads it again", Range(_MIN_RATE, MAX_RATE, "Hz", zero="as it is")
    )

    def __post_init__(self) -> None:
        check_keys(self, "board")


@dataclass(frozen=True, slots=True)
class BridgeSection:
    """``[bridge]``: where agents find it."""

    socket: Place = setting(
        "",
        "where agents listen, and look by themselves; mode 0660",
        stands_for="`$LEARNAE_BRIDGE`, else `$LEARNAE_HOME/bridge.sock`",
    )
    group: str = setting("", "who may use that socket besides this user", stands_for="this user alone")

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
    return path_from(SOCKET_VARIABLE) or home() / "bridge.sock"
