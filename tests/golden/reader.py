"""A second reader of the protocol, from docs/protocol.md alone: it shares no code with the library.

What another language needs is here: names, strict dag-cbor, signatures on the bytes as they came, announcements and
frames. It refuses by ValueError. What needs the rest of the tangle is not here.
"""

import base64
import hashlib
import math
import struct
from typing import Any

import cbor2
import numpy as np
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

CONTEXT = b"learnae/message/1"
LARGEST = {"block": 1 << 20, "message": 1 << 16, "announcement": 1 << 13, "seq": 1 << 53, "weight": 1e6}
BLOCK_VALUES = 261_120
GROUP = 256
ROLES = {"agent", "trainer"}


def need(condition: object, what: str) -> None:
    if not condition:
        raise ValueError(what)


# -- names and dag-cbor


def name_of(data: bytes, codec: int = 0x71) -> str:
    """Return the text of the CIDv1 of a block: sha2-256, base32 in lower case."""
    return text_of(bytes([1, codec, 0x12, 0x20]) + hashlib.sha256(data).digest())


def text_of(cid: bytes) -> str:
    return "b" + base64.b32encode(cid).decode().rstrip("=").lower()


def bytes_of(text: str) -> bytes:
    """Return the 36 bytes of a name."""
    need(len(text) == 59 and text[0] == "b" and text == text.lower(), "not a name")
    cid = base64.b32decode(text[1:].upper() + "======")
    need(cid[:1] == b"\x01" and cid[1] in (0x55, 0x71) and cid[2:4] == b"\x12\x20", "not a name of this protocol")
    need(text_of(cid) == text, "not a name")
    return cid


def decode(data: bytes, limit: int) -> Any:
    """Decode strict dag-cbor; links come as {"/": text}, bytes stay bytes."""
    need(len(data) <= limit, "too long")
    try:
        tree = cbor2.loads(data)
    except Exception as error:
        raise ValueError("not CBOR") from error
    need(encode(tree) == data, "not canonical")
    return links_in(tree)


def encode(value: Any) -> bytes:  # noqa: PLR0911 - one a type
    """Encode as strict dag-cbor does: one form for each value. Floats are always 64 bits long."""
    if value is None or isinstance(value, bool):
        return {None: b"\xf6", False: b"\xf4", True: b"\xf5"}[value]
    if isinstance(value, int):
        need(-(2**63) <= value < 2**63, "an integer of more than 64 bits")
        return head(0, value) if value >= 0 else head(1, -1 - value)
    if isinstance(value, float):
        need(math.isfinite(value), "no finite number")
        return struct.pack(">Bd", 0xFB, value)
    if isinstance(value, bytes):
        return head(2, len(value)) + value
    if isinstance(value, str):
        return head(3, len(value.encode())) + value.encode()
    if isinstance(value, list):
        return head(4, len(value)) + b"".join(map(encode, value))
    if isinstance(value, dict):
        need(all(isinstance(key, str) for key in value), "keys are text")
        items = sorted(value.items(), key=lambda item: (len(item[0].encode()), item[0].encode()))
        return head(5, len(items)) + b"".join(encode(key) + encode(item) for key, item in items)
    need(isinstance(value, cbor2.CBORTag) and value.tag == 42, "no such thing in dag-cbor")
    need(isinstance(value.value, bytes) and value.value[:1] == b"\x00", "no link")
    bytes_of(text_of(value.value[1:]))
    return b"\xd8\x2a" + encode(value.value)


def head(major: int, number: int) -> bytes:
    if number < 24:
        return bytes([major << 5 | number])
    size = next(size for size in range(4) if number < 1 << (8 << size))
    return bytes([major << 5 | 24 + size]) + number.to_bytes(1 << size, "big")


def links_in(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: links_in(item) for key, item in value.items()}
    if isinstance(value, list):
        return [links_in(item) for item in value]
    return {"/": text_of(value.value[1:])} if isinstance(value, cbor2.CBORTag) else value


def dag_json(value: Any) -> Any:
    """Return what was decoded with its bytes as DAG-JSON says them, to compare it with the vectors."""
    if isinstance(value, dict):
        return {key: dag_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [dag_json(item) for item in value]
    return {"/": {"bytes": base64.b64encode(value).decode().rstrip("=")}} if isinstance(value, bytes) else value


# -- fields


def whole(value: Any, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def link(value: Any) -> bool:
    return isinstance(value, dict) and list(value) == ["/"]


def links(value: Any, most: int) -> bool:
    names = [item["/"] for item in value if link(item)] if isinstance(value, list) else None
    return names is not None and len(names) == len(value) == len(set(names)) <= most


def octets(value: Any, length: int) -> bool:
    return isinstance(value, bytes) and len(value) == length


# -- messages


def read_message(data: bytes, swarm: str) -> dict[str, Any]:
    """Read and verify a message of ``swarm``; the signature on the bytes as they came, before they are decoded."""
    need(len(data) <= LARGEST["message"], "too long")
    by, signature, signed = envelope(data)
    try:
        Ed25519PublicKey.from_public_bytes(by).verify(signature, CONTEXT + signed)
    except InvalidSignature as error:
        raise ValueError("not signed by its author") from error
    fields = decode(data, LARGEST["message"])
    missing = {"swarm", "time", "blocks", "forked", "parents", "checkpoint", "body"} - set(fields)
    need(not missing, f"without {missing}")
    need(fields["v"] == 1 and fields["swarm"] == {"/": swarm}, "of another version or swarm")
    need(whole(fields["seq"], 0, LARGEST["seq"]) and whole(fields["time"], 0, LARGEST["seq"]), "seq or time")
    need(isinstance(fields["checkpoint"], bool) and whole(fields["forked"], 0, fields["seq"]), "checkpoint or forked")
    need(links(fields["parents"], 3) and links(fields["blocks"], 1024), "parents or blocks")
    need(fields["parents"] if fields["seq"] else fields["checkpoint"], "no past, and no checkpoint that needs none")
    check_body(fields["body"])
    return fields


def envelope(data: bytes) -> tuple[bytes, bytes, bytes]:
    """Return author, signature, and what was signed: the bytes without ``sig``, with one field less in the head."""
    need(len(data) > 46 and 0xA1 <= data[0] <= 0xB7 and data[1:9] == b"\x61v\x01\x62by\x58\x20", "no message")
    need(data[41:45] == b"\x63seq" and data[45] < 0x1C, "no message")
    start = 46 + (0 if data[45] < 24 else 1 << (data[45] - 24))
    end = start + 6 + 64
    need(data[start : start + 6] == b"\x63sig\x58\x40" and len(data) >= end, "no message")
    return data[9:41], data[start + 6 : end], bytes([data[0] - 1]) + data[1:start] + data[end:]


def check_body(body: Any) -> None:
    """Refuse a body of a known kind with wrong fields; of those only what the vectors refuse."""
    if isinstance(body, bytes):
        return
    need(isinstance(body, dict) and isinstance(body.get("kind"), str), "body without a kind")
    if body["kind"] in ("join", "update", "summary") and (body["kind"] == "join" or body["peer"] is not None):
        peer = body.get("peer")
        need(isinstance(peer, dict) and set(peer) >= {"name", "role", "software"}, "no peer")
        need(peer["role"] in ROLES, "role")
    if body["kind"] == "evidence":
        need(octets(body.get("author"), 32) and link(body.get("first")) and link(body.get("second")), "evidence")
        need(body["first"] != body["second"], "evidence of one message")


# -- sealed bytes


def open_sealed(secrets: dict[bytes, bytes], author: bytes, seq: int, index: int, data: bytes) -> bytes:
    """Return what was sealed: 0 is the index of a message's body, 1 that of the first block of its frame."""
    need(len(data) >= 104 and len(data) % 64 == 40, "size of sealed bytes")
    name, salt, rest = data[:8], data[8:24], data[24:]
    need(name in secrets, "another epoch")
    place = salt + author + struct.pack(">QI", seq, index)
    key = HKDF(SHA256(), 32, None, b"learnae/seal/1" + place).derive(secrets[name])
    try:
        padded = ChaCha20Poly1305(key).decrypt(bytes(12), rest, name + place)
    except InvalidTag as error:
        raise ValueError("does not open") from error
    end = 4 + int.from_bytes(padded[:4], "big")
    need(0 <= len(padded) - end < 64 and not any(padded[end:]), "padding")
    return padded[4:end]


# -- announcements


def read_announcement(data: bytes) -> dict[str, Any]:
    """Read an announcement: ``kept``, and ``authors``, whose rows are (author, seq, head, checkpoint or null)."""
    fields = decode(data, LARGEST["announcement"])
    need(isinstance(fields, dict) and whole(fields.get("v"), 1, 1) and links(fields.get("kept"), 16), "no announcement")
    rows = fields.get("authors")
    need(isinstance(rows, list) and len(rows) <= 64, "authors")
    for row in rows:
        need(isinstance(row, list) and len(row) == 4 and octets(row[0], 8), "entry")
        need(whole(row[1], 0, LARGEST["seq"]), "seq")
        need(link(row[2]) and (row[3] is None or link(row[3])), "entry")
    return fields


# -- frames


def read_frame(frame: dict[str, Any], replica: np.ndarray | None, count: int) -> np.ndarray:
    """Return the new replica of ``count`` float32; ``replica`` is the one that a delta stands on."""
    size, values = CODECS.get(frame["codec"], (None, None))
    need(size and values and frame["count"] == count, "codec or count")
    blocks = [bytes.fromhex(block) for block in frame["blocks"]]
    parts = [min(BLOCK_VALUES, count - start) for start in range(0, count, BLOCK_VALUES)]
    need([len(block) for block in blocks] == [size(part) for part in parts], "size of the blocks")
    result = np.concatenate([values(block, part) for block, part in zip(blocks, parts, strict=True)])
    if frame["type"] == "delta":
        need(replica is not None, "a delta on nothing")
        result = result + replica
    need(result.dtype == np.float32 and np.isfinite(result).all() and abs(result).max() <= LARGEST["weight"], "values")
    return result


def q8(block: bytes, count: int) -> np.ndarray:
    return grouped(np.frombuffer(block[4 * -(-count // GROUP) :], "i1").tolist(), block, count)


def scales_of(block: bytes, count: int) -> np.ndarray:
    found = np.frombuffer(block, "<f4", count)
    need(all(not word or 27 << 23 <= word < 255 << 23 for word in np.frombuffer(block, "<u4", count).tolist()), "scale")
    return found


def grouped(steps: list[int], block: bytes, count: int) -> np.ndarray:
    return np.repeat(scales_of(block, -(-count // GROUP)), GROUP)[:count] * np.array(steps[:count], np.float32)


def q4(block: bytes, count: int) -> np.ndarray:
    halves = [half for byte in block[4 * -(-count // GROUP) :] for half in (byte % 16, byte // 16)]
    need(8 not in halves and not any(halves[count:]), "step")
    return grouped([half - 16 * (half > 8) for half in halves], block, count)


def ternary(block: bytes, count: int) -> np.ndarray:
    packed = block[4 * -(-count // GROUP) :]
    need(max(packed) < 243, "byte")
    steps = [byte // 3**place % 3 - 1 for byte in packed for place in range(5)]
    need(all(step == -1 for step in steps[count:]), "rest")
    return grouped(steps, block, count)


def bits_of(block: bytes) -> list[int]:
    return [byte >> place & 1 for byte in block for place in range(7, -1, -1)]


def sign(block: bytes, count: int) -> np.ndarray:
    bits = bits_of(block[4 * -(-count // GROUP) :])
    need(not any(bits[count:]), "rest")
    return grouped([1 - 2 * bit for bit in bits], block, count)


def top10_size(count: int) -> int:
    kept = -(-count // 10)
    return 8 * -(-kept // GROUP) + -(-(6 * kept + (count - 1) // 8) // 8)


def top10(block: bytes, count: int) -> np.ndarray:
    kept = -(-count // 10)
    scales, bits = scales_of(block, 2 * -(-kept // GROUP)), bits_of(block[8 * -(-kept // GROUP) :])
    high, rest = bits[: kept + (count - 1) // 8], bits[kept + (count - 1) // 8 :]
    need(sum(high) == kept and not any(rest[5 * kept :]), "places")
    ones = [place for place, bit in enumerate(high) if bit]
    low = [4 * rest[i] + 2 * rest[kept + i] + rest[2 * kept + i] for i in range(kept)]
    places = [8 * (ones[i] - i) + low[i] for i in range(kept)]
    need(places == sorted(set(places)) and places[-1] < count, "places")
    result = np.zeros(count, np.float32)
    for i, place in enumerate(places):
        result[place] = scales[i // GROUP * 2 + rest[4 * kept + i]] * (1 - 2 * rest[3 * kept + i])
    return result


CODECS: dict[str, Any] = {
    "f32": (lambda n: 4 * n, lambda block, n: np.frombuffer(block, "<f4", n).astype(np.float32)),
    "f16": (lambda n: 2 * n, lambda block, n: np.frombuffer(block, "<f2", n).astype(np.float32)),
    "q8": (lambda n: 4 * -(-n // GROUP) + n, q8),
    "q4": (lambda n: 4 * -(-n // GROUP) + -(-n // 2), q4),
    "ternary": (lambda n: 4 * -(-n // GROUP) + -(-n // 5), ternary),
    "sign": (lambda n: 4 * -(-n // GROUP) + -(-n // 8), sign),
    "top10": (top10_size, top10),
}
