"""Diagnosis: what a board says of itself, or the named error that says why it cannot be used."""

import select
import time
from typing import Any

from firmware_bridge.bridge import clocks
from firmware_bridge.dialects import Dialect
from firmware_bridge.errors import NoHelloError
from firmware_bridge.records import Schema
from firmware_bridge.serial_link.port import SerialPort, list_ports
from learnae.errors import ConfigurationError

_TIMEOUT_SECONDS = 5.0  # an Arduino that was reset by the opened port says hello after two


def describe_board(port: SerialPort, baud: int, dialect: Dialect, timeout: float = _TIMEOUT_SECONDS) -> Schema:
    """Wait until the board says what it measures; raises LinkError or ProtocolVersionError.

    Confirms nothing, so that no sample is lost to the bridge that comes afterwards.
    """
    end = time.monotonic() + timeout
    while (now := time.monotonic()) < end:
        port.write(dialect.answer(now))
        select.select([port.fileno()], [], [], 0.1)
        data = port.read()
        for record in dialect.hear(data, *clocks()):
            if isinstance(record, Schema):
                return record
        if isinstance(dialect.diagnose(port.device, baud), ConfigurationError):
            break  # time does not mend it
    raise dialect.diagnose(port.device, baud) or NoHelloError(
        f"{port.device} has not said enough in {timeout:.0f} s", "set board.rate, if it samples slower than that"
    )


def report(port: SerialPort, baud: int, schema: Schema) -> dict[str, Any]:
    """Return what ``firmware-bridge check`` prints."""
    names = {device: name for name, device in list_ports().items()}
    return {
        "port": port.device,
        "name": names.get(port.device, ""),
        "baud": baud,
        "board": schema.board,
        "firmware": schema.firmware,
        "rate": schema.rate,
        "channels": {channel.name: channel.unit for channel in schema.channels},
    }
