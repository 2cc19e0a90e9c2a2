"""Tell systemd the state of this service: sd_notify(3) in a few lines."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress


class Notifier:
    """Sends states to ``NOTIFY_SOCKET``; does nothing where systemd did not start this process."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        address = (os.environ if environment is None else environment).get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) if address else None

    def ready(self) -> None:
        """Say that the service works."""
        self._send("READY=1")

    def alive(self, status: str) -> None:
        """Feed the watchdog. Called from the work loop only, so that a hung loop is noticed."""
        self._send(f"WATCHDOG=1\nSTATUS={status}")

    def reloading(self) -> None:
        """Say that the configuration is being read again; ``ready`` ends it."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Say that the service saves its state and ends."""
        self._send("STOPPING=1")

    def _send(self, state: str) -> None:
        if self._socket is None:
            return
        with suppress(OSError):  # systemd is away, perhaps for a moment: the next state may arrive
            self._socket.sendto(state.encode(), self._address)
