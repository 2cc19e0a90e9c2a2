"""Where a running peer of this machine answers others of the network, and so holders of invite codes."""

import socket
import time
from collections.abc import Callable
from contextlib import suppress

from learnae.adapters.http.serving.server import place_of
from learnae.adapters.lan.own_addresses import own_addresses
from learnae.config.sections import AUTO, LanSection, is_own_machine
from learnae.errors import ConfigurationError
from learnae.ipld.cid import Cid
from learnae.system.paths import last_status, peers_here

_ANY = {"0.0.0.0": ("127.0.0.1",), "::": ("127.0.0.1", "::1")}  # noqa: S104 - and how this machine reaches it
_START_SECONDS = 30.0  # for a peer that has just been started, on a slow machine
_LOOK_SECONDS = 0.2
_CONNECT_SECONDS = 1.0


def served_addresses(swarm: Cid, section: LanSection, on_wait: Callable[[], None] = lambda: None) -> list[str]:
    """Return where others reach a peer of this machine that serves the swarm, as ``http://HOST:PORT``; empty if none.

    Where ``section`` says that one serves, it is waited for, after ``on_wait``; raises ConfigurationError if it does
    not come.
    """
    deadline, is_said = time.monotonic() + _START_SECONDS, False
    while (place := _place(swarm)) is None:
        if not section.serve or (section.serve != AUTO and is_own_machine(section.place()[0])):
            return []
        if time.monotonic() >= deadline:
            problem = f"lan.serve is {section.serve!r}, and no peer of this machine serves the swarm"
            raise ConfigurationError(problem, "start it: trainer-node start; or see its log")
        if not is_said:
            on_wait()
            is_said = True
        time.sleep(_LOOK_SECONDS)
    host, port = place
    hosts = [each for each in own_addresses() if host == "::" or ":" not in each] if host in _ANY else [host]
    return [f"http://[{each}]:{port}" if ":" in each else f"http://{each}:{port}" for each in hosts]


def _place(swarm: Cid) -> tuple[str, int] | None:
    """Return where a peer of this machine listens, for others too; None if none does."""
    for directory in peers_here():
        status = last_status(directory)
        links = status.get("connections")
        said = links.get("http server") if isinstance(links, dict) and status.get("swarm") == str(swarm) else None
        found = place_of(said) if isinstance(said, str) else None
        if found and not is_own_machine(found[0]) and _is_there(*found):
            return found
    return None


def _is_there(host: str, port: int) -> bool:
    """Return True if something listens there: the status may be of a peer that was killed."""
    for own in _ANY.get(host, (host,)):
        with suppress(OSError):
            socket.create_connection((own, port), _CONNECT_SECONDS).close()
            return True
    return False
