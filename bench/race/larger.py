"""What an update costs where the model is larger: a million and ten million weights, eight peers."""

from __future__ import annotations

import hashlib
import tempfile
from contextlib import closing
from pathlib import Path
from statistics import median

import numpy as np

from bench.harness import Race, seconds_of
from learnae.adapters.local.block_store import LocalBlockStore
from learnae.ipld.cid import DAG_CBOR, RAW, Cid
from learnae.weights.frames import FramePolicy, decode_frame, encode_frame
from learnae.weights.merge import MergePolicy, Vote, merge

_PEERS, _REPEATS = 8, 3
_SIZES, _SIZES_QUICK = (1_000_000, 10_000_000), (10_000,)
_POLICY = FramePolicy()


def run(race: Race) -> None:
    """Measure each part of an update's way: encoding, storing, reading, decoding, merging; and a copy, to compare."""
    for count in _SIZES_QUICK if race.quick else _SIZES:
        with race.step(f"{count:,} weights"), tempfile.TemporaryDirectory() as directory:
            _measure(race, count, Path(directory))


def _measure(race: Race, count: int, directory: Path) -> None:
    rng, base = np.random.default_rng(1), Cid.of(DAG_CBOR, b"an update")
    replica = rng.normal(0, 0.05, count).astype(np.float32)
    weights = replica + rng.normal(0, 0.001, count).astype(np.float32)
    frame, name = encode_frame(weights, replica, base, _POLICY), f"{count:,} weights"
    votes = [Vote(replica if number else weights, 100, number, settled=False) for number in range(_PEERS)]
    with closing(LocalBlockStore(directory)) as store:

        def put() -> None:
            for block in frame.blocks:
                store.put(RAW, block + rng.bytes(1))  # another block each time

        names = [store.put(RAW, block) for block in frame.blocks]
        parts = {
            "encoding a frame": lambda: encode_frame(weights, replica, base, _POLICY),
            "storing its blocks": put,
            "reading its blocks, checked": lambda: [store.get(cid) for cid in names],
            "decoding it": lambda: decode_frame(frame.header, frame.blocks, replica, count),
            f"merging {_PEERS} replicas": lambda: merge(weights, votes, MergePolicy(), 0),
            "copying the weights, to compare": weights.copy,
            "sha2-256 of the frame, to compare": lambda: [hashlib.sha256(block).digest() for block in frame.blocks],
        }
        for what, action in parts.items():
            race.figure(f"{name}: {what}", 1000 * median(seconds_of(action) for _ in range(_REPEATS)), "ms")
    race.figure(f"{name}: a frame", sum(map(len, frame.blocks)) / 1e6, "MB")
    race.figure(f"{name}: replicas of {_PEERS} peers", 4 * count * _PEERS / 1e6, "MB")
