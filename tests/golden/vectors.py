"""Makes the golden vectors: a small conversation with fixed keys, times and weights.

``PYTHONPATH=.:tests python -m golden.vectors > tests/golden/protocol-1.json`` writes them anew. The bytes of
protocol version 1 never change: a difference means a new version, not a new file.
"""

import json
import random
from typing import Any

import numpy as np

from learnae.ipld import dagcbor
from learnae.ipld.cid import RAW, Cid
from learnae.protocol.bodies import Evidence, FrameHeader, Join, Metrics, Summary, Update
from learnae.protocol.identity import Identity
from learnae.protocol.messages import Message, compose
from learnae.samples.dp_statistics import Statistics
from learnae.swarm.features import WindowStatistics
from learnae.swarm.manifest import Manifest
from learnae.swarm.presets import dense_config
from learnae.weights.frames import FramePolicy, encode_frame

TIME = 1_700_000_000_000
ALICE = Identity.from_seed(bytes(range(32)))
BOB = Identity.from_seed(bytes(range(32, 64)))


def manifest() -> Manifest:
    config, loss = dense_config(10, (3,), 2, "softmax"), "sparse_categorical_crossentropy"
    features = WindowStatistics(("x", "y"), 50.0, 100, 50, (0.0,) * 10, (0.5,) * 10)
    return Manifest("golden", config, loss, seed=5, created=TIME, classes=("left", "right"), features=features)


def manifest_of_tables() -> Manifest:
    """As a swarm has it whose rows come from tables with named columns."""
    columns = ("flow", "pressure", "Temperatur °C")
    return Manifest("tables", dense_config(3, (), 1, "linear"), "huber", seed=6, created=TIME, columns=columns)


def weights(step: int) -> np.ndarray:
    """Exact in binary: the same on every machine and NumPy."""
    count = manifest().model.count
    return ((np.arange(count) * 7 + step * 3) % 17 - 8).astype(np.float32) / 16


def frames(policy: FramePolicy) -> list[dict[str, Any]]:
    replica, base, result = None, None, []
    for step in range(3):
        frame = encode_frame(weights(step), replica, base, policy)
        replica, base = frame.replica, Cid.of(RAW, b"stands for the previous update")
        found = {"weights": weights(step).tolist(), "type": frame.header.kind, "codec": frame.header.codec}
        blocks = [block.hex() for block in frame.blocks]
        result.append({**found, "blocks": blocks, "replica": frame.replica.tolist()})
    return result


def summary() -> Summary:
    """Of two columns and two classes, with noise that is always the same."""
    statistics = Statistics(2, 2)
    for label in (0, 1, -1):
        rows = np.tile(np.array([[0.5, -3.0], [0.0, 2.0 + label]], np.float32), (200, 1))
        statistics.add(rows, np.full(len(rows), label))
    return statistics.release(1, random.Random(1))


def messages() -> list[Message]:
    swarm = manifest().swarm
    hello = compose(ALICE, swarm, 0, (), TIME, Join("alice", "agent", "0.1.0").to_fields())
    other = compose(BOB, swarm, 0, (hello.cid,), TIME + 1, Join("bob", "trainer", "0.1.0").to_fields())
    frame = encode_frame(weights(0), None, None, FramePolicy())
    blocks = tuple(Cid.of(RAW, block) for block in frame.blocks)
    update = Update(frame.header, 26, 100, Metrics(0.5, 0.75, 40), (), 300, 0)
    first = compose(ALICE, swarm, 1, (hello.cid, other.cid), TIME + 100, update.to_fields(), blocks)
    header = FrameHeader("delta", "q8", len(weights(0)), first.cid)
    delta = Update(header, 52, 100, None, (), 600, 500)
    second = compose(ALICE, swarm, 2, (first.cid,), TIME + 200, delta.to_fields(), blocks)
    evidence = Evidence(ALICE.author, first.cid, second.cid)
    third = compose(BOB, swarm, 1, (other.cid, second.cid), TIME + 300, evidence.to_fields())
    unknown = compose(BOB, swarm, 2, (third.cid,), TIME + 400, {"kind": "later", "value": 1.5})
    sealed = compose(BOB, swarm, 3, (unknown.cid,), TIME + 500, b"\x00sealed")  # type: ignore[arg-type]
    fourth = compose(BOB, swarm, 4, (sealed.cid,), TIME + 600, summary().to_fields())
    return [hello, other, first, second, third, unknown, sealed, fourth]


def vectors() -> dict[str, Any]:
    definition, tables = manifest(), manifest_of_tables()
    found = messages()
    return {
        "manifest": {"id": str(definition.swarm), "block": definition.to_bytes().hex()},
        "manifest_of_tables": {"id": str(tables.swarm), "block": tables.to_bytes().hex()},
        "messages": [{"cid": str(message.cid), "block": message.data.hex()} for message in found],
        "heads": dagcbor.encode([found[-1].cid]).hex(),
        "frames": {name: frames(FramePolicy(keyframe=name, delta=name)) for name in ("f32", "f16", "q8")},
    }


if __name__ == "__main__":
    print(json.dumps(vectors(), indent=1))
