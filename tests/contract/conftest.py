"""The adapters that every contract suite runs over. A new adapter adds one function to each list."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from programs import wait_for
from tangles import HornetTangle, LoopbackTangle, Tangle, gossip, turn_all

from learnae.adapters.exchanged import ExchangedStore
from learnae.adapters.iota import Pace
from learnae.adapters.link import CONNECTED
from learnae.adapters.local import LocalBlockStore, LocalGossip, LocalStateStore
from learnae.adapters.memory import (
    MemoryBlockStore,
    MemoryExchange,
    MemoryGossip,
    MemoryStateStore,
    Network,
    VirtualClock,
    Weather,
)
from learnae.cid import DAG_CBOR, Cid
from learnae.ports import BlockStore, Exchange, Gossip, StateStore


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
class Exchanges:
    """What ``one`` offers, ``other`` fetches; ``settle`` lets what was offered or retracted get known."""

    one: Exchange
    other: Exchange
    settle: Callable[[], None]


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


def exchanged_stores(directory: Path) -> Iterator[Stores]:
    """Two machines whose stores meet in one exchange."""
    warehouse: dict[Cid, bytes] = {}
    local = local_stores(directory / "one")
    one, other = ExchangedStore(LocalBlockStore(directory / "one")), ExchangedStore(LocalBlockStore(directory / "two"))
    links = [link for store in (one, other) for link in store.join({"memory": MemoryExchange(warehouse)}).values()]
    wait_for(lambda: all(link.state == CONNECTED for link in links), "both exchanges")

    def spoil(cid: Cid, data: bytes) -> None:
        """A bad disk here, and a bad sender there."""
        local.spoil(cid, data)
        warehouse[cid] = data

    yield Stores(one, other, lambda: settle(one, other), spoil)
    for store in (one, other):
        store.close()


def settle(*stores: ExchangedStore) -> None:
    wait_for(lambda: all(store.is_idle for store in stores), "the stores to be idle")


def memory_exchanges(_: Path) -> Iterator[Exchanges]:
    warehouse: dict[Cid, bytes] = {}
    yield Exchanges(MemoryExchange(warehouse), MemoryExchange(warehouse), nothing_to_wait_for)


def local_gossips(directory: Path) -> Gossips:
    return Gossips([LocalGossip(directory, f"peer-{index}") for index in range(3)], nothing_to_wait_for)


def iota_gossips(directory: Path) -> Iterator[Gossips]:
    """Three peers at one loopback node."""
    tangle = LoopbackTangle(directory)
    with tangle.node:
        yield gossips_over(tangle)


def hornet_gossips(tangle: HornetTangle) -> Iterator[Gossips]:
    """Three peers at one real node."""
    yield gossips_over(tangle)


def gossips_over(tangle: Tangle) -> Gossips:
    """Nothing in its own thread, so that it is known when all is there; a swarm of its own."""
    swarm = Cid.of(DAG_CBOR, os.urandom(8))
    all_three = [gossip(tangle.url, swarm, pace=Pace(1, 0)) for _ in range(3)]
    return Gossips(all_three, lambda: turn_all(all_three))


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


@pytest.fixture(params=[local_stores, memory_stores, exchanged_stores], ids=["local", "memory", "exchanged"])
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stores]:
    yield from made(request.param(tmp_path))


@pytest.fixture(params=[memory_exchanges], ids=["memory"])
def exchanges(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Exchanges]:
    yield from made(request.param(tmp_path))


def made(found: Any) -> Iterator[Any]:
    """What an adapter's function gives, or yields and ends afterwards."""
    if isinstance(found, Iterator):
        yield from found
    else:
        yield found


@pytest.fixture(
    params=[
        pytest.param(local_gossips, id="local"),
        pytest.param(memory_gossips, id="memory"),
        pytest.param(iota_gossips, id="iota"),
        pytest.param(hornet_gossips, id="iota over hornet", marks=pytest.mark.engine("hornet")),
    ]
)
def gossips(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Gossips]:
    place = request.getfixturevalue("hornets") if request.param is hornet_gossips else tmp_path
    yield from made(request.param(place))


@pytest.fixture(params=[local_state, memory_state], ids=["local", "memory"])
def states(request: pytest.FixtureRequest, tmp_path: Path) -> States:
    return request.param(tmp_path)
