"""Addresses in a few bytes, for codes that are typed. Pure.

A head byte holds the scheme, how the host is written, and whether a port and a path follow. IP addresses are their
bytes, a name is a number to the base 40 (5.3 bits a character), an IPFS peer is its 32-byte key.

>>> [len(pack(address)) for address in ("mqtt://192.0.2.7", "mqtts://broker.example.org:8884")]
[5, 16]
>>> normal("HTTP://Gate.Example:80/"), normal("/ip4/192.0.2.7/tcp/4001")
('http://gate.example', '/ip4/192.0.2.7/tcp/4001')
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

from learnae.errors import ConfigurationError
from learnae.text import without_secrets

FORMS = (
    "mqtt[s]://HOST[:PORT], ws[s]://HOST[:PORT][/PATH], http[s]://HOST[:PORT][/PATH], "
    "iota+http[s]://HOST[:PORT][/PATH] or a multiaddress such as /ip4/192.0.2.7/tcp/4001/p2p/12D3KooW…"
)
_SCHEMES = ("mqtt", "mqtts", "ws", "wss", "http", "https", "iota+http", "iota+https")  # their places are on the wire
_PORTS = (1883, 8883, 80, 443, 80, 443, 14265, 443)
_MULTIADDRESS = len(_SCHEMES)
_IPV4, _IPV6, _NAME = range(3)
_HAS_PORT, _HAS_PATH = 2, 1
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789-._"
_BASE = len(_LETTERS) + 1  # no digit is 0, so that a name's length shows
_MOST_NAME, _MOST_PATH = 253, 128  # characters
_IPFS_PORT = 4001
# a multiaddress' parts; their places are on the wire. The last two are tcp and udp with IPFS' usual port
_PARTS = ("ip4", "ip6", "dns", "dns4", "dns6", "dnsaddr", "tcp", "udp", "quic-v1", "tls", "ws", "wss", "p2p")
_SHA2_PEER, _USUAL_TCP, _USUAL_UDP = range(len(_PARTS), len(_PARTS) + 3)
_MOST_PARTS = 15
_ED25519_PEER, _HASHED_PEER = b"\x00\x24\x08\x01\x12\x20", b"\x12\x20"  # what stands before 32 bytes
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


class Reader:
    """Reads bytes from front to back; raises ConfigurationError where they end too early."""

    def __init__(self, data: bytes) -> None:
        self._data, self._place = data, 0

    def __bool__(self) -> bool:
        return self._place < len(self._data)

    def peek(self) -> int:
        """Return the next byte, and leave it."""
        return self._data[self._place]

    def take(self, count: int) -> bytes:
        """Return the next ``count`` bytes."""
        found = self._data[self._place : self._place + count]
        if len(found) < count:
            raise ConfigurationError("the code ends in the middle of an address", "get it again, or upgrade learnae")
        self._place += count
        return found

    def byte(self) -> int:
        """Return the next byte."""
        return self.take(1)[0]


def normal(address: str) -> str:
    """Return an address as codes give it back: lower case, without a usual port; raises ConfigurationError."""
    return unpack(Reader(pack(address)))


def pack(address: str) -> bytes:
    """Return the compact form of an address; raises ConfigurationError, which names it."""
    wrong = ConfigurationError(
        f"the address {without_secrets(address)[:80]!r} does not fit into a code", f"use {FORMS}"
    )
    if not address.isascii() or not address.isprintable() or " " in address:
        raise wrong
    return _pack_multiaddress(address, wrong) if address.startswith("/") else _pack_url(address, wrong)


def unpack(reader: Reader) -> str:
    """Read one compact address; raises ConfigurationError for what ``pack`` does not write."""
    head = reader.byte()
    scheme = head >> 4
    if scheme == _MULTIADDRESS:
        text = "".join(_unpack_part(reader) for _ in range(head & 15))
    elif scheme < _MULTIADDRESS:
        text = _unpack_url(reader, head)
    else:
        raise ConfigurationError(f"the code holds an address of kind {scheme}", "upgrade learnae: it is newer")
    return text


def _pack_url(url: str, wrong: ConfigurationError) -> bytes:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise wrong from error
    if parts.scheme not in _SCHEMES or parts.query or parts.fragment or "@" in parts.netloc or port == 0:
        raise wrong
    place = _SCHEMES.index(parts.scheme)
    path = parts.path if parts.path != "/" or parts.scheme.startswith("ws") else ""
    if len(path) > _MOST_PATH or (parts.scheme.startswith("mqtt") and path) or url.endswith(("?", "#")):
        raise wrong
    form, host = _pack_host(parts.hostname or "", wrong)
    has_port = port is not None and port != _PORTS[place]
    packed = bytes([place << 4 | form << 2 | has_port * _HAS_PORT | bool(path) * _HAS_PATH]) + host
    if has_port and port is not None:
        packed += port.to_bytes(2)
    return packed + (bytes([len(path)]) + path.encode() if path else b"")


def _unpack_url(reader: Reader, head: int) -> str:
    scheme = head >> 4
    form = head >> 2 & 3
    host = _unpack_host(reader, form)
    port = f":{int.from_bytes(reader.take(2))}" if head & _HAS_PORT else ""
    path = _ascii(reader.take(reader.byte())) if head & _HAS_PATH else ""
    return f"{_SCHEMES[scheme]}://{f'[{host}]' if form == _IPV6 else host}{port}{path}"


def _pack_host(host: str, wrong: ConfigurationError) -> tuple[int, bytes]:
    try:
        address = ip_address(host)
    except ValueError:
        return _NAME, _pack_name(host, wrong)
    return (_IPV4 if address.version == 4 else _IPV6), _pack_ip(address, wrong)


def _pack_ip(address: IPv4Address | IPv6Address, wrong: ConfigurationError) -> bytes:
    if address.is_unspecified or address.is_multicast or getattr(address, "scope_id", None):
        remedy = "use one that other machines reach: no zone, no multicast, not the one that means all interfaces"
        raise ConfigurationError(wrong.problem, remedy)
    return address.packed


def _unpack_host(reader: Reader, form: int) -> str:
    if form == _IPV4:
        return str(IPv4Address(reader.take(4)))
    return str(IPv6Address(reader.take(16))) if form == _IPV6 else _unpack_name(reader)


def _pack_name(name: str, wrong: ConfigurationError) -> bytes:
    name = name.lower()
    labels = name.split(".")
    # a last label in digits is what inet_aton takes for an address
    is_name = len(name) <= _MOST_NAME and all(re.fullmatch("[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?", each) for each in labels)
    if not is_name or re.fullmatch("[0-9]+|0x[0-9a-f]*", labels[-1]):
        raise wrong
    number = 0
    for letter in name:
        number = number * _BASE + _LETTERS.index(letter) + 1
    return bytes([len(name)]) + number.to_bytes(_name_bytes(len(name)))


def _unpack_name(reader: Reader) -> str:
    length = reader.byte()
    number = int.from_bytes(reader.take(_name_bytes(length)))
    name = ""
    while number:
        number, digit = divmod(number, _BASE)
        name = (_LETTERS[digit - 1] if digit else "?") + name
    return name


def _name_bytes(length: int) -> int:
    return ((_BASE**length - 1).bit_length() + 7) // 8


def _pack_multiaddress(address: str, wrong: ConfigurationError) -> bytes:
    words = address[1:].split("/")
    packed, count = b"", 0
    while words:
        kind = words.pop(0)
        if kind not in _PARTS:
            raise wrong
        value = words.pop(0) if kind not in ("quic-v1", "tls", "ws", "wss") and words else ""
        packed += _pack_part(kind, value, wrong)
        count += 1
    if not 1 <= count <= _MOST_PARTS:
        raise wrong
    return bytes([_MULTIADDRESS << 4 | count]) + packed


def _pack_part(kind: str, value: str, wrong: ConfigurationError) -> bytes:
    code = _PARTS.index(kind)
    if kind in ("ip4", "ip6"):
        try:
            packed = _pack_ip((IPv4Address if kind == "ip4" else IPv6Address)(value), wrong)
        except ValueError as error:
            raise wrong from error
    elif kind.startswith("dns"):
        packed = _pack_name(value, wrong)
    elif kind in ("tcp", "udp"):
        if not re.fullmatch("[1-9][0-9]{0,4}", value) or int(value) > 0xFFFF:
            raise wrong
        if int(value) == _IPFS_PORT:
            return bytes([_USUAL_TCP if kind == "tcp" else _USUAL_UDP])
        packed = int(value).to_bytes(2)
    elif kind == "p2p":
        peer = _from_base58(value)
        before = next((each for each in (_ED25519_PEER, _HASHED_PEER) if peer.startswith(each)), None)
        if before is None or len(peer) != len(before) + 32:
            raise ConfigurationError(wrong.problem, "after /p2p/ use the form that begins with 12D3KooW or Qm")
        code = code if before == _ED25519_PEER else _SHA2_PEER
        packed = peer.removeprefix(before)
    else:
        packed = b""
    return bytes([code]) + packed


def _unpack_part(reader: Reader) -> str:
    code = reader.byte()
    if code in (_USUAL_TCP, _USUAL_UDP):
        return f"/{'tcp' if code == _USUAL_TCP else 'udp'}/{_IPFS_PORT}"
    if code == _SHA2_PEER:
        return f"/p2p/{_to_base58(_HASHED_PEER + reader.take(32))}"
    if code > _USUAL_UDP:
        raise ConfigurationError(f"the code holds a multiaddress of kind {code}", "upgrade learnae: it is newer")
    kind = _PARTS[code]
    if kind in ("ip4", "ip6"):
        return f"/{kind}/{_unpack_host(reader, _IPV4 if kind == 'ip4' else _IPV6)}"
    if kind.startswith("dns"):
        return f"/{kind}/{_unpack_name(reader)}"
    if kind in ("tcp", "udp"):
        return f"/{kind}/{int.from_bytes(reader.take(2))}"
    return f"/p2p/{_to_base58(_ED25519_PEER + reader.take(32))}" if kind == "p2p" else f"/{kind}"


def _from_base58(text: str) -> bytes:
    """Return the bytes of a peer's name, or none for what is not base58."""
    if len(text) > 64 or not set(text) <= set(_BASE58):
        return b""
    number = 0
    for letter in text:
        number = number * 58 + _BASE58.index(letter)
    zeros = len(text) - len(text.lstrip("1"))
    return bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8)


def _to_base58(data: bytes) -> str:
    number, text = int.from_bytes(data), ""
    while number:
        number, digit = divmod(number, 58)
        text = _BASE58[digit] + text
    return "1" * (len(data) - len(data.lstrip(b"\0"))) + text


def _ascii(data: bytes) -> str:
    """Return text that is put into URLs; what ``pack`` does not write there is escaped, and so refused by it."""
    return data.decode("ascii", "backslashreplace")
