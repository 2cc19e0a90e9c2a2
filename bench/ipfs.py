"""The exchange's promise over IPFS: a model crosses between two machines at no less than half the speed of
``ipfs get`` between the same daemons, and the two sides' own processes need little memory for it.

Two real Kubo daemons on loopback, in a private swarm; sender and receiver are processes of their own.
"""

import multiprocessing
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

from bench.harness import AT_LEAST, AT_MOST, Race, seconds_of
from bench.rigs.processes import memory_bytes, rig, wait_until
from learnae.adapters.composite.block_service import BlockService
from learnae.adapters.composite.exchange_link import CONNECTED
from learnae.adapters.local.block_store import LocalBlockStore
from learnae.config.sections import IpfsSection
from learnae.ipld.cid import MAX_BLOCK_BYTES, RAW, Cid
from learnae.runtime.links.kubo import open_exchange
from learnae.swarm.directory import create_swarm
from learnae.swarm.presets import preset

_MEGABYTE = 1_000_000
_MEMORY = 64.0  # MB
_SHARE = 0.5
_TIMEOUT_SECONDS = 120.0
_TICK = 0.05  # between two wishes of the receiver: a peer's ticks are further apart


@dataclass(frozen=True, slots=True)
class Crossing:
    """One crossing of ``size`` bytes: seconds to offer and to receive them, and the memory that each side took."""

    size: int
    offered: float
    received: float
    sender_memory: float
    receiver_memory: float


def run(race: Race) -> None:
    """Measure the exchange and ``ipfs get`` in turn, each with fresh bytes."""
    megabytes, repeats = (4, 1) if race.quick else (200, 3)
    count = -(-megabytes * _MEGABYTE // MAX_BLOCK_BYTES)
    crossings: list[Crossing] = []
    plain: list[float] = []
    with tempfile.TemporaryDirectory() as name, race.step(f"{megabytes} MB from A to B, {repeats} times") as progress:
        directory = Path(name)
        kubo = rig("kubo").Kubo
        with kubo(directory / "a", pubsub=False) as a, kubo(directory / "b", pubsub=False) as b:
            b.join(a)
            for number in range(repeats):
                progress(f"exchange, {number + 1}")
                crossings.append(cross(a, b, directory / str(number), count))
                progress(f"ipfs get, {number + 1}")
                plain.append(ipfs_get_seconds(a, b, directory / str(number), count * MAX_BLOCK_BYTES))
    judge(race, crossings, plain)


def judge(race: Race, crossings: list[Crossing], plain: list[float]) -> None:
    """Report figures and checks."""
    size = crossings[0].size / _MEGABYTE
    ours = size / median([crossing.received for crossing in crossings])
    theirs = size / median(plain)
    race.figure("offered to A's daemon", size / median([crossing.offered for crossing in crossings]), "MB/s")
    race.figure("A's daemon to B's store", ours, "MB/s")
    race.figure("ipfs get", theirs, "MB/s")
    note = f"{size:.0f} MB in blocks of 1 MiB, median of {len(crossings)}, in turn"
    race.check("throughput, as a share of ipfs get", ours / theirs, _SHARE, AT_LEAST, "", note)
    for side, memory in (
        ("sender", max(crossing.sender_memory for crossing in crossings)),
        ("receiver", max(crossing.receiver_memory for crossing in crossings)),
    ):
        race.check(f"peak extra memory of the {side}", memory, _MEMORY, AT_MOST, "MB", "the worst run")


# -- the exchange


def cross(a: Any, b: Any, directory: Path, count: int) -> Crossing:
    """Put ``count`` fresh blocks at A and want them at B."""
    spawn = multiprocessing.get_context("spawn")
    sides = []
    for side, kubo in ((send, a), (receive, b)):
        here, there = spawn.Pipe()
        process = spawn.Process(target=side, args=(kubo.api, directory / side.__name__, count, there))
        process.start()
        sides.append((process, here))
    (sender, to_sender), (receiver, to_receiver) = sides
    try:
        cids, offered, sender_memory = answer_of(to_sender)
        to_receiver.send(cids)
        received, receiver_memory = answer_of(to_receiver)
    finally:
        for process in (sender, receiver):
            process.terminate()
            process.join()
    for side in (send, receive):
        shutil.rmtree(directory / side.__name__)
    return Crossing(count * MAX_BLOCK_BYTES, offered, received, sender_memory, receiver_memory)


def answer_of(connection: Connection) -> Any:
    """Return what the other process sends; raises TimeoutError."""
    if not connection.poll(2 * _TIMEOUT_SECONDS):
        raise TimeoutError("a side of the exchange does not answer")
    return connection.recv()


def send(api: str, directory: Path, count: int, parent: Connection) -> None:
    """Put everything as process A, wait until the daemon has it; send names, seconds, megabytes."""
    with store_at(api, directory) as store, extra_memory() as memory:
        cids: list[Cid] = []

        def offer() -> None:
            for _ in range(count):
                cids.append(store.put(RAW, secrets.token_bytes(MAX_BLOCK_BYTES)))
            wait_for(lambda: store.is_idle, "the daemon to have all")

        seconds = seconds_of(offer)
        parent.send((cids, seconds, memory()))
        parent.poll(None)


def receive(api: str, directory: Path, _: int, parent: Connection) -> None:
    """Want everything as process B until it is here; send seconds, megabytes."""
    with store_at(api, directory) as store, extra_memory() as memory:
        cids = parent.recv()
        missing = list(cids)

        def arrived() -> bool:
            store.want(missing)
            while missing and store.has(missing[-1]):
                missing.pop()
            return not missing

        seconds = seconds_of(lambda: wait_for(arrived, "all blocks"))
        parent.send((seconds, memory()))
        parent.poll(None)


@contextmanager
def store_at(api: str, directory: Path) -> Iterator[BlockService]:
    """Open the store of one machine, connected."""
    swarm = create_swarm(preset("wrist", 1), directory)
    store = BlockService(LocalBlockStore(swarm.directory))
    links = store.join({"ipfs": open_exchange(IpfsSection(api=api), swarm)})
    wait_for(lambda: links["ipfs"].state == CONNECTED, "the link")
    try:
        yield store
    finally:
        store.close()


@contextmanager
def extra_memory() -> Iterator[Callable[[], float]]:
    """Give a function that returns by how many megabytes the peak since the start is above what was there then."""
    Path("/proc/self/clear_refs").write_text("5")  # proc(5): resets VmHWM
    before = memory_bytes("status", "VmRSS")
    yield lambda: (memory_bytes("status", "VmHWM") - before) / _MEGABYTE


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Wait until ``condition`` holds; raises TimeoutError."""
    wait_until(condition, _TIMEOUT_SECONDS, what, _TICK)


# -- ipfs get


def ipfs_get_seconds(a: Any, b: Any, directory: Path, size: int) -> float:
    """Add a fresh file at A; return how long ``ipfs get`` of it takes at B."""
    directory.mkdir(exist_ok=True)
    source, target = directory / "source", directory / "target"
    source.write_bytes(secrets.token_bytes(size))
    root = a.run("add", "-Q", "--cid-version=1", f"--chunker=size-{MAX_BLOCK_BYTES}", "--pin=false", str(source))
    seconds = seconds_of(lambda: b.run("get", "-o", str(target), root.decode().strip()))
    if target.stat().st_size != size:
        raise AssertionError("ipfs get has not got everything")
    shutil.rmtree(directory)
    return seconds
