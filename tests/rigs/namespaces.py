"""Two machines on one wire: network namespaces with a pair of interfaces; needs root, and ``ip`` and ``nft``."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

FIRST, SECOND = "10.213.87.1", "10.213.87.2"


def can_make_networks() -> bool:
    """Whether this user and system can."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("ip", "nft"))):
        return False
    name = f"lrn{os.getpid()}x"
    made = subprocess.run(["ip", "netns", "add", name], check=False, capture_output=True).returncode == 0
    if made:
        _ip("netns", "del", name)
    return made


@contextmanager
def two_machines() -> Iterator[tuple[list[str], list[str]]]:
    """Give what runs a command on the first machine, at FIRST, and on the second, which lets no connection in."""
    names = [f"lrn{os.getpid()}{letter}" for letter in "ab"]
    with ExitStack() as stack:
        for name in names:
            _ip("netns", "add", name)
            stack.callback(_ip, "netns", "del", name)
        one, other = names
        _ip("link", "add", "wire", "netns", one, "type", "veth", "peer", "name", "wire", "netns", other)
        for name, address in zip(names, (FIRST, SECOND), strict=True):
            _ip("-n", name, "addr", "add", f"{address}/24", "dev", "wire")
            for device in ("wire", "lo"):
                _ip("-n", name, "link", "set", device, "up")
        for rule in (
            "add table inet nat",
            "add chain inet nat in { type filter hook input priority 0; }",
            "add rule inet nat in iifname wire tcp flags & (syn | ack) == syn drop",  # nothing may call it
        ):
            _run("ip", "netns", "exec", other, "nft", rule)
        yield tuple(["ip", "netns", "exec", name] for name in names)  # type: ignore[misc]


def _ip(*arguments: str) -> None:
    _run("ip", *arguments)


def _run(*command: str) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
