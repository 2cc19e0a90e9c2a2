"""The golden file pins the bytes of protocol version 1."""

import json
from pathlib import Path

import numpy as np
import pytest
from golden.vectors import vectors

from learnae.ipld.cid import Cid
from learnae.protocol.bodies import FrameHeader
from learnae.protocol.limits import Limits
from learnae.protocol.messages import open_message
from learnae.swarm.manifest import Manifest
from learnae.weights.frames import decode_frame

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "protocol-1.json").read_text())


def test_what_is_written_today_is_what_was_written_then() -> None:
    assert vectors() == GOLDEN


@pytest.mark.parametrize(("name", "columns"), [("manifest", 0), ("manifest_of_tables", 3)])
def test_the_manifests_of_then_are_read_today(name: str, columns: int) -> None:
    manifest = Manifest.from_bytes(bytes.fromhex(GOLDEN[name]["block"]))
    assert str(manifest.swarm) == GOLDEN[name]["id"]
    assert len(manifest.columns) == columns


def test_the_messages_of_then_are_verified_today() -> None:
    swarm = Cid.parse(GOLDEN["manifest"]["id"])
    for vector in GOLDEN["messages"]:
        assert str(open_message(bytes.fromhex(vector["block"]), swarm, Limits()).cid) == vector["cid"]


def test_the_frames_of_then_are_decoded_today() -> None:
    base = Cid.parse(GOLDEN["messages"][0]["cid"])
    for chain in GOLDEN["frames"].values():
        replica = None
        for frame in chain:
            count = len(frame["weights"])
            header = FrameHeader(frame["type"], frame["codec"], count, base if frame["type"] == "delta" else None)
            blocks = [bytes.fromhex(block) for block in frame["blocks"]]
            replica = decode_frame(header, blocks, replica, count)
            np.testing.assert_array_equal(replica, np.array(frame["replica"], np.float32))
