"""Networks of several machines on this one: namespaces and bridges that a test makes and takes away. Needs root."""

from __future__ import annotations

import ctypes
import os
import subprocess
from pathlib import Path

_libc = ctypes.CDLL(None, use_errno=True)
_NEWNET = 0x40000000  # CLONE_NEWNET


class Machine:
    """A network namespace; in its context the calling thread, and threads that it starts, are there."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._before: list[int] = []
        ip("netns", "add", name)
        self.ip("link", "set", "lo", "up")

    def __enter__(self) -> Machine:
        self._before.append(os.open("/proc/thread-self/ns/net", os.O_RDONLY))
        descriptor = os.open(f"/run/netns/{self.name}", os.O_RDONLY)
        _enter(descriptor)
        os.close(descriptor)
        return self

    def __exit__(self, *_: object) -> None:
        _enter(self._before[-1])
        os.close(self._before.pop())

    def ip(self, *words: object) -> None:
        """Run ``ip`` there."""
        ip("-n", self.name, *words)

    def command(self, *words: object) -> list[str]:
        """Return the command that runs a program there."""
        return ["ip", "netns", "exec", self.name, *map(str, words)]

    def nft(self, rules: str) -> None:
        """Drop what ``rules`` match on its way out, such as ``udp dport 7``; no rules drop nothing."""
        rule = f"{rules} drop" if rules else ""
        text = (
            "table inet test {}\ndelete table inet test\n"
            f"table inet test {{\nchain out {{\ntype filter hook output priority 0;\n{rule}\n}}\n}}\n"
        )
        subprocess.run(self.command("nft", "-f", "-"), input=text.encode(), check=True)


class Network:
    """Bridges, and machines with a port on one or more of them: 10.77.BRIDGE.MACHINE, and fe80:: on each port."""

    def __init__(self, bridges: int = 1) -> None:
        self._prefix = f"lrn{os.getpid()}"
        self._machines: list[Machine] = []
        self._hub = Machine(f"{self._prefix}hub")
        for number in range(bridges):
            self._hub.ip("link", "add", f"br{number}", "type", "bridge", "mcast_snooping", 0)
            self._hub.ip("link", "set", f"br{number}", "up")

    def __enter__(self) -> Network:
        return self

    def __exit__(self, *_: object) -> None:
        for machine in (*self._machines, self._hub):
            ip("netns", "del", machine.name)

    def machine(self, *bridges: int) -> Machine:
        """Add a machine with a port eth0, eth1 and so on at each of ``bridges``."""
        number = len(self._machines) + 1
        machine = Machine(f"{self._prefix}m{number}")
        self._machines.append(machine)
        for port, bridge in enumerate(bridges):
            self.plug(machine, f"eth{port}", bridge, number)
        return machine

    def plug(self, machine: Machine, port: str, bridge: int, number: int) -> None:
        """Give a machine one more port."""
        peer = f"m{number}{port}"
        self._hub.ip("link", "add", peer, "type", "veth", "peer", "name", port, "netns", machine.name)
        with machine:  # a new address is usable at once, not only when no other machine has objected to it
            Path(f"/proc/sys/net/ipv6/conf/{port}/accept_dad").write_text("0")
        self._hub.ip("link", "set", peer, "master", f"br{bridge}", "up")
        machine.ip("addr", "add", f"10.77.{bridge}.{number}/24", "dev", port)
        machine.ip("link", "set", port, "up")


def ip(*words: object) -> None:
    """Run ``ip``."""
    subprocess.run(["ip", *map(str, words)], check=True)


def _enter(descriptor: int) -> None:
    if _libc.setns(descriptor, _NEWNET):
        raise OSError(ctypes.get_errno(), "setns")
