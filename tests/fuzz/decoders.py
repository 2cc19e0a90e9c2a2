"""The registry: each decoder of bytes from outside by its name, and good inputs that bad ones are made of.

A decoder takes at most ``most_bytes`` and may raise LearnaeError, nothing else. ``work`` is how many times as long as
most it takes: it gets so many times fewer inputs.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import importlib
import io
import json
import os
import socket
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from cobs import cobs

from agent.learning.inference import read_results
from agent.sources.payloads import FORMATS, as_text
from firmware_bridge import records as socket_records
from firmware_bridge.dialects import Native
from firmware_bridge.senml import codec as senml
from firmware_bridge.senml.lines import SenmlLines
from firmware_bridge.serial_link import frames as serial
from firmware_bridge.serial_link.description import Scale
from learnae.adapters.http.connection import Connection
from learnae.adapters.http.gossip import HttpGossip
from learnae.adapters.http.names import BlockName
from learnae.adapters.http.own_vector import OwnVector
from learnae.adapters.http.serving.requests import RefusedError, Request
from learnae.adapters.http.serving.service import SwarmService
from learnae.adapters.http.serving.uploads import HttpUploads
from learnae.adapters.http.vector import Vector
from learnae.adapters.iota.announcements import Channel, SignedAnnouncement
from learnae.adapters.ipfs import pubsub
from learnae.adapters.ipfs.exchange import _parse_pin
from learnae.adapters.lan.beacons import Beacon
from learnae.adapters.lan.mdns import _neighbours
from learnae.adapters.mqtt.blocks import wire_format
from learnae.adapters.mqtt.gossip import parse_announcement
from learnae.adapters.mqtt.monitor.sealed_payloads import open_payload, seal_payload
from learnae.adapters.mqtt.monitor.subscriber import Seen, check_meeting, parse_state
from learnae.errors import BlockMissingError, LearnaeError
from learnae.ipld import dagcbor
from learnae.ipld.cid import DAG_CBOR, RAW, Cid
from learnae.ipld.fields import Fields
from learnae.membership import rendezvous
from learnae.membership.codes import code_text, invite_code, spoken_code
from learnae.membership.policy import MembershipPolicy
from learnae.membership.records import is_record, open_record, record_author
from learnae.membership.sealing import Seals, Secrets, open_sealed, seal
from learnae.membership.viewer_key import ViewerKey
from learnae.models.definition import ModelDefinition
from learnae.models.keras_forms import in_own_form
from learnae.peer.contributions.book import ContributionBook
from learnae.peer.learning.versions import Version
from learnae.peer.masking.standing import Standing
from learnae.peer.state import PeerState
from learnae.peer.summaries.releasing import Released
from learnae.protocol.announcements import Announcement, Entry, sign_fields
from learnae.protocol.bodies import Contributions, FrameHeader, parse_body
from learnae.protocol.identity import Identity
from learnae.protocol.limits import Limits
from learnae.protocol.messages import Envelope, compose, open_message
from learnae.protocol.sum_bodies import NAME_BYTES, SEED_BYTES, MaskedVector, MaskOpen, MaskReady
from learnae.runtime.backup import restore
from learnae.swarm.manifest import Manifest
from learnae.swarm.own_loop import manifest_of, read_parameters
from learnae.swarm.presets import PRESETS, preset
from learnae.system import sealed_arrays
from learnae.system.installation import is_installed
from learnae.system.paths import last_status
from learnae.tables.arrays import Arrays
from learnae.tables.labels import Classes
from learnae.tables.numbers import Numbers
from learnae.tables.opening import open_table
from learnae.tables.table import Kind
from learnae.tables.times import Times
from learnae.text import without_secrets
from learnae.weights.codecs import NAMES
from learnae.weights.frames import FramePolicy, decode_frame, encode_frame

VECTORS = Path(__file__).parents[2] / "docs" / "vectors"
ME = Identity.from_seed(bytes(range(32)))
OTHER = Identity.from_seed(bytes(range(32, 64)))
SWARM = Cid.of(DAG_CBOR, b"a manifest")
LINK = Cid.of(DAG_CBOR, b"a message")
EPOCH, SECRET, AUTHOR = b"epoch...", bytes(range(200, 232)), ME.author
TIME = 1_700_000_000_000
COUNT = 300  # values of a frame
ANNOUNCEMENT = Announcement((Entry(AUTHOR[:8], 3, LINK, LINK), Entry(OTHER.author[:8], 0, LINK, None)), (LINK,))
LIMITS = Limits()
SPOKEN = spoken_code.SpokenCode.parse("4-orbit-piano")
NATIVE_TEXT = b"board/1.0 ax:g:0.01 ay:g:1e-3"


@dataclass(frozen=True, slots=True)
class Decoder:
    """One decoder; ``seeds`` are made when they are first needed."""

    decode: Callable[[bytes], object]
    seeds: Callable[[], list[bytes]]
    work: int = 1
    most_bytes: int = 1 << 16  # of an input: what comes over the wire at once


class OneSecret(Secrets):
    """Knows the secret of one epoch."""

    def current(self) -> tuple[bytes, bytes] | None:
        return EPOCH, SECRET

    def secret_of(self, name: bytes) -> bytes | None:
        return SECRET if name == EPOCH else None


@cache
def _vectors(name: str) -> Any:
    return json.loads((VECTORS / f"{name}.json").read_text())


def _hex(name: str, key: str) -> list[bytes]:
    return [bytes.fromhex(found[key]) for found in _vectors(name).values()]


def _messages() -> list[bytes]:
    return [*_hex("messages", "block"), bytes.fromhex(_vectors("sealed")["message"]["block"])]


def _record_blocks() -> list[bytes]:
    return [bytes.fromhex(found["block"]) for found in _vectors("records")["records"].values()]


@cache
def _golden_swarm() -> Cid:
    fields = dagcbor.decode(_messages()[0])
    assert isinstance(fields["swarm"], Cid)
    return fields["swarm"]


@cache
def _record_swarm() -> Cid:
    return Cid.parse(_vectors("records")["swarm"])


def _bodies() -> list[bytes]:
    found = [dagcbor.decode(data)["body"] for data in _messages()]
    authors = tuple(bytes([number]) * 32 for number in range(1, 6))
    sums = [
        MaskReady(bytes(range(32)), 3, authors).to_fields(),
        MaskedVector(authors, tuple(key[::-1] for key in authors), bytes(12)).to_fields(),
        MaskOpen(bytes(NAME_BYTES), bytes(SEED_BYTES)).to_fields(),
    ]
    said = Contributions((bytes(8), AUTHOR[:8]), (150, -1000)).to_fields()
    return [dagcbor.encode(body) for body in (*found, *sums, said) if not isinstance(body, bytes)]


# -- decoders that need something around the bytes


def _signed_message(data: bytes) -> object:
    """Sign what the bytes say, so that no signature keeps the rest from being read."""
    fields = dagcbor.decode(data)
    if not isinstance(fields, dict):
        return None
    fields = {key: value for key, value in fields.items() if key != "sig"} | {"by": ME.author, "swarm": SWARM}
    signed = ME.sign(b"learnae/message/1" + dagcbor.encode(fields))
    return open_message(dagcbor.encode({**fields, "sig": signed}), SWARM, LIMITS)


def _record(data: bytes) -> object:
    if is_record(data):
        record_author(data)
    return open_record(data, _record_swarm())


def _frame(codec: str) -> Callable[[bytes], object]:
    header = FrameHeader("key", codec, COUNT, None)
    return lambda data: decode_frame(header, [data], None, COUNT)


def _frame_seeds(codec: str) -> list[bytes]:
    values = np.linspace(-2, 2, COUNT, dtype=np.float32)
    return [b"".join(encode_frame(values * scale, None, None, FramePolicy(codec)).blocks) for scale in (0, 1, 1e5)]


def _frame_header(data: bytes) -> object:
    return FrameHeader.from_fields(Fields(dagcbor.decode(data), "frame", LearnaeError))


def _sealed(data: bytes) -> object:
    return open_sealed(OneSecret(), AUTHOR, 7, 0, data)


def _sealed_body(data: bytes) -> object:
    """Seal the bytes as a member would, and open the message."""
    body = seal(SECRET, EPOCH, AUTHOR, 1, 0, data[:4000])
    return Seals(is_sealed=True, secrets=OneSecret()).opened(compose(ME, SWARM, 1, (LINK,), TIME, body), LIMITS)


def _channel(data: bytes) -> object:
    channel = Channel(str(SWARM))
    return SignedAnnouncement.from_bytes(channel.undress(data), SWARM)


def _signed(data: bytes, context: bytes) -> bytes:
    """Sign a map of dag-cbor anew, as the transports' announcements are."""
    fields = dagcbor.decode(data)
    if not isinstance(fields, dict):
        return data
    fields = {key: value for key, value in fields.items() if key != "sig"} | {"by": ME.author}
    return sign_fields(fields, context, SWARM, ME)


def _greeting(data: bytes) -> object:
    session = _offer()
    size = len(_greetings()[0])
    answer = session.receive(data[:size])
    return session.receive(data[size:]) if data[size:] else answer


def _offer() -> spoken_code.OfferSession:
    return spoken_code.OfferSession(spoken_code.Offer(SPOKEN, invite_code.InviteCode(SWARM, bytes(32)), ME.author))


@cache
def _greetings() -> list[bytes]:
    return [spoken_code.Acceptance(SPOKEN).greeting()]


def _acceptance(data: bytes) -> object:
    joiner = spoken_code.Acceptance(SPOKEN)
    joiner.greeting()
    return joiner.receive(data)


def _service(data: bytes) -> object:
    """Let a member's server answer one request, with what follows its head as a body."""
    blocks = {Cid.of(RAW, b"weights"): b"weights"}

    def get(cid: Cid) -> bytes:
        if cid not in blocks:
            raise BlockMissingError("it is not here")
        return blocks[cid]

    own = OwnVector(ME, SWARM)
    uploads = HttpUploads(own, 30.0, 30.0)
    service = SwarmService(SWARM, str(SWARM), get, own, HttpGossip(own), uploads, lambda *_: True)
    head, _, body = data.partition(b"\r\n\r\n")
    try:
        request = Request.parse(head)
        service.check(request)
        return service.answer(request, body)
    except RefusedError as refused:
        return refused.error


def _requests() -> list[bytes]:
    block, (vector,) = Cid.of(RAW, b"weights"), _vectors_of(b"learnae/http/1")
    path = f"/learnae/1/{SWARM}/vector"
    heads = [
        f"GET /ipfs/{block}?format=raw&filename=a.bin", f"HEAD /ipfs/{block}?format=raw", f"GET {path}", f"POST {path}",
        f"PUT /ipfs/{block}", "POST /learnae/1/invites/aaaa",
    ]  # fmt: skip
    return [
        f"{head} HTTP/1.1\r\nHost: b\r\nContent-Length: {len(vector)}\r\nIf-None-Match: x\r\n\r\n".encode() + vector
        if head[0] == "P"
        else f"{head} HTTP/1.1\r\nHost: b\r\nAccept: application/vnd.ipld.raw\r\n\r\n".encode()
        for head in heads
    ]


def _question_plain(data: bytes) -> object:
    return rendezvous.Question.from_bytes(data)


def _answer_plain(data: bytes) -> object:
    return rendezvous.Answer.from_bytes(data)


def _text(parse: Callable[[str], object], errors: str = "surrogateescape") -> Callable[[bytes], object]:
    return lambda data: parse(data.decode("utf-8", errors))


def _request(data: bytes) -> object:
    try:
        return Request.parse(data)
    except RefusedError as refused:
        return refused.error  # an answer of its own: the server sends its status


def _answer_of_server(data: bytes) -> object:
    """Read the answer of a member's server, which is all that comes over the line."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        connection = Connection("board", 1)
        connection.sock = ours
        theirs.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            theirs.send(data)
        theirs.close()
        try:
            return connection.answer(1 << 16)
        except (OSError, ValueError):  # what HttpClient makes a TransportError of
            return None


def _serial_bytes(data: bytes) -> object:
    native = Native()
    list(native.hear(data, 1.0, 0.0))
    list(native.hear(b"\0", 2.0, 0.0))
    native.answer(3.0)
    return native.summary()


def _serial_frame(data: bytes) -> object:
    """Give the bytes a true CRC, so that it keeps nothing from being read."""
    checked = data + binascii.crc_hqx(data, 0xFFFF).to_bytes(2, "big")
    return serial.decode(cobs.encode(checked))


def _serial_stream(data: bytes) -> object:
    """Give each piece of the bytes a true CRC, and let a link have all of them."""
    native, now = Native(), 1.0
    for piece in data.split(b"\0\0")[:50]:
        whole = piece + binascii.crc_hqx(piece, 0xFFFF).to_bytes(2, "big")
        list(native.hear(cobs.encode(whole) + b"\0", now, 0.0))
        native.answer(now)
        now += 0.1
    return native.summary()


def _serial_frames() -> list[bytes]:
    vectors = json.loads((Path(__file__).parents[1] / "golden" / "serial-1.json").read_text())
    return [bytes.fromhex(found["bytes"]) for found in vectors]


def _raw_frames() -> list[bytes]:
    found = []
    for frame in _serial_frames():
        with contextlib.suppress(cobs.DecodeError):
            found.append(cobs.decode(frame.rstrip(b"\0"))[:-2])
    return [*found, b"\0\0".join(found)]


def _senml_lines(data: bytes) -> object:
    lines = SenmlLines()
    for number in range(3):
        list(lines.hear(data + b"\n", 1e9 + number, 0.0))
    return lines.summary()


def _payload(name: str) -> Callable[[bytes], object]:
    def decode(data: bytes) -> object:
        form = FORMATS[name]
        content = form.load(data)
        found = form.names(content)[:8]
        for path in ("", "a", "values.0.x", *found):
            with contextlib.suppress(LearnaeError):
                for each in form.find(content, path, ","):
                    each.number()
        return found

    return decode


def _mdns(data: bytes) -> object:
    zeroconf: Any = importlib.import_module("zeroconf")
    kind = "_learnae._tcp.local."
    return _neighbours(zeroconf.ServiceInfo(kind, f"a.{kind}", 4000, properties=data, addresses=[bytes(4)]))


def _mdns_texts() -> list[bytes]:
    texts = (b"v=1", b"peer=" + ME.author.hex().encode(), b"swarm=" + bytes(8).hex().encode(), b"offer=4")
    return [b"".join(bytes((len(text),)) + text for text in texts)]


def _splitter(data: bytes) -> object:
    return socket_records.Splitter().feed(data)


# -- files


@contextlib.contextmanager
def _file(data: bytes, name: str) -> Iterator[Path]:
    directory = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with tempfile.TemporaryDirectory(dir=directory) as made:
        path = Path(made) / name
        path.write_bytes(data)
        yield path


def _table(name: str) -> Callable[[bytes], object]:
    def decode(data: bytes) -> object:
        with _file(data, name) as path:
            table = open_table(path)
            table.head()
            kinds: dict[str, Kind] = {"time": Times(), "label": Classes(("a", "b"), 2)}
            wanted = [(column, kinds.get(column) or Numbers()) for column in table.names[:6]]
            return [len(piece.numbers) for piece in table.pieces(wanted)]

    return decode


def _arrow(name: str) -> list[bytes]:
    arrow: Any = importlib.import_module("pyarrow")
    table = arrow.table({"time": [1.0, 2.0, 3.0], "a": [1, None, 3], "label": ["a", "b", "a"]})
    found = []
    for packed in (None, "zstd"):
        buffer = io.BytesIO()
        if name.endswith("parquet"):
            importlib.import_module("pyarrow.parquet").write_table(table, buffer, compression=packed or "none")
        else:
            importlib.import_module("pyarrow.feather").write_feather(
                table, buffer, compression=packed or "uncompressed"
            )
        found.append(buffer.getvalue())
    return found


def _arrays(name: str) -> Callable[[bytes], object]:
    def decode(data: bytes) -> object:
        with _file(data, name) as path:
            arrays = Arrays(path)
            for each in list(arrays.headers)[:4]:
                arrays.read(each)
            return arrays.headers

    return decode


def _npz() -> list[bytes]:
    found = []
    for save in (np.savez, np.savez_compressed):
        buffer = io.BytesIO()
        save(buffer, x=np.arange(12.0).reshape(4, 3), y=np.array(["a", "b", "a", "b"]), z=np.asfortranarray(np.eye(3)))
        found.append(buffer.getvalue())
    return found


def _npy() -> list[bytes]:
    found = []
    for array in (np.arange(6.0), np.asfortranarray(np.eye(3, dtype=np.float32)), np.array("a"), np.zeros((0, 3))):
        buffer = io.BytesIO()
        np.save(buffer, array)
        found.append(buffer.getvalue())
    return found


def _keras(data: bytes) -> object:
    try:
        config = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return ModelDefinition.from_config(in_own_form(config))


def _keras_seeds() -> list[bytes]:
    golden = Path(__file__).parents[1] / "golden"
    stored = [json.loads(path.read_text()) for path in sorted(golden.glob("keras-*.json"))]
    models = [model for each in stored for model in (each.values() if isinstance(each, dict) else each)]
    return [
        *(json.dumps(model).encode() for model in models[:40]),
        *(json.dumps(dict(preset(name, 0).config)).encode() for name in PRESETS),
    ]


def _manifests() -> list[bytes]:
    own, _ = manifest_of({"w": np.ones((2, 3)), "b": np.ones(()), "é": np.ones((1, 1, 2))}, "mine", 1)
    return [*_hex("manifests", "block"), *(preset(name, 0).to_bytes() for name in PRESETS), own.to_bytes()]


def _parameters(data: bytes) -> object:
    with _file(data, "a.npz") as path:
        return manifest_of(read_parameters(path), "mine", 1)


def _backup(data: bytes) -> object:
    before = os.environ.get("LEARNAE_HOME")
    with _file(data, "backup.tar") as path:
        os.environ["LEARNAE_HOME"] = str(path.parent / "home")
        try:
            return restore(path)
        finally:
            os.environ.pop("LEARNAE_HOME")
            if before is not None:
                os.environ["LEARNAE_HOME"] = before


@cache
def _state() -> bytes:
    manifest, vector = preset("wrist", 0), np.zeros(3, np.float32)
    first = compose(ME, manifest.swarm, 0, (), TIME, {"kind": "note"})
    counts = dict.fromkeys(("key_bytes", "key_time", "since_bytes", "since_updates", "samples", "time", "steps"), 1)
    return PeerState(
        manifest.swarm,
        first.data,
        None,
        bytes_out=1,
        bytes_in=1,
        weights=vector,
        replica=vector,
        estimate=vector,
        **counts,
    ).to_bytes()


def _pem() -> bytes:
    with tempfile.TemporaryDirectory() as made:
        ME.save(Path(made) / "key.pem")
        return (Path(made) / "key.pem").read_bytes()


def _backups() -> list[bytes]:
    buffer, manifest = io.BytesIO(), preset("wrist", 0)
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in (
            (f"swarms/{manifest.swarm}/manifest.cbor", manifest.to_bytes()),
            (f"swarms/{manifest.swarm}/blocks/{Cid.of(RAW, b'a')}", b"a"),
            ("peers/ann/key.pem", _pem()),
            ("peers/ann/state", _state()),
        ):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return [buffer.getvalue()]


def _status(data: bytes) -> object:
    with _file(data, "status.json") as path:
        return last_status(path.parent)


def _results(data: bytes) -> object:
    with _file(data, "inference.jsonl") as path:
        return read_results(path.parent, 5)


def _resealed(read: Callable[[bytes], object]) -> Callable[[bytes], object]:
    """Give the bytes the digest that a state begins with, and an archive around a header of dag-cbor."""

    def decode(data: bytes) -> object:
        vector = np.zeros(3, np.float32)
        arrays = {"header": np.frombuffer(data, np.uint8), "vector": vector, "weights": vector, "estimate": vector}
        return read(b"".join(sealed_arrays.seal_arrays(arrays)))

    return decode


def _state_header() -> list[bytes]:
    return [sealed_arrays.open_arrays(_state())["header"].tobytes()]


def _version_header() -> list[bytes]:
    version = Version(SWARM, 1, 1, None, {"ann": LINK}, np.zeros(3, np.float32), frozenset((AUTHOR,)))
    return [sealed_arrays.open_arrays(b"".join(version.to_pieces()))["header"].tobytes()]


def _books() -> list[bytes]:
    book = ContributionBook(SWARM, AUTHOR, LIMITS.horizon, began=TIME, said=TIME)
    book.note_gains({OTHER.author: 0.1, bytes(32): -0.1}, TIME)
    book.hear(OTHER.author, TIME, Contributions((AUTHOR[:8],), (90,)))
    book.admit([OTHER.author])
    return [ContributionBook(SWARM, AUTHOR, LIMITS.horizon).to_bytes(), book.to_bytes()]


def _released() -> list[bytes]:
    summary = next(body for body in map(dagcbor.decode, _bodies()) if body["kind"] == "summary")
    said = {"began": 1, "floor": 2, "number": 1, "time": 5, "closed": False}
    return [dagcbor.encode({"v": 1, **said, "summary": each}) for each in (None, summary)]


def _pubsub_line() -> list[bytes]:
    data = dagcbor.encode({**ANNOUNCEMENT.to_fields(), "peer": "abc"})
    text = "u" + base64.urlsafe_b64encode(data).decode().rstrip("=")
    return [json.dumps({"from": "x", "data": text, "seqno": "u", "topicIDs": ["u"]}).encode()]


def _pubsub_content(data: bytes) -> object:
    text = "u" + base64.urlsafe_b64encode(data).decode().rstrip("=")
    return pubsub.parse_announcement(json.dumps({"data": text}).encode())


def _codes() -> list[bytes]:
    addresses = ("mqtts://broker.example", "http://192.168.1.2:4000", "/ip4/10.0.0.1/tcp/4001")
    plain = [invite_code.InviteCode(SWARM, bytes(range(32)), addresses[:count]) for count in (0, 1, 2)]
    login = invite_code.InviteCode(SWARM, bytes(range(32)), addresses[:1], ("ann", "secret"))
    return [code.to_text().encode() for code in (*plain, login)]


def _code_data(data: bytes) -> object:
    """Read what a code holds, whose check digits are right."""
    return invite_code.parse("LRN1" + code_text.to_text(data[:200]))


def _codes_data() -> list[bytes]:
    return [code_text.from_text(code.decode()[4:], before=4) for code in _codes()]


def _state_of_monitor() -> list[bytes]:
    state = {
        "name": "ann", "role": "agent", "software": "0.1", "steps": 1, "loss": 0.5, "accuracy": 0.5, "peers": 2,
        "bytes_out": 1, "bytes_in": 1, "time": 1, "inference": {"score": 1.0, "label": "a", "anomaly": True},
        "privacy": {"epsilon": 1.0, "delta": 1e-5}, "mae": None, "r2": None,
    }  # fmt: skip
    return [json.dumps(state).encode()]


def _socket_records() -> list[bytes]:
    channels = (socket_records.Channel("x", "g"), socket_records.Channel("y", "g"))
    found = (
        socket_records.Schema("s", "b", "1", channels, 50.0),
        socket_records.Readings(1, 1.0, 0.02, np.arange(6.0).reshape(3, 2)),
        socket_records.Label(1.0, "a"),
        socket_records.Event(1.0, "a"),
        socket_records.LinkState(1.0, "up"),
        socket_records.Listen("s", 3),
    )
    return [socket_records.to_bytes(each) for each in found]


CSV = b"time,a,label\n2024-01-01 00:00:00,1.5,a\n2024-01-01 00:00:01,-2,b\n2024-01-01 00:00:02,,\n"
_LINES = b'{"time": 1.5, "a": 1, "label": "a"}\n{"time": 2, "a": null}\n'
_SENML = json.dumps(
    [
        {"bn": "urn:dev:ow:1:", "bt": 1e9, "n": "x", "u": "Cel", "v": 1.5},
        {"n": "y", "v": 2, "t": -1},
        {"n": "z", "vs": "a"},
    ]
).encode()
_PAYLOADS = [
    _SENML, b'{"a": 1.5, "values": [{"x": 1, "name": "t"}], "t": "21,5 C"}', b"21.5", b'"21.5 C"', b"[1,2,[3]]",
    b'{"Time": "2024-01-01T00:00:00", "DS18B20": {"Temperature": 21.5}, "TempUnit": "C"}', senml.to_cbor(
        senml.from_json(_SENML, 1e9)
    ),
]  # fmt: skip
_HTTP = [
    b"GET /ipfs/bafkqaaa?format=raw HTTP/1.1\r\nHost: board\r\nRange: bytes=0-5\r\nAccept: application/vnd.ipld.raw",
    b"PUT /a/b?x=%41&y HTTP/1.0\r\nContent-Length: 12\r\nConnection: close",
]
_ANSWERS = [
    b'HTTP/1.1 200 OK\r\nContent-Length: 3\r\nETag: "a"\r\n\r\nabc', b"HTTP/1.1 304 Not Modified\r\n\r\n",
    b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
]  # fmt: skip


def _vectors_of(context: bytes) -> list[bytes]:
    wants = {"wants": [LINK]} if b"http" in context else {}
    fields = {**ANNOUNCEMENT.to_fields(), "by": ME.author, "time": TIME, **wants}
    return [_signed(dagcbor.encode(fields), context)]


DECODERS: dict[str, Decoder] = {
    "dag-cbor": Decoder(dagcbor.decode, lambda: [*_messages(), *_manifests(), *_bodies()]),
    "cid": Decoder(Cid.from_bytes, lambda: [LINK.to_bytes()]),
    "cid text": Decoder(_text(Cid.parse), lambda: [str(LINK).encode()]),
    "message": Decoder(lambda data: open_message(data, _golden_swarm(), LIMITS), _messages, 4),
    "signed message": Decoder(_signed_message, _messages, 10),
    "envelope": Decoder(Envelope.read, _messages),
    "body": Decoder(lambda data: parse_body(dagcbor.decode(data), LIMITS), _bodies),
    "sealed body": Decoder(_sealed_body, _bodies, 20),
    "sealed box": Decoder(_sealed, lambda: [seal(SECRET, EPOCH, AUTHOR, 7, 0, data) for data in (b"", b"a" * 100)], 4),
    "frame header": Decoder(
        _frame_header,
        lambda: [
            dagcbor.encode(FrameHeader(kind, "q8", 3, base).to_fields())
            for kind, base in (("key", None), ("delta", LINK))
        ],
    ),
    **{f"frame {name}": Decoder(_frame(name), lambda name=name: _frame_seeds(name)) for name in NAMES},
    "manifest": Decoder(Manifest.from_bytes, _manifests, 10),
    "membership policy": Decoder(
        lambda data: MembershipPolicy.from_fields(Fields(dagcbor.decode(data), "membership", LearnaeError)),
        lambda: [dagcbor.encode(dagcbor.decode(_hex("manifests", "block")[2])["membership"])],
    ),
    "roster record": Decoder(_record, _record_blocks, 4),
    "announcement": Decoder(
        lambda data: parse_announcement("a", data), lambda: [*_hex("announcements", "bytes"), ANNOUNCEMENT.to_bytes()]
    ),
    "announcement over http": Decoder(
        lambda data: Vector.from_bytes(data, SWARM), lambda: _vectors_of(b"learnae/http/1"), 4
    ),
    "signed announcement over http": Decoder(
        lambda data: Vector.from_bytes(_signed(data, b"learnae/http/1"), SWARM),
        lambda: _vectors_of(b"learnae/http/1"),
        10,
    ),
    "announcement over iota": Decoder(
        _channel, lambda: [Channel(str(SWARM)).dress(data) for data in _vectors_of(b"learnae/iota/1")], 4
    ),
    "announcement over pubsub": Decoder(pubsub.parse_announcement, _pubsub_line),
    "content of pubsub": Decoder(
        _pubsub_content, lambda: [dagcbor.encode({**ANNOUNCEMENT.to_fields(), "peer": "abc"})]
    ),
    "pin of kubo": Decoder(
        _parse_pin, lambda: [json.dumps({"Cid": str(LINK), "Name": "a", "Type": "direct"}).encode()]
    ),
    "want": Decoder(
        wire_format.Want.from_bytes,
        lambda: [wire_format.Want((LINK,)).to_bytes(), dagcbor.encode({"want": [LINK], "after": 3})],
    ),
    "claim": Decoder(wire_format.parse_links, lambda: [dagcbor.encode([LINK, SWARM])]),
    "answer": Decoder(lambda data: wire_format.unpack(data, 8), lambda: [wire_format.pack([b"a", b"bc", bytes(500)])]),
    "block of an answer": Decoder(lambda data: wire_format.Block.read(Cid.of(DAG_CBOR, data), data), _messages),
    "beacon": Decoder(Beacon.from_bytes, lambda: [Beacon(bytes(8), ME.author, 4000, 3).to_bytes(ME)], 2),
    "question": Decoder(
        lambda data: rendezvous.open_question(rendezvous.public_key(bytes(32)), data),
        lambda: [rendezvous.seal_question(rendezvous.public_key(bytes(32)), rendezvous.Question(bytes(16)))],
        10,
    ),
    "open question": Decoder(
        _question_plain,
        lambda: [rendezvous.Question(bytes(16), record).to_bytes() for record in (b"", *_record_blocks()[:1])],
    ),
    "open answer": Decoder(
        _answer_plain,
        lambda: [rendezvous.Answer((b"a", b"bc")).to_bytes(), rendezvous.Answer(refusal="expired").to_bytes()],
    ),
    "invite code": Decoder(_text(invite_code.parse), _codes, 100),
    "content of a code": Decoder(_code_data, _codes_data, 4),
    "spoken code": Decoder(_text(spoken_code.SpokenCode.parse), lambda: [b"4-orbit-piano", b"12 Orbit PIANO"], 4),
    "sealed payload": Decoder(
        lambda data: open_payload(OneSecret(), AUTHOR, "state", data),
        lambda: [seal_payload((EPOCH, SECRET), AUTHOR, TIME, "state", b"{}")],
        4,
    ),
    "greeting of a spoken code": Decoder(_greeting, _greetings, 40),
    "answer to a spoken code": Decoder(_acceptance, lambda: [_offer().receive(_greetings()[0])], 40),
    "viewer key": Decoder(
        _text(ViewerKey.parse), lambda: [ViewerKey(SWARM, "a" * 26, {EPOCH: SECRET}).to_text().encode()]
    ),
    "block name": Decoder(
        _text(BlockName.parse),
        lambda: [str(LINK).encode(), b"bafkqaaa", b"QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG"],
    ),
    "http request": Decoder(_request, lambda: _HTTP),
    "http server": Decoder(_service, _requests, 10),
    "http answer": Decoder(_answer_of_server, lambda: _ANSWERS, 4),
    "url": Decoder(_text(without_secrets), lambda: [b"mqtts://ann:secret@broker.example:8883/a?b#c"]),
    "state of the monitor": Decoder(lambda data: parse_state(data, Seen("s", "p")), _state_of_monitor),
    "meeting place": Decoder(_text(check_meeting), lambda: [str(SWARM).encode(), b"a" * 26]),
    "senml json": Decoder(lambda data: senml.from_json(data, 1e9, []), lambda: [_SENML]),
    "senml cbor": Decoder(lambda data: senml.from_cbor(data, 1e9, []), lambda: [_PAYLOADS[-1]]),
    "senml lines": Decoder(_senml_lines, lambda: [_SENML, b'[{"n":"x","v":1}]\n[{"n":"x","v":2}]'], 4, 1 << 12),
    **{f"payload {name}": Decoder(_payload(name), lambda: _PAYLOADS, 2, 1 << 12) for name in FORMATS},
    "label of a payload": Decoder(as_text, lambda: [b"walk", b'"walk"', "gehen é".encode("utf-16")]),
    "serial bytes": Decoder(_serial_bytes, _serial_frames, 2, 1 << 13),
    "serial frame": Decoder(_serial_frame, _raw_frames),
    "serial stream": Decoder(_serial_stream, _raw_frames, 4, 1 << 13),
    "scale of a board": Decoder(_text(Scale.parse), lambda: [b"0.01", b"5.9855e-4", b"-1E3"]),
    "record of the bridge": Decoder(
        socket_records.from_bytes, lambda: [data[socket_records.PREFIX.size :] for data in _socket_records()]
    ),
    "stream of the bridge": Decoder(_splitter, lambda: [b"".join(_socket_records())]),
    "csv": Decoder(_table("t.csv"), lambda: [CSV, CSV.replace(b",", b";"), CSV.decode().encode("utf-16")], 20),
    "json lines": Decoder(_table("t.jsonl"), lambda: [_LINES], 20),
    "npz of parameters": Decoder(_parameters, _npz, 40),
    "npz": Decoder(_arrays("a.npz"), _npz, 40),
    "npy": Decoder(_arrays("a.npy"), _npy, 20),
    "keras configuration": Decoder(_keras, _keras_seeds, 4),
    "backup": Decoder(_backup, _backups, 400),
    "state": Decoder(PeerState.from_bytes, lambda: [_state()], 4),
    "header of a state": Decoder(_resealed(PeerState.from_bytes), _state_header, 40),
    "header of a version": Decoder(_resealed(Version.from_bytes), _version_header, 40),
    "contributions": Decoder(lambda data: ContributionBook.from_bytes(data, LIMITS), _books),
    "summaries": Decoder(lambda data: Released.from_bytes(data, LIMITS), _released),
    "standing": Decoder(
        lambda data: Standing.from_bytes(data, SWARM),
        lambda: [Standing().to_bytes(), Standing(bytes(32), 5, opened_at=3, releases=2, told=[bytes(32)]).to_bytes()],
    ),
    "status": Decoder(_status, lambda: [b'{"role": "agent", "swarm": "a"}'], 10),
    "results": Decoder(_results, lambda: [b'{"time": 1, "label": "a", "score": 0.5}\n'], 10),
}
if is_installed("pyarrow"):
    DECODERS |= {
        kind: Decoder(_table(f"t.{kind}"), lambda kind=kind: _arrow(kind), 40) for kind in ("parquet", "feather")
    }
if is_installed("zeroconf"):
    DECODERS["mdns"] = Decoder(_mdns, _mdns_texts, 4)
