"""What an update costs where the model is larger: a million and ten million weights, eight peers.

A *pass* is one look of an operation at all values, such as a difference or a largest value: what copying them into
memory that is there takes is the measure. The notes of the checks say how many an operation needs.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np

from bench.harness import AT_LEAST, AT_MOST, Race, interleaved, seconds_of
from bench.rigs.processes import memory_bytes, read_status
from demo.swarm import Swarm, answer_of
from learnae.adapters.local.block_store import LocalBlockStore
from learnae.ipld.cid import DAG_CBOR, RAW, Cid
from learnae.models.optimisers import Optimiser, OptimiserPolicy
from learnae.swarm.manifest import Manifest
from learnae.swarm.presets import convolution_config, dense_config
from learnae.system.paths import STATUS_FILE
from learnae.weights.frames import FramePolicy, decode_frame, encode_frame
from learnae.weights.merge import MergePolicy, Vote, merge
from learnae.weights.momentum import beyond

_PEERS, _PEERS_QUICK, _REPEATS = 8, 3, 5
_FRAMES = 16  # that are stored: not each of them waits for the disk
_SIZES, _SIZES_QUICK = (1_000_000, 10_000_000), (10_000,)
_POLICY = FramePolicy()
_LEAST_SPEED = 0.40  # of copying, for each pass
_MOST_COPIES = 4.0  # of the weights in a trainer's memory, beside the replicas of all peers
_MANY = 1 << 22  # weights: the few megabytes that other things take are some hundredths of a copy
_ROWS, _BATCH = 512, 16
_FIRST_LOOK, _UPDATES = 3, 5  # of each: with the third merge momentum begins
_MOST_SECONDS, _LOOK_SECONDS = 400.0, 0.1


@dataclass(frozen=True, slots=True)
class _Model:
    """A network by its Keras ``config``, that takes rows of this ``shape``."""

    name: str
    config: dict[str, Any]
    shape: tuple[int, ...]

    @property
    def count(self) -> int:
        """Return how many weights it has."""
        return Manifest("larger", self.config, "binary_crossentropy").model.count


def _models(is_quick: bool) -> list[_Model]:
    """Return a wide net and a small convolution of each size; the least ones tell what a trainer takes without."""
    sizes = ((16, 8), (32, 16)) if is_quick else ((16, 8), (970, 447), (3090, 1410))
    found = []
    for width, filters in sizes:
        net = dense_config(27, (width, width), 1, "sigmoid")
        found.append(_Model(f"27-{width}-{width}-1", net, (27,)))
        if is_quick:
            continue
        blocks = (filters, 9, 2), (filters, 5, 2)
        found.append(
            _Model(f"two convolutions of {filters} filters", convolution_config((16, 6), blocks, 1, "sigmoid"), (16, 6))
        )
    return found


def run(race: Race) -> None:
    """Measure each part of an update's way, then the memory of real trainers."""
    for count in _SIZES_QUICK if race.quick else _SIZES:
        with race.step(f"{count:,} weights"), tempfile.TemporaryDirectory() as directory:
            _measure(race, count, Path(directory))
    least: dict[tuple[int, ...], _Memory] = {}
    peers = _PEERS_QUICK if race.quick else _PEERS
    for model in _models(race.quick):
        with race.step(f"{peers} trainers: {model.name}"), tempfile.TemporaryDirectory() as home:
            found = _trainers(Path(home), model, peers)
        if model.shape in least:
            _report(race, model, found, least[model.shape], peers)
        least.setdefault(model.shape, found)


def _measure(race: Race, count: int, directory: Path) -> None:
    rng, base = np.random.default_rng(1), Cid.of(DAG_CBOR, b"an update")
    replica = rng.normal(0, 0.05, count).astype(np.float32)
    weights = replica + rng.normal(0, 0.001, count).astype(np.float32)
    frame, name = encode_frame(weights, replica, base, _POLICY), f"{count:,} weights"
    votes = [Vote(replica if number else weights, 100, number, settled=False) for number in range(_PEERS)]
    optimiser, own, target = Optimiser(OptimiserPolicy("adam"), count), weights.copy(), replica.copy()
    parts: dict[str, tuple[int, Callable[[], object]]] = {
        # least and largest, difference; size, largest, divided, rounded, clipped, made small; and decoded
        "encoding a frame": (14, lambda: encode_frame(weights, replica, base, _POLICY)),
        # scaled, put in its place, added, least and largest
        "decoding it": (5, lambda: decode_frame(frame.header, frame.blocks, replica, count)),
        # a product of each, sums; difference, scaled, added
        f"merging {_PEERS} replicas": (2 * _PEERS + 2, lambda: merge(weights, votes, MergePolicy(), 0)),
        # two lengths, two products, two sums
        "going on with the merge": (6, lambda: beyond(weights, replica, weights, 0.3)),
        # both averages and the move: twelve operations
        "a step of Adam": (12, lambda: optimiser.apply(own, replica)),
    }
    for what, (passes, action) in parts.items():
        ran, copied = interleaved(
            _REPEATS, partial(seconds_of, action), lambda: seconds_of(lambda: np.copyto(target, weights))
        )
        times = min(ran) / min(copied)
        race.figure(f"{name}: {what}", 1000 * min(ran), "ms")
        race.figure(f"{name}: {what}, to a copy", times, "times")
        note = f"{passes} passes; best of {_REPEATS}, in turn"
        race.check(f"{name}: {what}, a pass as a share of copying", passes / times, _LEAST_SPEED, AT_LEAST, "", note)
    _measure_store(race, name, frame.blocks, partial(np.copyto, target, weights), directory)
    race.figure(f"{name}: a frame", sum(map(len, frame.blocks)) / 1e6, "MB")


def _measure_store(race: Race, name: str, blocks: list[bytes], copy: Callable[[], None], directory: Path) -> None:
    """Hold storing and reading against what their bytes take to be named and to reach a disk.

    ``copy`` copies all values that the blocks stand for.
    """
    rng = np.random.default_rng(2)

    def hash_all() -> None:
        for block in blocks:
            hashlib.sha256(block).digest()

    def write_all() -> None:
        with (directory / "plain").open("wb") as file:
            file.writelines(blocks)
            file.flush()
            os.fsync(file.fileno())

    with closing(LocalBlockStore(directory)) as store:

        def put_all() -> None:
            for block in blocks:
                store.put(RAW, block + rng.bytes(1))  # another block each time

        names = [store.put(RAW, block) for block in blocks]
        stored, hashed, written, read, copied = interleaved(
            _FRAMES,
            lambda: seconds_of(put_all),
            lambda: seconds_of(hash_all),
            lambda: seconds_of(write_all),
            lambda: seconds_of(lambda: [store.get(cid) for cid in names]),
            lambda: seconds_of(copy),
        )
    for what, seconds in (("storing its blocks", mean(stored)), ("reading them, checked", median(read))):
        race.figure(f"{name}: {what}", 1000 * seconds, "ms")
    for what, found in (("storing", stored), ("hashing", hashed), ("one write with fsync", written)):
        race.figure(f"{name}: {what}, to a copy of all values", mean(found) / min(copied), "times")
    share = (mean(hashed) + mean(written)) / mean(stored)
    note = f"mean of {_FRAMES} frames, in turn; a database writes twice, and a power cut leaves it whole"
    race.check(
        f"{name}: storing, as a share of hashing and one write with fsync", share, _LEAST_SPEED, AT_LEAST, "", note
    )
    share, note = median(hashed) / median(read), f"median of {_FRAMES}"
    race.check(f"{name}: reading, as a share of hashing alone", share, _LEAST_SPEED, AT_LEAST, "", note)


@dataclass(frozen=True, slots=True)
class _Memory:
    """What the trainer that takes most has in memory, in bytes: the median of all looks once it has merged some times.

    ``anonymous`` is what the system cannot take back, ``resident`` holds pages of files, too; ``peak`` is the most of
    that there ever was.
    """

    anonymous: float
    resident: float
    peak: float


def _trainers(home: Path, model: _Model, peers: int) -> _Memory:
    """Let so many trainers learn, an update a pass; return what memory they took once they had merged some times."""
    swarm = _joined(home, model, peers)
    looks: dict[str, list[tuple[float, float]]] = {f"peer-{number}": [] for number in range(peers)}
    begun, waiting = time.monotonic(), set(looks)
    try:
        for name in looks:
            swarm.start(name, "trainer", home / f"{name}.toml")
        while waiting:
            swarm.check()
            for name, process in swarm.processes.items():
                updates = read_status(home / "peers" / name / STATUS_FILE).get("seq", 0)
                if updates >= _FIRST_LOOK:
                    looks[name].append(_look(process.pid))
                if updates >= _UPDATES:
                    waiting.discard(name)
            if time.monotonic() - begun > _MOST_SECONDS:
                raise TimeoutError(f"{len(waiting)} trainers are not done after {_MOST_SECONDS:.0f} s")
            time.sleep(_LOOK_SECONDS)
        peak = max(memory_bytes("status", "VmHWM", process.pid) for process in swarm.processes.values())
    finally:
        swarm.stop()
    medians = [[median(figures) for figures in zip(*found, strict=True)] for found in looks.values()]
    anonymous, resident = (max(figures) for figures in zip(*medians, strict=True))
    return _Memory(anonymous, resident, peak)


def _look(pid: int) -> tuple[float, float]:
    return memory_bytes("smaps_rollup", "Anonymous", pid), memory_bytes("smaps_rollup", "Rss", pid)


def _joined(home: Path, model: _Model, peers: int) -> Swarm:
    """Make a swarm that so many trainers have joined, each with some rows."""
    (home / "model.json").write_text(json.dumps(model.config))
    made = answer_of(
        home, "swarm", "create", "--model", str(home / "model.json"), "--loss", "binary_crossentropy",
        "--optimiser", "adam", "--batch", str(_BATCH), "--json",
    )  # fmt: skip
    settings = {"TRAIN__ENGINE": "numpy", "TRAIN__EPOCHS": "1"}
    swarm, rng = Swarm(home, Path(made["directory"]), settings={"trainer": settings}), np.random.default_rng(3)
    for number in range(peers):
        x = rng.normal(size=(_ROWS, *model.shape)).astype(np.float32)
        data, config = home / f"rows-{number}.npz", home / f"peer-{number}.toml"
        np.savez(data, x=x, y=(x.reshape(_ROWS, -1)[:, 0] > 0).astype(np.int64))
        answer_of(
            home, "join", str(swarm.directory), "--role", "trainer", "--name", config.stem, "--data", str(data),
            "--config", str(config), "--json",
        )  # fmt: skip
    return swarm


def _report(race: Race, model: _Model, found: _Memory, least: _Memory, peers: int) -> None:
    """Tell the memory of a trainer in copies of its weights, beyond what one of the least model takes."""
    weights, name = 4 * model.count, f"{model.name}, {model.count:,} weights: a trainer"
    alone, resident, peak = (
        (getattr(found, what) - getattr(least, what)) / weights for what in ("anonymous", "resident", "peak")
    )
    race.figure(f"{name}, all", found.resident / 1e6, "MB")
    race.figure(f"{name}, the most for a moment", peak, "copies of the weights")
    note = f"median, beyond a trainer of the least model; replicas of {peers} are in mapped files"
    if model.count >= _MANY:
        race.check(f"{name}, memory of its own", alone, _MOST_COPIES, AT_MOST, "copies of the weights", note)
    else:
        race.figure(f"{name}, memory of its own", alone, "copies of the weights")
    note = "median; pages of mapped files, which the system may take back, count, too"
    race.check(f"{name}, resident", resident, _MOST_COPIES + peers, AT_MOST, "copies of the weights", note)
