"""Two kinds of Tangle for one suite: the loopback node, and Hornet through scripts/private-tangle where it is here."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import signal
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from daemon import free_ports
from iri_node import IriNode
from programs import wait_for

from learnae.adapters.iota.announcements import Channel
from learnae.adapters.iota.gossip import IotaGossip, Pace
from learnae.adapters.iota.node import Node
from learnae.ipld.cid import Cid
from learnae.protocol.identity import Identity
from learnae.protocol.limits import HOUR

SCRIPT = Path(__file__).parents[2] / "scripts" / "private-tangle"
FAST = Pace(poll=0.2, every=0.1)


class Tangle(Protocol):
    """A node that tests talk to, and may kill; ``events`` is its ZMQ stream."""

    url: str
    events: str

    def kill(self) -> None:
        """As a power cut does."""

    def start(self) -> None:
        """Let it run again, with what it had."""


class LoopbackTangle:
    """tests/rigs/iri_node.py."""

    def __init__(self, directory: Path, **settings: Any) -> None:
        self.node = IriNode(directory, **settings)
        self.url = self.node.url
        self.events = self.node.publish_events()
        self.kill, self.start = self.node.kill, self.node.start


class HornetTangle:
    """A coordinator and a node that follows it; tests talk to the follower, which may be killed.

    A context manager that stops both.
    """

    def __init__(self, directory: Path, interval: int = 1, depth: int = 10) -> None:
        self.directory = directory
        port = free_ports(20)
        self._script("create", nodes=2, port=port, interval=interval, depth=depth, mwm=9)
        self.plan, self.nodes = script.opened(Namespace(directory=directory))
        self.url, self.events = self.nodes[1].url, f"tcp://{self.nodes[1].events}"

    def __enter__(self) -> HornetTangle:
        return self

    def __exit__(self, *_: object) -> None:
        self._script("stop", node=None)

    def start_all(self) -> None:
        self._script("start", node=None)

    def start(self) -> None:
        self._script("start", node=2)

    def kill(self, number: int = 2) -> None:
        node = self.nodes[number - 1]
        pid = node.pid()
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)

    def launch_follower(self) -> None:
        """Start it without waiting for anything."""
        script.launch(script.find_hornet(), self.nodes[1])

    def _script(self, verb: str, **options: Any) -> None:
        assert getattr(script, verb)(Namespace(directory=self.directory, json=True, **options)) == 0


def load_script() -> Any:
    """scripts/private-tangle as a module."""
    loader = importlib.machinery.SourceFileLoader("private_tangle", str(SCRIPT))
    specification = importlib.util.spec_from_loader("private_tangle", loader)
    assert specification is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules["private_tangle"] = module
    loader.exec_module(module)
    return module


script = load_script()


def gossip(
    url: str, swarm: Cid, identity: Identity | None = None, pace: Pace = FAST, node: Node | None = None, **options: Any
) -> IotaGossip:
    """Make the gossip of one peer, not started."""
    node = node or Node(url, options.pop("mwm", 0), options.pop("pow_by", "local"))
    return IotaGossip(node, Channel(str(swarm)), identity or Identity.generate(), swarm, 24 * HOUR, pace, **options)


def turn_all(gossips: Sequence[IotaGossip]) -> None:
    """Let all speak until they have said all, then all hear."""
    for one in gossips:
        wait_for(lambda one=one: one.turn() or not one.has_unsaid(), "all to be said")
    for one in gossips:
        one.turn()
