"""The addresses by which others of a network reach this machine, as the kernel knows them (Linux)."""

from __future__ import annotations

import contextlib
import fcntl
import socket
import struct
from ipaddress import IPv6Address
from pathlib import Path

from learnae.adapters.lan.multicast import interfaces

_GET_ADDRESS = 0x8915  # SIOCGIFADDR of linux/sockios.h
_GLOBAL = "00"  # scope of an IPv6 address
_BAD = 0x20 | 0x08 | 0x40  # deprecated, found twice, not yet checked: linux/if_addr.h


def own_addresses() -> list[str]:
    """Return them without those of loopback: first of the interface with the default route, then of other devices.

    IPv4 comes before IPv6; addresses that need a zone are left out.
    """
    names = sorted((name for name in interfaces() if name != "lo"), key=_place)
    return [*filter(None, map(_ipv4, names)), *(address for name in names for address in _ipv6(name))]


def _place(name: str) -> tuple[bool, bool, str]:
    """Return what sorts interfaces: bridges and tunnels of containers and virtual machines come last."""
    routes = [line.split() for line in _lines("/proc/net/route")[1:]]
    has_default = any(route[:2] == [name, "00000000"] for route in routes)
    return not has_default, not Path(f"/sys/class/net/{name}/device").exists(), name


def _ipv4(name: str) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):  # it has none
        found = fcntl.ioctl(probe, _GET_ADDRESS, struct.pack("256s", name.encode()[:15]))
        return socket.inet_ntoa(found[20:24])
    return ""


def _ipv6(name: str) -> list[str]:
    lines = [line.split() for line in _lines("/proc/net/if_inet6")]
    return [
        str(IPv6Address(int(address, 16)))
        for address, _, _, scope, flags, interface in lines
        if interface == name and scope == _GLOBAL and not int(flags, 16) & _BAD
    ]


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="ascii").splitlines()
    except OSError:  # the kernel has no such protocol
        return []
