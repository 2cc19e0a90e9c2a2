"""The adapters that every contract suite runs over. A new adapter adds one function to each list."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from learnae.adapters.local import LocalBlockStore, LocalGossip, LocalStateStore
from learnae.adapters.memory import (
    MemoryBlockStore,
    MemoryGossip,
    MemoryStateStore,
    Network,
    VirtualClock,
    Weather,
)
from learnae.cid import Cid
from learnae.ports import BlockStore, Gossip, StateStore


def nothing_to_wait_for() -> None:
    """A directory delivers at once."""


@dataclass(frozen=True)
class Stores:
    """Two machines' stores; ``deliver`` lets pending transfers happen, ``spoil`` is a bad disk or a bad sender."""

    one: BlockStore
    other: BlockStore
    deliver: Callable[[], None]
    spoil: Callable[[Cid, bytes], None]


@dataclass(frozen=True)
class Gossips:
    """Several peers' gossip; ``deliver`` lets what was announced arrive."""

    all: Sequence[Gossip]
    deliver: Callable[[], None]


@dataclass(frozen=True)
class States:
    """``reopen`` gives the same state to a new process."""

    reopen: Callable[[], StateStore]


def local_stores(directory: Path) -> Stores:
    def spoil(cid: Cid, data: bytes) -> None:
        path = directory / "blocks" / str(cid)[-2:] / str(cid)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)

    return Stores(LocalBlockStore(directory), LocalBlockStore(directory), nothing_to_wait_for, spoil)


def memory_stores(_: Path) -> Stores:
    network = calm_network()
    one, other = network.host(), network.host()
    return Stores(MemoryBlockStore(one), MemoryBlockStore(other), lambda: pass_time(network), one.receive)


def local_gossips(directory: Path) -> Gossips:
    return Gossips([LocalGossip(directory, f"peer-{index}") for index in range(3)], nothing_to_wait_for)


def memory_gossips(_: Path) -> Gossips:
    network = calm_network()
    return Gossips([MemoryGossip(network.host(), fanout=4) for _ in range(3)], lambda: pass_time(network))


def local_state(directory: Path) -> States:
    return States(lambda: LocalStateStore(directory / "state"))


def memory_state(_: Path) -> States:
    store = MemoryStateStore()
    return States(lambda: store)


def calm_network() -> Network:
    return Network(VirtualClock(0), random.Random(1), Weather())


def pass_time(network: Network) -> None:
    network.run_until(network.clock.time + 5000)


@pytest.fixture(params=[local_stores, memory_stores], ids=["local", "memory"])
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> Stores:
    return request.param(tmp_path)


@pytest.fixture(params=[local_gossips, memory_gossips], ids=["local", "memory"])
def gossips(request: pytest.FixtureRequest, tmp_path: Path) -> Gossips:
    return request.param(tmp_path)


@pytest.fixture(params=[local_state, memory_state], ids=["local", "memory"])
def states(request: pytest.FixtureRequest, tmp_path: Path) -> States:
    return request.param(tmp_path)
