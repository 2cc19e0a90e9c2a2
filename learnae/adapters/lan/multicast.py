"""Datagrams to all machines of a network: IPv4 and IPv6, on each interface, one hop far."""

from __future__ import annotations

import contextlib
import fcntl
import select
import socket
import struct

GROUP, GROUP6 = "239.255.76.82", "ff12::4c:524e"
PORT = 21_077
_MAX_DATAGRAM = 512  # bytes; the rest of a longer one is lost
_HOPS = 1
_AT_ONCE = 256  # datagrams: a queue that one sender fills is emptied before another's are lost
_GET_FLAGS = 0x8913  # SIOCGIFFLAGS of linux/sockios.h
_UP, _LOOPBACK, _MULTICAST = 0x1, 0x8, 0x1000  # linux/if.h
_MULTICAST_ALL, _MULTICAST_ALL6 = 49, 29  # IP_MULTICAST_ALL, IPV6_MULTICAST_ALL: only what this socket has joined
_MAX_INTERFACES = 16


def interfaces() -> dict[str, int]:
    """Return names and numbers of the interfaces that are up and take multicast, the loopback one included."""
    found = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for number, name in socket.if_nameindex():
            with contextlib.suppress(OSError):  # it has gone meanwhile
                request = fcntl.ioctl(probe, _GET_FLAGS, struct.pack("256s", name.encode()[:15]))
                (flags,) = struct.unpack_from("H", request, 16)
                if flags & _UP and flags & (_LOOPBACK | _MULTICAST):
                    found[name] = number
    return dict(list(found.items())[:_MAX_INTERFACES])


class Multicast:
    """One socket for IPv4 and one per interface for IPv6, bound to the group: what is sent to one machine is not heard.

    Several processes of a machine may have one at once; each hears all, and its own datagrams, too.
    """

    def __init__(self) -> None:
        self.interfaces = interfaces()
        self._ipv4 = _ipv4_socket(self.interfaces)
        self._ipv6: dict[int, socket.socket] = {}
        for number in self.interfaces.values():
            with contextlib.suppress(OSError):  # no IPv6 there
                self._ipv6[number] = _ipv6_socket(number)

    def __enter__(self) -> Multicast:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def sockets(self) -> list[socket.socket]:
        """Return what becomes readable when a datagram is here."""
        return [self._ipv4, *self._ipv6.values()]

    def send(self, data: bytes) -> int:
        """Send to both groups on each interface that has an address; return how many datagrams went out."""
        sent = 0
        for number in self.interfaces.values():
            with contextlib.suppress(OSError):
                self._ipv4.setsockopt(
                    socket.IPPROTO_IP, socket.IP_MULTICAST_IF, struct.pack("=4s4si", b"", b"", number)
                )
                self._ipv4.sendto(data, (GROUP, PORT))
                sent += 1
            if number in self._ipv6:
                with contextlib.suppress(OSError):
                    self._ipv6[number].sendto(data, (GROUP6, PORT, 0, number))
                    sent += 1
        return sent

    def receive(self, timeout: float, *others: socket.socket) -> list[tuple[bytes, str]]:
        """Return datagrams, of each socket at most 256, with their senders' addresses (``fe80::1%eth0`` with the zone).

        Waits at most ``timeout`` seconds, or until one of ``others`` is readable.
        """
        ready, _, _ = select.select([*self.sockets, *others], [], [], max(0.0, timeout))
        found = []
        for each in ready:
            if each not in others:
                with contextlib.suppress(OSError):  # there are no more, or its interface has gone
                    for _ in range(_AT_ONCE):
                        found.append(_receive(each))
        return found

    def close(self) -> None:
        """Leave the groups."""
        for each in self.sockets:
            each.close()


def _receive(sock: socket.socket) -> tuple[bytes, str]:
    data, sender = sock.recvfrom(_MAX_DATAGRAM)
    zone = f"%{socket.if_indextoname(sender[3])}" if sender[3:] and sender[3] else ""
    return data, f"{sender[0]}{zone}"


def _ipv4_socket(numbers: dict[str, int]) -> socket.socket:
    found = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        found.setblocking(False)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.setsockopt(socket.IPPROTO_IP, _MULTICAST_ALL, 0)
        found.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, _HOPS)
        for number in numbers.values():
            with contextlib.suppress(OSError):  # an interface without IPv4
                member = struct.pack("=4s4si", socket.inet_aton(GROUP), b"", number)
                found.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
        found.bind((GROUP, PORT))
    except OSError:
        found.close()
        raise
    return found


def _ipv6_socket(number: int) -> socket.socket:
    found = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    try:
        found.setblocking(False)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        found.setsockopt(socket.IPPROTO_IPV6, _MULTICAST_ALL6, 0)
        found.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, _HOPS)
        found.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, number)
        member = struct.pack("=16si", socket.inet_pton(socket.AF_INET6, GROUP6), number)
        found.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, member)
        found.bind((GROUP6, PORT, 0, number))
    except OSError:
        found.close()
        raise
    return found
