"""The vectors pin the bytes of protocol version 1: the library writes and reads them."""

import json
from typing import Any

import numpy as np
import pytest
from golden.vectors import DIRECTORY, LOST, VALUES, vectors
from sealed_swarm import Ring

from learnae.errors import PeerError, SealError
from learnae.ipld.cid import Cid
from learnae.membership.sealing import open_sealed
from learnae.protocol.announcements import Announcement
from learnae.protocol.bodies import FrameHeader
from learnae.protocol.limits import Limits
from learnae.protocol.messages import open_message
from learnae.swarm.manifest import Manifest
from learnae.weights.frames import decode_frame

GOLDEN = {path.stem: json.loads(path.read_text()) for path in DIRECTORY.glob("*.json")}
SWARM = Cid.parse(GOLDEN["manifests"]["features"]["cid"])
REFUSED = GOLDEN["refused"]


def header_of(frame: dict[str, Any]) -> FrameHeader:
    return FrameHeader(frame["type"], frame["codec"], frame["count"], LOST if frame["type"] == "delta" else None)


def blocks_of(frame: dict[str, Any]) -> list[bytes]:
    return [bytes.fromhex(block) for block in frame["blocks"]]


def test_what_is_written_today_is_what_was_written_then() -> None:
    assert vectors() == GOLDEN


@pytest.mark.parametrize(("name", "columns"), [("features", 0), ("tables", 3), ("members", 0)])
def test_the_manifests_of_then_are_read_today(name: str, columns: int) -> None:
    vector = GOLDEN["manifests"][name]
    manifest = Manifest.from_bytes(bytes.fromhex(vector["block"]))
    assert str(manifest.swarm) == vector["cid"]
    assert len(manifest.columns) == columns


@pytest.mark.parametrize("name", GOLDEN["messages"])
def test_the_messages_of_then_are_verified_today(name: str) -> None:
    vector = GOLDEN["messages"][name]
    message = open_message(bytes.fromhex(vector["block"]), SWARM, Limits())
    assert str(message.cid) == vector["cid"]
    assert [message.seq, message.checkpoint, message.forked] == [
        vector["says"][field] for field in ("seq", "checkpoint", "forked")
    ]


@pytest.mark.parametrize("name", GOLDEN["announcements"])
def test_the_announcements_of_then_are_read_today(name: str) -> None:
    vector = GOLDEN["announcements"][name]
    said = Announcement.from_bytes(bytes.fromhex(vector["bytes"]))
    assert said.to_bytes().hex() == vector["bytes"]
    assert [str(entry.head) for entry in said.entries] == [row[2]["/"] for row in vector["says"]["authors"]]


@pytest.mark.parametrize("codec", GOLDEN["frames"])
def test_the_frames_of_then_are_decoded_today(codec: str) -> None:
    replica = None
    for frame in GOLDEN["frames"][codec]:
        replica = decode_frame(header_of(frame), blocks_of(frame), replica, frame["count"])
        assert replica.astype("<f4").tobytes().hex() == frame["replica"]
    assert replica is not None
    assert not np.array_equal(replica, np.zeros_like(replica))


@pytest.mark.parametrize("name", REFUSED["sealed"])
def test_sealed_bytes_that_must_be_refused_are(name: str) -> None:
    part, secrets = REFUSED["sealed"][name], Ring()
    secrets.known[bytes.fromhex(GOLDEN["sealed"]["epoch"])] = bytes.fromhex(GOLDEN["sealed"]["secret"])
    author, sealed = bytes.fromhex(part["author"]), bytes.fromhex(part["sealed"])
    with pytest.raises(SealError):
        open_sealed(secrets, author, part["seq"], part["index"], sealed)
    good = GOLDEN["sealed"]["parts"][1]
    opened = open_sealed(
        secrets, bytes.fromhex(good["author"]), good["seq"], good["index"], bytes.fromhex(good["sealed"])
    )
    assert opened.hex() == good["plain"]


@pytest.mark.parametrize("name", REFUSED["messages"])
def test_a_message_that_must_be_refused_is(name: str) -> None:
    with pytest.raises(PeerError):
        open_message(bytes.fromhex(REFUSED["messages"][name]["block"]), SWARM, Limits())


@pytest.mark.parametrize("name", REFUSED["announcements"])
def test_an_announcement_that_must_be_refused_is(name: str) -> None:
    with pytest.raises(PeerError):
        Announcement.from_bytes(bytes.fromhex(REFUSED["announcements"][name]["bytes"]))


@pytest.mark.parametrize("name", REFUSED["frames"])
def test_a_frame_that_must_be_refused_is(name: str) -> None:
    frame = REFUSED["frames"][name]
    with pytest.raises(PeerError):
        decode_frame(header_of(frame), blocks_of(frame), None, VALUES)
