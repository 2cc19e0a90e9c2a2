"""Whether a board can be used: what it says of itself, or the named error that says why not."""

from __future__ import annotations

import select
import time
from typing import Any

from firmware_bridge.bridge import Port
from firmware_bridge.description import Description
from firmware_bridge.errors import ProtocolVersionError
from firmware_bridge.link import Link
from firmware_bridge.port import list_ports

_PATIENCE = 5.0  # seconds: an Arduino that was reset by the opened port says hello after two


def describe_board(port: Port, baud: int, patience: float = _PATIENCE) -> Description:
    """Wait for the board's hello; raises LinkError or ProtocolVersionError.

    Confirms nothing, so that no sample is lost to the bridge that comes afterwards.
    """
    link = Link()
    end = time.monotonic() + patience
    while (now := time.monotonic()) < end:
        link.poll(now)
        port.write(link.take_output())
        select.select([port.fileno()], [], [], 0.1)
        link.receive(port.read(), time.monotonic())
        if link.is_up and link.description is not None:
            return link.description
        if isinstance(link.problem, ProtocolVersionError):
            break
    error = link.diagnose(port.device, baud)
    assert error is not None
    raise error


def report(port: Port, baud: int, description: Description) -> dict[str, Any]:
    """What ``firmware-bridge check`` prints."""
    names = {device: name for name, device in list_ports().items()}
    return {
        "port": port.device,
        "name": names.get(port.device, ""),
        "baud": baud,
        "board": description.board,
        "firmware": description.firmware,
        "rate": description.rate,
        "channels": {channel.name: channel.unit for channel in description.channels},
    }
