"""What several tests do with a broker: sections of the configuration, connections, a subscriber."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from daemon import HOST, free_port
from mosquitto import Certificates, Mosquitto
from programs import PATIENCE, wait_for

from learnae.adapters.mqtt.connection import MqttConnection
from learnae.adapters.mqtt.subscriptions import Received
from learnae.config.sections import MqttSection


def plain(broker: Mosquitto, **changes: Any) -> MqttSection:
    """Without encryption."""
    return MqttSection(broker=f"mqtt://{HOST}:{broker.port}", **changes)


def secure(broker: Mosquitto, certificates: Certificates, name: str, **changes: Any) -> MqttSection:
    """With the client certificate of ``name``."""
    files = {
        "ca_file": str(certificates.authority),
        "cert_file": str(certificates.directory / f"{name}.crt"),
        "key_file": str(certificates.directory / f"{name}.key"),
    }
    return MqttSection(broker=f"mqtts://localhost:{broker.tls_port}", **{**files, **changes})


class Gate:
    """A way to a broker or a daemon that can be shut: so that a watcher may be back before the peer is.

    A context manager. ``sent`` are all bytes that went to the ``target``, a port, through here. It hangs up when it
    hears ``forbidden``.
    """

    def __init__(self, target: int, forbidden: bytes = b"") -> None:
        self._forbidden = forbidden
        self.port = free_port()
        self._target = target
        self._server: socket.socket | None = None
        self._pairs: list[socket.socket] = []
        self.sent = bytearray()
        self.open()

    def __enter__(self) -> Gate:
        return self

    def __exit__(self, *_: object) -> None:
        self.shut()

    def open(self) -> None:
        """Let all connections through."""
        self._server = socket.create_server((HOST, self.port))
        threading.Thread(target=self._accept, args=(self._server,), daemon=True).start()

    def shut(self) -> None:
        """Cut all connections and refuse new ones."""
        for each in filter(None, [self._server, *self._pairs]):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self._server, self._pairs = None, []

    def section(self, **changes: Any) -> MqttSection:
        """Return the section of the broker as it is reached through here."""
        return MqttSection(broker=f"mqtt://{HOST}:{self.port}", **changes)

    def _accept(self, server: socket.socket) -> None:
        with suppress(OSError):
            while True:
                near, _ = server.accept()
                self._join(near, server)

    def _join(self, near: socket.socket, server: socket.socket) -> None:
        try:
            far = socket.create_connection((HOST, self._target))
        except OSError:  # the broker is down
            near.close()
            return
        self._pairs += [near, far]
        if self._server is not server:  # shut meanwhile
            near.close()
            far.close()
            return
        for ends in ((near, far, self.sent, self._forbidden), (far, near, bytearray(), b"")):
            threading.Thread(target=_pump, args=ends, daemon=True).start()


def _pump(source: socket.socket, target: socket.socket, record: bytearray, forbidden: bytes) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            record += data
            if forbidden and forbidden in data:
                break
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)


class Links:
    """Opens connections; a context manager that closes them."""

    def __init__(self) -> None:
        self.opened: list[MqttConnection] = []

    def __enter__(self) -> Links:
        return self

    def __exit__(self, *_: object) -> None:
        for link in self.opened:
            link.close()

    def open(self, section: MqttSection, wait: bool = True, **changes: Any) -> MqttConnection:
        """Start a connection, by default one that is connected already."""
        link = MqttConnection(section, **changes)
        self.opened.append(link)
        link.start()
        if wait:
            wait_for(lambda: link.is_connected, link.state())
        return link


def wait_for_subscriptions(link: MqttConnection) -> None:
    """Until the broker has confirmed all that ``link`` wants to hear."""
    wait_for(lambda: link.is_connected and not link.is_subscribing, "the broker to confirm subscriptions")


class Inbox:
    """Remembers all that ``link`` hears from now on: the broker has confirmed the subscription."""

    def __init__(self, link: MqttConnection, topic_filter: str = "#") -> None:
        self.link = link
        self.received: list[Received] = []
        link.subscribe(topic_filter, self.received.append)
        wait_for(lambda: topic_filter not in link._subscriptions.unconfirmed(), "the broker to confirm")

    def clear(self) -> None:
        """Forget all."""
        self.received.clear()

    @property
    def heard(self) -> list[tuple[str, bytes]]:
        """Topics and payloads."""
        return [(message.topic, message.payload) for message in self.received]

    def payloads(self, channel: str) -> list[bytes]:
        """Return what came on topics that end with ``channel``."""
        return [message.payload for message in self.received if message.topic.split("/")[-1] == channel]

    def wait_for(self, topic: str, payload: bytes, seconds: float = PATIENCE) -> None:
        """Until this has come."""
        wait_for(lambda: (topic, payload) in self.heard, f"{payload!r} on {topic}, heard {self.heard[-5:]}", seconds)

    def newest(self, channel: str, fits: Callable[[bytes], object] = lambda _: True) -> bytes:
        """Wait until the newest payload of ``channel`` fits."""

        def found() -> list[bytes] | None:
            payloads = self.payloads(channel)
            return payloads[-1:] if payloads and fits(payloads[-1]) else None

        payload: bytes = wait_for(found, f"{channel}, heard {self.heard[-5:]}")[0]
        return payload
