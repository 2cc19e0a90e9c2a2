"""The bridge's composition root."""

from collections.abc import Callable

from firmware_bridge.bridge import Bridge
from firmware_bridge.config import SENML, BridgeConfig
from firmware_bridge.dialects import Dialect, Native
from firmware_bridge.senml.lines import SenmlLines
from firmware_bridge.serial_link.port import SerialPort, find_port
from firmware_bridge.socket_api.server import Server


def build(config: BridgeConfig) -> Bridge:
    """Build all but the port, which may not be there yet; raises ConfigurationError or StateError."""
    server = Server(config.bridge.path, group=config.bridge.group)
    return Bridge(port_opener(config), config.port.baud, build_dialect(config), server)


def build_dialect(config: BridgeConfig) -> Dialect:
    """Return the dialect that the board is configured to speak."""
    rate = config.board.rate
    return SenmlLines(rate) if config.port.protocol == SENML else Native(rate)


def port_opener(config: BridgeConfig) -> Callable[[], SerialPort]:
    """Return a function that opens the configured port, wherever it is by then."""
    return lambda: SerialPort(find_port(config.port.name), config.port.baud)
