"""A reader without the library's code reads the same from the vectors, and refuses the same."""

import ast
import json
from pathlib import Path

import numpy as np
import pytest
from golden import reader
from golden.vectors import DIRECTORY, LOST, VALUES

from learnae.protocol.bodies import FrameHeader
from learnae.weights.codecs import NAMES, codec_named
from learnae.weights.frames import FramePolicy, decode_frame, encode_frame

GOLDEN = {path.stem: json.loads(path.read_text()) for path in DIRECTORY.glob("*.json")}
SWARM = GOLDEN["manifests"]["features"]["cid"]
REFUSED = GOLDEN["refused"]


def test_it_shares_no_code_with_the_library() -> None:
    tree = ast.parse(Path(reader.__file__).read_text())
    modules = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    modules |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not any(name.split(".")[0] in ("learnae", "agent", "trainer_node", "builders") for name in modules)


@pytest.mark.parametrize("name", GOLDEN["manifests"])
def test_it_names_and_decodes_manifests(name: str) -> None:
    vector = GOLDEN["manifests"][name]
    block = bytes.fromhex(vector["block"])
    assert reader.name_of(block) == vector["cid"]
    assert same(reader.dag_json(reader.decode(block, 1 << 20)), vector["says"])


@pytest.mark.parametrize("name", GOLDEN["messages"])
def test_it_verifies_messages(name: str) -> None:
    vector = GOLDEN["messages"][name]
    block = bytes.fromhex(vector["block"])
    assert reader.name_of(block) == vector["cid"]
    assert same(reader.dag_json(reader.read_message(block, SWARM)), vector["says"])


@pytest.mark.parametrize("name", GOLDEN["announcements"])
def test_it_reads_announcements(name: str) -> None:
    vector = GOLDEN["announcements"][name]
    assert same(reader.dag_json(reader.read_announcement(bytes.fromhex(vector["bytes"]))), vector["says"])


@pytest.mark.parametrize("codec", GOLDEN["frames"])
def test_it_decodes_frames_bit_for_bit(codec: str) -> None:
    replica = None
    for frame in GOLDEN["frames"][codec]:
        replica = reader.read_frame(frame, replica, VALUES)
        assert replica.astype("<f4").tobytes().hex() == frame["replica"]


@pytest.mark.parametrize("codec", NAMES)
def test_it_decodes_frames_of_several_blocks_as_the_library_does(codec: str) -> None:
    rng = np.random.default_rng(1)
    count, replica = reader.BLOCK_VALUES + 300, None
    for base in (None, LOST):
        weights = rng.normal(scale=3, size=count).astype(np.float32)
        frame = encode_frame(weights, replica, base, FramePolicy(codec, codec))
        wire = {"type": frame.header.kind, "codec": codec, "count": count, "blocks": [b.hex() for b in frame.blocks]}
        ours = decode_frame(frame.header, frame.blocks, replica, count)
        np.testing.assert_array_equal(reader.read_frame(wire, replica, count), ours)
        replica = ours


@pytest.mark.parametrize("codec", NAMES)
def test_it_takes_any_bytes_of_the_right_size_as_the_library_does(codec: str) -> None:
    rng = np.random.default_rng(2)
    for count in (1, 255, 256, 257, 600):
        block = rng.integers(0, 256, codec_named(codec).size(count), np.uint8).tobytes()
        wire = {"type": "key", "codec": codec, "count": count, "blocks": [block.hex()]}
        found = [
            outcome(lambda: reader.read_frame(wire, None, count)),  # noqa: B023 - called at once
            outcome(lambda: decode_frame(FrameHeader("key", codec, count, None), [block], None, count)),  # noqa: B023
        ]
        assert found[0] == found[1]


@pytest.mark.parametrize("codec", NAMES)
def test_it_takes_a_damaged_block_as_the_library_does(codec: str) -> None:
    rng, count = np.random.default_rng(3), 303
    header = FrameHeader("key", codec, count, None)
    whole = codec_named(codec).encode(rng.normal(size=count).astype(np.float32))
    for place in [*range(9), *rng.integers(9, len(whole), 60), len(whole) - 1]:
        block = bytearray(whole)
        block[place] ^= 1 << rng.integers(8)
        wire = {"type": "key", "codec": codec, "count": count, "blocks": [block.hex()]}
        found = [
            outcome(lambda: reader.read_frame(wire, None, count)),  # noqa: B023 - called at once
            outcome(lambda: decode_frame(header, [bytes(block)], None, count)),  # noqa: B023
        ]
        assert found[0] == found[1]


def outcome(read) -> bytes | None:
    with np.errstate(all="ignore"):
        try:
            return read().tobytes()
        except Exception:  # noqa: BLE001 - each reader has its own errors
            return None


SECRETS = {bytes.fromhex(GOLDEN["sealed"]["epoch"]): bytes.fromhex(GOLDEN["sealed"]["secret"])}


@pytest.mark.parametrize("part", GOLDEN["sealed"]["parts"])
def test_it_opens_sealed_bytes(part) -> None:
    author, sealed = bytes.fromhex(part["author"]), bytes.fromhex(part["sealed"])
    assert reader.open_sealed(SECRETS, author, part["seq"], part["index"], sealed).hex() == part["plain"]


def test_it_verifies_a_sealed_message_and_reads_it_with_the_secret() -> None:
    sealed = GOLDEN["sealed"]
    fields = reader.read_message(bytes.fromhex(sealed["message"]["block"]), SWARM)
    body = reader.open_sealed(SECRETS, fields["by"], fields["seq"], 0, fields["body"])
    assert reader.decode(body, 1 << 16)["peer"]["name"] == "alice"


@pytest.mark.parametrize("name", REFUSED["sealed"])
def test_it_refuses_sealed_bytes(name: str) -> None:
    part = REFUSED["sealed"][name]
    author, sealed = bytes.fromhex(part["author"]), bytes.fromhex(part["sealed"])
    with pytest.raises(ValueError, match=r"\w"):
        reader.open_sealed(SECRETS, author, part["seq"], part["index"], sealed)


@pytest.mark.parametrize("name", REFUSED["messages"])
def test_it_refuses_messages(name: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        reader.read_message(bytes.fromhex(REFUSED["messages"][name]["block"]), SWARM)


@pytest.mark.parametrize("name", REFUSED["announcements"])
def test_it_refuses_announcements(name: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        reader.read_announcement(bytes.fromhex(REFUSED["announcements"][name]["bytes"]))


@pytest.mark.parametrize("name", REFUSED["frames"])
def test_it_refuses_frames(name: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        reader.read_frame(REFUSED["frames"][name], None, VALUES)


def same(found: object, expected: object) -> bool:
    """Compare as text: to Python 1 and 1.0 are equal."""
    return json.dumps(found, sort_keys=True) == json.dumps(expected, sort_keys=True)
