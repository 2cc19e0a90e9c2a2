"""Hears all that crosses an interface of a machine of a test: packet socket, flows put together. Needs root."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Mapping

from networks import Machine

_ALL = 0x0003  # ETH_P_ALL of linux/if_ether.h
_IPV4, _IPV6, _TCP = 0x0800, 0x86DD, 6
_ETHERNET_BYTES, _IPV6_BYTES = 14, 40
_ROOM = 64 << 20  # bytes that wait for the thread below
_FORCE_ROOM = 33  # SO_RCVBUFFORCE


class Wiretap:
    """Records from the begin to the end of its context."""

    def __init__(self, machine: Machine, interface: str = "eth0") -> None:
        with machine:
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL))
            self._socket.bind((interface, 0))
        self._socket.setsockopt(socket.SOL_SOCKET, _FORCE_ROOM, _ROOM)
        self._socket.settimeout(0.1)
        self._packets: list[bytes] = []
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Wiretap:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._thread.join()
        self._socket.close()

    def heard(self) -> bytes:
        """Return what has been said: of each TCP connection and direction in one piece, of the rest as it came."""
        flows: dict[bytes, dict[int, bytes]] = {}
        rest = []
        for packet in self._packets:
            found = _segment(packet)
            if found is None:
                rest.append(packet)
            else:
                flow, number, payload = found
                if payload:
                    flows.setdefault(flow, {}).setdefault(number, payload)
        return b"\n".join([*map(_joined, flows.values()), *rest])

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                self._packets.append(self._socket.recv(1 << 17))
            except TimeoutError:
                continue


def _segment(packet: bytes) -> tuple[bytes, int, bytes] | None:
    """Return flow, sequence number and payload of a TCP segment; None for any other packet."""
    (kind,) = struct.unpack_from(">H", packet, 12)
    data = packet[_ETHERNET_BYTES:]
    if kind == _IPV4 and data[9] == _TCP:
        begin, addresses = (data[0] & 15) * 4, data[12:20]
        data = data[: int.from_bytes(data[2:4]) or len(data)]
    elif kind == _IPV6 and data[6] == _TCP:
        begin, addresses = _IPV6_BYTES, data[8:40]
    else:
        return None
    tcp = data[begin:]
    return addresses + tcp[:4], int.from_bytes(tcp[4:8]), tcp[(tcp[12] >> 4) * 4 :]


def _joined(segments: Mapping[int, bytes]) -> bytes:
    """Put a flow's segments in order, what was sent again once."""
    parts, end = [], 0
    for number, payload in sorted(segments.items()):
        if number + len(payload) > end:
            parts.append(payload[max(0, end - number) :] if end else payload)
            end = number + len(payload)
    return b"".join(parts)
