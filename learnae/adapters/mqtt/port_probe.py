"""What listens at a port that does not answer as a broker should: another kind of broker's port, or no broker at all.

Each language is tried on a connection of its own, without a name, a password or a certificate of this machine.
"""

from __future__ import annotations

import os
import selectors
import socket
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

from learnae.adapters.mqtt.broker_limits import REMEDIES, TOO_LARGE
from learnae.config.sections import MqttAddress

if TYPE_CHECKING:
    import ssl

_SECONDS = 2.0  # for all languages together, and once more inside TLS
_MOST_BYTES = 256  # of an answer: its beginning says what it is
_CONNACK, _SWITCHING, _LINE_END = b"\x20", b"HTTP/1.1 101", b"\r\n"
_CONNACK_HEADER = 5  # bytes before the properties: kind, length, flags, reason code, their length
_PACKET_SIZE = 0x27
# bytes of the properties of CONNACK that are numbers (MQTT 5.0, 3.2.2.3); a broker says them before any text
_NUMBERS = {0x11: 4, 0x13: 2, 0x21: 2, 0x22: 2, 0x24: 1, 0x25: 1, _PACKET_SIZE: 4, 0x28: 1, 0x29: 1, 0x2A: 1}
_CONNECT_BYTES = 2048  # more than the largest that is sent
_MQTT, _TLS, _WEB = "mqtt", "tls", "web"
_SCHEMES = {(False, False): "mqtt", (False, True): "ws", (True, False): "mqtts", (True, True): "wss"}
_OTHERS = {  # beginnings of what other services say
    b"SSH-": "SSH",
    b"220": "a mail or FTP server",
    b"* OK": "a mail server",
    b"+OK": "a mail server",
    b"AMQP": "AMQP, which is not MQTT,",
    b"-ERR": "Redis",
    b"-DENIED": "Redis",
    b"RFB ": "VNC",
}


def what_listens(address: MqttAddress) -> str:
    """Return in words what is at ``address`` instead of the broker that it names, and the remedy; empty if unknown."""
    try:
        answers = _ask(address, (_MQTT, _TLS, _WEB))
        has_tls = answers[_TLS][:1] in (b"\x15", b"\x16") and answers[_TLS][1:2] == b"\x03"
        if has_tls and not address.tls:
            return _other(address, "TLS is spoken there", f"{_SCHEMES[True, bool(address.path)]}://")
        if has_tls:
            answers = _ask(address, (_MQTT, _WEB), is_inside=True)
    except OSError:
        return ""
    return _told(address, answers, has_tls)


def _told(address: MqttAddress, answers: dict[str, bytes], has_tls: bool) -> str:
    web, first = answers[_WEB], answers[_MQTT] or answers[_WEB]
    other = next((name for beginning, name in _OTHERS.items() if first.startswith(beginning)), "")
    if first[:1] == _CONNACK or web.startswith(_SWITCHING):
        is_web = first[:1] != _CONNACK
        if (has_tls, is_web) == (address.tls, bool(address.path)):
            return "" if is_web else _too_narrow(first)
        found = "websockets are spoken there" if is_web else "MQTT is spoken there"
        return _other(address, found if has_tls else f"{found} without TLS", f"{_SCHEMES[has_tls, is_web]}://")
    if not other and web.startswith(b"HTTP/"):
        other = f"a web server ({web.partition(_LINE_END)[0].decode('latin-1')[:40]!r})"
    if not other and first:
        other = f"something that says {first[:20]!r}"
    path = " and path" if address.path else ""
    return f"{other} answers there, no broker; check host, port{path} of mqtt.broker" if other else ""


def _too_narrow(connack: bytes) -> str:
    """Return that the broker takes no packet as large as a CONNECT with its last will, if it says so."""
    at = _CONNACK_HEADER
    while at < len(connack) and (size := _NUMBERS.get(connack[at])):
        limit = int.from_bytes(connack[at + 1 : at + 1 + size], "big")
        if connack[at] == _PACKET_SIZE and limit < _CONNECT_BYTES:
            return f"it takes packets of {limit:,} bytes, too few to connect; {REMEDIES[TOO_LARGE]}"
        at += 1 + size
    return ""


def _other(address: MqttAddress, found: str, right: str) -> str:
    path = address.path if right.startswith("ws") else ""
    url = f"{right}{_host(address.host)}:{address.port}{path}"
    return f"{found}; use {url} as mqtt.broker, or the port of the other kind"


def _ask(address: MqttAddress, languages: tuple[str, ...], is_inside: bool = False) -> dict[str, bytes]:
    """Return the beginning of the answer to the opening of each language; ``is_inside``: within TLS. Raises OSError."""
    openings = {_MQTT: _connect(), _TLS: _client_hello(), _WEB: _upgrade(address)}
    answers = dict.fromkeys((_MQTT, _TLS, _WEB), b"")
    deadline = time.monotonic() + _SECONDS
    with ExitStack() as opened, selectors.DefaultSelector() as selector:
        for language in languages:
            link: Any = opened.enter_context(socket.create_connection((address.host, address.port), _SECONDS))
            if is_inside:
                link = opened.enter_context(_stranger().wrap_socket(link, server_hostname=address.host))
            with suppress(OSError):
                link.sendall(openings[language])
                selector.register(link, selectors.EVENT_READ, language)
        while selector.get_map() and (left := deadline - time.monotonic()) > 0:
            for key, _ in selector.select(left):
                selector.unregister(key.fileobj)
                with suppress(OSError):  # it hangs up: no answer
                    answers[key.data] = key.fileobj.recv(_MOST_BYTES)  # type: ignore[union-attr]
    return answers


def _stranger() -> ssl.SSLContext:
    """Return a context that believes all: nothing that is secret is said, and nothing that is heard is believed."""
    import ssl  # noqa: PLC0415 - only for TLS, whose users have it loaded

    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _connect() -> bytes:
    """Return an MQTT 5 CONNECT with a client id that no other has."""
    name = b"learnae-probe-" + os.urandom(4).hex().encode()
    body = b"\x00\x04MQTT\x05\x02\x00\x05\x00" + len(name).to_bytes(2, "big") + name
    return b"\x10" + bytes([len(body)]) + body


def _upgrade(address: MqttAddress) -> bytes:
    lines = (
        f"GET {address.path or '/mqtt'} HTTP/1.1",
        f"Host: {_host(address.host)}:{address.port}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Protocol: mqtt",
        "Sec-WebSocket-Key: bGVhcm5hZS1wcm9iZS0wMQ==",
    )
    return "\r\n".join((*lines, "", "")).encode()


def _client_hello() -> bytes:
    """Return a ClientHello of TLS 1.2: what speaks TLS answers with a handshake or an alert, if it likes it or not."""
    suites = bytes.fromhex("c02bc02fc02cc030cca9cca8009c002f0035")
    groups = bytes.fromhex("000a00080006001d00170018")
    points = bytes.fromhex("000b00020100")
    signatures = bytes.fromhex("000d0010000e0403040105030501060306010804")
    extensions = groups + points + signatures
    body = b"\x03\x03" + os.urandom(32) + b"\x00" + len(suites).to_bytes(2, "big") + suites + b"\x01\x00"
    body += len(extensions).to_bytes(2, "big") + extensions
    hello = b"\x01" + len(body).to_bytes(3, "big") + body
    return b"\x16\x03\x01" + len(hello).to_bytes(2, "big") + hello


def _host(host: str) -> str:
    return f"[{host}]" if ":" in host else host
