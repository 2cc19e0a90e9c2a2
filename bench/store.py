"""The local store's promise: an update does not wait for the disk, and what is forgotten gives its room back.

One database against two files an update, each with fsync of file and directory, in turn and on the same disk: that of
the current directory, as /tmp is often memory. Sizes are those of a model of 4,295 weights: a message of 630 bytes
and a frame of 4,400.
"""

import random
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from statistics import mean, median
from typing import NamedTuple

from bench.harness import AT_LEAST, AT_MOST, Race, interleaved, seconds_of
from learnae.adapters.local.block_store import LocalBlockStore
from learnae.ipld.cid import DAG_CBOR, RAW, Cid
from learnae.system.atomic_files import write_atomic

_MESSAGE, _FRAME = 630, 4400  # bytes
_MILLI, _MICRO, _MEGABYTE = 1e3, 1e6, 1e6
_WRITE_MILLISECONDS = 2.0
_FULL, _AFTER = 1.3, 4.0  # bytes on disk, to those of the blocks

Names = tuple[Cid, Cid]


class Side(NamedTuple):
    """One way to keep blocks in ``directory``."""

    directory: Path
    write: Callable[[Names, bytes, bytes], None]
    read: Callable[[Cid], bytes]
    forget: Callable[[list[Cid]], None]


def run(race: Race) -> None:
    """Write, read and forget updates."""
    count, left = (150, 8) if race.quick else (3000, 160)
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".bench-store-") as name, database(Path(name)) as ours:
        theirs = files(Path(name) / "files")
        names: list[Names] = []
        with race.step(f"{count} updates, one side and the other in turn"):
            times = write_all(count, names, ours, theirs)
            full = [size_on_disk(side.directory) for side in (ours, theirs)]
            gets = read_some(names, ours, theirs)
        gone = [cid for pair in names[:-left] for cid in pair]
        with race.step(f"all but {left} are forgotten"):
            forgotten = [seconds_of(lambda side=side: side.forget(gone)) for side in (ours, theirs)]  # type: ignore[misc]
        after = [size_on_disk(side.directory) for side in (ours, theirs)]
        judge(race, times, gets, forgotten, (full, after), (count, left))


def write_all(count: int, names: list[Names], *sides: Side) -> list[list[float]]:
    """Write ``count`` updates of two blocks with each side; note their names. Returns seconds."""
    rng = random.Random(1)
    blocks = [(rng.randbytes(_FRAME), rng.randbytes(_MESSAGE)) for _ in range(count)]
    names.extend((Cid.of(RAW, frame), Cid.of(DAG_CBOR, message)) for frame, message in blocks)

    def writer(side: Side) -> Callable[[], float]:
        following = iter(zip(names, blocks, strict=True))

        def write() -> float:
            pair, (frame, message) = next(following)
            return seconds_of(lambda: side.write(pair, frame, message))

        return write

    return interleaved(count, *map(writer, sides))


def read_some(names: list[Names], *sides: Side) -> list[list[float]]:
    """Return the seconds that it takes to read blocks at random."""
    rng = random.Random(2)

    def read(side: Side) -> float:
        cid = rng.choice(names)[0]
        return seconds_of(lambda: side.read(cid))

    return interleaved(len(names), *(lambda side=side: read(side) for side in sides))


def judge(
    race: Race,
    times: list[list[float]],
    gets: list[list[float]],
    forgotten: list[float],
    disk: tuple[list[int], list[int]],
    counts: tuple[int, int],
) -> None:
    """Report figures and checks."""
    content, left = ((_MESSAGE + _FRAME) * number for number in counts)
    full, after = disk
    for number, side in enumerate(("database", "two files")):
        race.figure(f"write of an update, {side}: median", median(times[number]) * _MILLI, "ms")
        race.figure(f"… mean, {side}", mean(times[number]) * _MILLI, "ms")
        race.figure(f"get of a block, {side}: median", median(gets[number]) * _MICRO, "µs")
        race.figure(f"on disk, {side}", full[number] / _MEGABYTE, f"MB for {content / _MEGABYTE:.1f}")
        race.figure(f"forget, {side}", forgotten[number], "s")
        race.figure(f"left on disk, {side}", after[number] / _MEGABYTE, f"MB for {left / _MEGABYTE:.2f}")
    note = f"two blocks, {_MESSAGE} + {_FRAME} bytes, median of {counts[0]:,}"
    race.check("write of an update", median(times[0]) * _MILLI, _WRITE_MILLISECONDS, AT_MOST, "ms", note)
    race.check("how much faster than two files", median(times[1]) / median(times[0]), 1.0, AT_LEAST, "times")
    race.check("bytes on disk, to those of the blocks", full[0] / content, _FULL, AT_MOST, "", "log included")
    note = f"{counts[0] - counts[1]:,} of {counts[0]:,} updates forgotten"
    race.check("the same after forgetting", after[0] / left, _AFTER, AT_MOST, "", note)


@contextmanager
def database(directory: Path) -> Iterator[Side]:
    """Keep blocks as a peer does."""
    directory /= "database"

    def write(_: Names, frame: bytes, message: bytes) -> None:
        store.put(RAW, frame)
        store.put(DAG_CBOR, message)

    with closing(LocalBlockStore(directory)) as store:
        yield Side(directory, write, store.get, store.delete)


def files(directory: Path) -> Side:
    """Keep each block in a file of its own, in directories by the end of its name."""

    def path_of(cid: Cid) -> Path:
        return directory / str(cid)[-2:] / str(cid)

    def write(names: Names, *blocks: bytes) -> None:
        for cid, data in zip(names, blocks, strict=True):
            path = path_of(cid)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, data)

    def read(cid: Cid) -> bytes:
        data = path_of(cid).read_bytes()
        if not cid.names(data):
            raise AssertionError("a file is not what its name says")
        return data

    def forget(cids: list[Cid]) -> None:
        for cid in cids:
            path_of(cid).unlink()

    return Side(directory, write, read, forget)


def size_on_disk(directory: Path) -> int:
    """Return the bytes of all blocks of the file system that the directory takes."""
    return sum(path.stat().st_blocks * 512 for path in directory.rglob("*"))
