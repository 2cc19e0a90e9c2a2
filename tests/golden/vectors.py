"""Makes the vectors of docs/vectors: a small conversation with fixed keys, times and weights, and what is refused.

``PYTHONPATH=.:tests python -m golden.vectors`` writes them anew. The bytes of protocol version 1 never change: a
difference means a new version, not new files. ``tests/golden/reader.py`` reads them without the library.
"""

import base64
import json
import math
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cbor2
import numpy as np
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from golden import record_vectors, sum_vectors

from learnae.ipld import dagcbor
from learnae.ipld.cid import DAG_CBOR, RAW, Cid
from learnae.membership.policy import Founder, MembershipPolicy
from learnae.membership.sealing import seal
from learnae.privacy.noise.gaussian import normals_of
from learnae.privacy.policy import PrivacyPolicy, SummaryPrivacy
from learnae.protocol.announcements import PREFIX_BYTES, Announcement, Entry
from learnae.protocol.bodies import Evidence, FrameHeader, Join, Metrics, Profile, Summary, Update
from learnae.protocol.identity import Identity
from learnae.protocol.limits import MAX_SEQ, Limits
from learnae.protocol.messages import Message, compose
from learnae.samples.dp_statistics import Layout, Statistics
from learnae.swarm.features import WindowStatistics
from learnae.swarm.manifest import Manifest
from learnae.swarm.presets import dense_config
from learnae.weights.codecs import NAMES
from learnae.weights.frames import FramePolicy, encode_frame

DIRECTORY = Path(__file__).parents[2] / "docs" / "vectors"
TIME = 1_700_000_000_000
CONTEXT = b"learnae/message/1"
ALICE, BOB, CAROL, DAVE = (Identity.from_seed(bytes(range(32 * n, 32 * n + 32))) for n in range(4))
PROFILES = {
    peer.author: Profile(name, role, "0.1.0")
    for peer, name, role in ((ALICE, "alice", "agent"), (BOB, "bob", "trainer"))
}
NOTE = {"kind": "note"}
EPOCH, SECRET, SALT = b"epoch...", bytes(range(200, 232)), bytes(range(16))
VALUES = 300  # of a frame: more than one group of 256
LOST = Cid.of(DAG_CBOR, b"a message that nobody keeps")
GROUP_ORDER = 2**252 + 27742317777372353535851937790883648493  # L of RFC 8032


def manifest() -> Manifest:
    config, loss = dense_config(10, (3,), 2, "softmax"), "sparse_categorical_crossentropy"
    features = WindowStatistics(("x", "y"), 50.0, 100, 50, (0.0,) * 10, (0.5,) * 10)
    return Manifest("golden", config, loss, seed=5, created=TIME, classes=("left", "right"), features=features)


def manifest_of_tables() -> Manifest:
    """As a swarm has it whose rows come from tables with named columns."""
    columns = ("flow", "pressure", "Temperatur °C")
    return Manifest("tables", dense_config(3, (), 1, "linear"), "huber", seed=6, created=TIME, columns=columns)


def manifest_of_members() -> Manifest:
    """As a swarm has it that lets in who brings an invite; ALICE and BOB found it."""
    founders = [Founder(peer.author, bytes([number]) * 32) for number, peer in enumerate((ALICE, BOB))]
    policy = MembershipPolicy.of("invite", founders)
    return Manifest("members", dense_config(1, (), 1, "linear"), "huber", created=TIME, membership=policy)


SWARM = manifest().swarm


def weights(step: int, count: int = VALUES) -> np.ndarray:
    """Exact in binary: the same on every machine and NumPy."""
    return ((np.arange(count) * 7 + step * 3) % 17 - 8).astype(np.float32) / 16


def signed(author: Identity, **changes: Any) -> bytes:
    """Return a message of ``author`` with fields changed, added or (None) left out before it is signed."""
    fields = {
        "v": 1, "by": author.author, "seq": 0, "body": NOTE, "time": TIME, "swarm": SWARM, "blocks": [], "forked": 0,
        "parents": [], "checkpoint": True, **changes,
    }  # fmt: skip
    fields = {name: value for name, value in fields.items() if value is not None}
    return dagcbor.encode({**fields, "sig": author.sign(CONTEXT + dagcbor.encode(fields))})


def summary() -> Summary:
    """Of two columns and two classes, with noise that is always the same."""
    statistics = Statistics(Layout("full", 2, 2, 2))
    for label in (0, 1, -1):
        rows = np.tile(np.array([[0.5, -3.0], [0.0, 2.0 + label]], np.float32), (200, 1))
        statistics.add(rows, np.full(len(rows), label))
    return statistics.release(
        1, PrivacyPolicy(summary=SummaryPrivacy(form="full")), normals=lambda count: normals_of(bytes(32), count)
    )


def messages() -> dict[str, Message | bytes]:
    """Return them by name, in an order in which every rule of the tangle lets them in."""
    hello = compose(ALICE, SWARM, 0, (), TIME, Join(PROFILES[ALICE.author]).to_fields())
    other = compose(BOB, SWARM, 0, (hello.cid,), TIME + 1, Join(PROFILES[BOB.author]).to_fields())
    frame = encode_frame(weights(0), None, None, FramePolicy())
    blocks = tuple(Cid.of(RAW, block) for block in frame.blocks)
    update = Update(frame.header, 26, 100, Metrics(1.0, 0.75, 40), (), 300, 0, peer=PROFILES[ALICE.author])
    key = compose(ALICE, SWARM, 1, (hello.cid, other.cid), TIME + 100, update.to_fields(), blocks, checkpoint=True)
    header = FrameHeader("delta", "q8", VALUES, key.cid)
    merged = (other.cid.digest[:8],)
    delta = compose(
        ALICE, SWARM, 2, (key.cid,), TIME + 200,
        Update(header, 52, 100, None, merged, 600, 500, settled=True).to_fields(), (Cid.of(RAW, b"a delta"),),
    )  # fmt: skip
    told = compose(
        BOB, SWARM, 1, (other.cid, delta.cid), TIME + 300, {**summary().to_fields(), "peer": None}, checkpoint=True
    )
    gap = compose(ALICE, SWARM, 300, (LOST,), TIME + 60_000, update.to_fields(), blocks, checkpoint=True)
    root = compose(CAROL, SWARM, 0, (), TIME, NOTE)
    one, two = (compose(CAROL, SWARM, 1, (root.cid,), TIME + time, NOTE) for time in (500, 600))
    evidence = Evidence(CAROL.author, one.cid, two.cid)
    proof = compose(BOB, SWARM, 2, (told.cid,), TIME + 700, evidence.to_fields())
    restored = compose(DAVE, SWARM, 70_000, (LOST,), TIME + 800, NOTE, checkpoint=True, forked=70_000)
    after = compose(DAVE, SWARM, 70_001, (restored.cid,), TIME + 900, NOTE, forked=70_000)
    return {
        "join": hello,
        "join with a hint": other,
        "update with a keyframe": key,
        "update with a delta, settled": delta,
        "summary": told,
        "checkpoint after a gap": gap,
        "first of the author of a fork": root,
        "one side of a fork": one,
        "other side of a fork": two,
        "evidence of the fork": proof,
        "checkpoint that declares a fork": restored,
        "message after a declared fork": after,
        "kind of a later version": compose(BOB, SWARM, 3, (proof.cid,), TIME + 800, {"kind": "later", "value": 1.0}),
        "fields of a later version": signed(DAVE, later={"deep": [1, 1.0, -0.5]}, ratio=1.0, word="Größe"),
        "as many fields as may be": signed(DAVE, **{f"later{number:02}": number for number in range(12)}),
    }


def refused_messages() -> dict[str, tuple[str, bytes]]:
    """Return reason and bytes by name."""
    good, one = signed(DAVE), some_link(1)
    fields = dagcbor.decode(good)
    halves = [struct.pack(">Bd", 0xFB, 1.5), struct.pack(">Bf", 0xFA, 1.5)]
    scalar = int.from_bytes(fields["sig"][32:], "little") + GROUP_ORDER
    items = [(name, plain(value)) for name, value in fields.items()]
    unordered = cbor2.dumps(dict([*items[:4], *items[:3:-1]]))
    king = {"kind": "join", "peer": {"name": "dave", "role": "king", "software": "1"}}
    return {
        "cut off": ("it ends too early", good[:-1]),
        "one byte more": ("bytes follow the map", good + b"\x00"),
        "changed": ("the signature is of other bytes", dagcbor.encode({**fields, "time": TIME + 1})),
        "signed by another": ("the signature is another key's", dagcbor.encode({**fields, "by": BOB.author})),
        "signed without the context": (
            "the signature is of the map alone", dagcbor.encode({**fields, "sig": DAVE.sign(without(fields, "sig"))})
        ),
        "signature made twice": (
            "S of the signature is not below L (RFC 8032, 5.1.7)",
            dagcbor.encode({**fields, "sig": fields["sig"][:32] + scalar.to_bytes(32, "little")}),
        ),
        "another swarm": ("swarm is not this one", signed(DAVE, swarm=one)),
        "another version": ("v is not 1", signed(DAVE, v=2)),
        "map with a long head": ("the map's head is not the shortest", b"\xb8\x0b" + good[1:]),
        "short float": ("a float of 32 bits", signed(DAVE, ratio=1.5).replace(*halves)),
        "unordered keys": ("keys are not sorted by length, then bytewise", unordered),
        "too many fields": ("more than 23 fields", signed(DAVE, **{f"later{number:02}": 0 for number in range(13)})),
        "name before sig": ("v, by, seq and sig are not at their places", signed(DAVE, rim=1)),
        "no checkpoint field": ("checkpoint is missing", signed(DAVE, checkpoint=None)),
        "first without checkpoint": ("seq is 0, checkpoint false", signed(DAVE, checkpoint=False)),
        "later without parents": ("seq is above 0, parents empty", signed(DAVE, seq=1)),
        "four parents": ("more than 3 parents", signed(DAVE, parents=[some_link(n) for n in range(4)])),
        "one parent twice": ("a link twice", signed(DAVE, parents=[one, one])),
        "seq too large": ("seq is above 2^53", signed(DAVE, seq=MAX_SEQ + 1, parents=[one])),
        "declares itself": ("forked is above seq", signed(DAVE, seq=1, parents=[one], forked=2)),
        "checkpoint is 1": ("checkpoint is no boolean", signed(DAVE, checkpoint=1)),
        "blocks are bytes": ("blocks are no links", signed(DAVE, blocks=[b"block"])),
        "body without a kind": ("body has no kind", signed(DAVE, body={})),
        "join without peer": ("peer is missing", signed(DAVE, body={"kind": "join"})),
        "role of a king": ("role is neither agent nor trainer", signed(DAVE, body=king)),
        "evidence of one message": (
            "first and second are one message",
            signed(DAVE, body={"kind": "evidence", "author": CAROL.author, "first": one, "second": one}),
        ),
    }  # fmt: skip


def some_link(number: int) -> Cid:
    return Cid.of(RAW, b"%d" % number)


def without(fields: Mapping[str, Any], name: str) -> bytes:
    return dagcbor.encode({key: value for key, value in fields.items() if key != name})


def plain(value: object) -> object:
    return cbor2.CBORTag(42, b"\x00" + value.to_bytes()) if isinstance(value, Cid) else value


def announcements() -> dict[str, Announcement]:
    said = messages()
    entry = Entry(ALICE.author[:PREFIX_BYTES], 300, cid_of(said["checkpoint after a gap"]), None)
    pair = Entry(
        DAVE.author[:PREFIX_BYTES], 70_001, cid_of(said["message after a declared fork"]),
        cid_of(said["checkpoint that declares a fork"]),
    )  # fmt: skip
    return {
        "nothing": Announcement(),
        "one head that is a checkpoint": Announcement((entry,)),
        "two authors and evidence": Announcement((entry, pair), (cid_of(said["evidence of the fork"]),)),
    }


def refused_announcements() -> dict[str, tuple[str, bytes]]:
    """Return reason and bytes by name."""
    row = [ALICE.author[:PREFIX_BYTES], 7, some_link(1), None]
    entries = Limits().entries

    def wire(authors: list[Any], **changes: Any) -> bytes:
        return dagcbor.encode({"v": 1, "kept": [], "authors": authors, **changes})

    return {
        "another version": ("v is not 1", wire([row], v=2)),
        "too many authors": (f"more than {entries} authors", wire([row] * (entries + 1))),
        "too many bytes": ("more than 8192 bytes", wire([row], later=bytes(8192))),
        "too much evidence": ("more than 16 kept", wire([row], kept=[some_link(n) for n in range(17)])),
        "evidence twice": ("a link twice", wire([row], kept=[some_link(1)] * 2)),
        "short author": ("an author of 7 bytes", wire([[row[0][1:], *row[1:]]])),
        "no head": ("head is null", wire([[*row[:2], None, None]])),
        "entry of three": ("an entry has four items", wire([row[:3]])),
        "negative seq": ("seq is below 0", wire([[row[0], -1, *row[2:]]])),
        "one byte more": ("bytes follow the map", wire([row]) + b"\x00"),
    }


def frames(codec: str) -> Iterator[dict[str, Any]]:
    """Encode a keyframe and two deltas, all with one codec."""
    replica, base = None, None
    for step in range(3):
        frame = encode_frame(weights(step), replica, base, FramePolicy(keyframe=codec, delta=codec))
        replica, base = frame.replica, LOST
        yield {
            "type": frame.header.kind,
            "codec": codec,
            "count": VALUES,
            "blocks": [block.hex() for block in frame.blocks],
            "replica": replica.astype("<f4").tobytes().hex(),
        }


def refused_frames() -> dict[str, dict[str, Any]]:
    """Return frames by name, with the reason, for a model of VALUES weights."""
    good = next(frames("f32"))
    block = bytes.fromhex(good["blocks"][0])
    changed = {
        "another count": ("count is not the model's", {"count": VALUES + 1}),
        "a byte too short": ("not the size that the codec says", {"blocks": [block[:-1].hex()]}),
        "a block too many": ("not as many blocks as the codec says", {"blocks": [block.hex(), ""]}),
        "unknown codec": ("no such codec", {"codec": "q3"}),
        "no number": ("a value is not finite", {"blocks": [(b"\x00\x00\xc0\x7f" + block[4:]).hex()]}),
        "too large": ("a value is beyond 10^6", {"blocks": [(np.float32(1.5e6).tobytes() + block[4:]).hex()]}),
        "delta on nothing": ("a delta without the replica that it stands on", {"type": "delta"}),
        **refused_codes(),
    }
    return {
        name: {"why": why, **{key: value for key, value in good.items() if key != "replica"}, **change}
        for name, (why, change) in changed.items()
    }


def refused_codes() -> dict[str, tuple[str, dict[str, Any]]]:
    """Return what no encoder of the coarse codecs writes: changes of one byte, or of the first scale."""

    def changed(codec: str, place: int, value: int) -> dict[str, Any]:
        block = bytearray.fromhex(next(frames(codec))["blocks"][0])
        block[place] = value
        return {"codec": codec, "blocks": [block.hex()]}

    def with_scale(codec: str, scale: float) -> dict[str, Any]:
        block = bytes.fromhex(next(frames(codec))["blocks"][0])
        return {"codec": codec, "blocks": [(struct.pack("<f", scale) + block[4:]).hex()]}

    scales = {"negative": -1.0, "minus nothing": -0.0, "subnormal": 1e-40, "infinite": math.inf, "no": math.nan}
    return {
        "q4 of eight below": ("a step is -8", changed("q4", 8, 0x88)),
        "ternary of six": ("a byte is beyond 242", changed("ternary", 8, 243)),
        "sign of more values": ("what fills up the last byte is not 0", changed("sign", -1, 0xFF)),
        "top10 of more places": ("more than a tenth of the values", changed("top10", 8, 0xFF)),
        "top10 of fewer places": ("less than a tenth of the values", changed("top10", 8, 0)),
        "top10 of more bits": ("what fills up the last byte is not 0", changed("top10", -1, 0xFF)),
        **{
            f"{codec} with a {name} scale": (
                "a scale is neither 0 nor from 2^-100 on and finite",
                with_scale(codec, value),
            )
            for codec in ("q8", "q4", "ternary", "sign", "top10")
            for name, value in scales.items()
        },
    }


def sealed() -> dict[str, Any]:
    """Return a message of a sealed swarm and what it was, then bytes of several sizes."""
    join, frame = dagcbor.encode(Join(PROFILES[ALICE.author]).to_fields()), next(frames("q8"))["blocks"][0]
    body = sealed_part(7, 0, join)
    return {
        "epoch": EPOCH.hex(),
        "secret": SECRET.hex(),
        "message": block_vector(bytes_of(compose(ALICE, SWARM, 7, (LOST,), TIME, body, checkpoint=True))),
        "parts": [
            sealed_vector(seq, index, plain)
            for seq, index, plain in (
                (7, 0, join), (7, 1, bytes.fromhex(frame)), (MAX_SEQ, 1024, b""), (8, 0, bytes(60)), (8, 1, bytes(61)),
            )
        ],
    }  # fmt: skip


def sealed_part(seq: int, index: int, plain: bytes) -> bytes:
    """Seal with a salt that is always the same."""
    return seal(SECRET, EPOCH, ALICE.author, seq, index, plain, salt=SALT)


def sealed_vector(seq: int, index: int, plain: bytes) -> dict[str, Any]:
    data = sealed_part(seq, index, plain)
    return {"author": ALICE.author.hex(), "seq": seq, "index": index, "sealed": data.hex(), "plain": plain.hex()}


def refused_sealed() -> dict[str, dict[str, Any]]:
    """Return sealed bytes by name, with the reason."""
    good = sealed_vector(7, 1, b"weights")
    del good["plain"]
    data = bytes.fromhex(good["sealed"])
    changed: dict[str, tuple[str, dict[str, Any]]] = {
        "changed": ("one bit is another", {"sealed": (data[:-1] + bytes([data[-1] ^ 1])).hex()}),
        "cut off": ("the length is none that sealed bytes have", {"sealed": data[:-1].hex()}),
        "another epoch": ("its secret is not known", {"sealed": (bytes(8) + data[8:]).hex()}),
        "another author": ("sealed for another author", {"author": BOB.author.hex()}),
        "another seq": ("sealed for another message", {"seq": 8}),
        "another index": ("sealed for another place in its message", {"index": 0}),
        "too much padding": ("more zeros than it takes", {"sealed": padded(b"\0\0\0\1x" + bytes(123))}),
        "other padding": ("the padding is not all zeros", {"sealed": padded(b"\0\0\0\1x" + bytes(58) + b"\1")}),
        "too long": ("the length is beyond the end", {"sealed": padded(b"\0\0\0\x3d" + bytes(60))}),
    }
    return {name: {"why": why, **good, **change} for name, (why, change) in changed.items()}


def padded(data: bytes) -> str:
    """Seal as part 1 of message 7 what has a padding of its own."""
    place = SALT + ALICE.author + struct.pack(">QI", 7, 1)
    key = HKDF(SHA256(), 32, None, b"learnae/seal/1" + place).derive(SECRET)
    return (EPOCH + SALT + ChaCha20Poly1305(key).encrypt(bytes(12), data, EPOCH + place)).hex()


def bytes_of(message: Message | bytes) -> bytes:
    return message if isinstance(message, bytes) else message.data


def cid_of(message: Message | bytes) -> Cid:
    return Cid.of(DAG_CBOR, bytes_of(message))


def dag_json(value: object) -> object:
    """Return the value as DAG-JSON says it: a link is {"/": text}, bytes are {"/": {"bytes": base64}}."""
    if isinstance(value, Mapping):
        return {key: dag_json(item) for key, item in value.items()}
    if isinstance(value, Cid):
        return {"/": str(value)}
    if isinstance(value, (list, tuple)):
        return [dag_json(item) for item in value]
    if isinstance(value, bytes):
        return {"/": {"bytes": base64.b64encode(value).decode().rstrip("=")}}
    return value


def block_vector(data: bytes) -> dict[str, Any]:
    return {"cid": str(Cid.of(DAG_CBOR, data)), "block": data.hex(), "says": dag_json(dagcbor.decode(data))}


def vectors() -> dict[str, Any]:
    """Return what the files of docs/vectors hold, by their names."""
    refused = {
        "messages": {name: {"why": why, "block": data.hex()} for name, (why, data) in refused_messages().items()},
        "announcements": {
            name: {"why": why, "bytes": data.hex()} for name, (why, data) in refused_announcements().items()
        },
        "frames": refused_frames(),
        "sealed": refused_sealed(),
    }
    blocks = {name: bytes_of(one) for name, one in messages().items()}
    return {
        "manifests": {
            "features": block_vector(manifest().to_bytes()),
            "tables": block_vector(manifest_of_tables().to_bytes()),
            "members": block_vector(manifest_of_members().to_bytes()),
        },
        "records": record_vectors.records(),
        "messages": {name: block_vector(data) for name, data in blocks.items()},
        "announcements": {
            name: {"bytes": one.to_bytes().hex(), "says": dag_json(dagcbor.decode(one.to_bytes()))}
            for name, one in announcements().items()
        },
        "frames": {name: list(frames(name)) for name in NAMES},
        "sealed": sealed(),
        "sums": {"swarm": str(SWARM), **sum_vectors.sums(SWARM.to_bytes())},
        "refused": refused,
    }


if __name__ == "__main__":
    DIRECTORY.mkdir(exist_ok=True)
    for name, content in vectors().items():
        (DIRECTORY / f"{name}.json").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
