"""Changes good bytes into bad ones: at random, the same ones for the same seed.

Half of the changes are to the bytes: bits, numbers and lengths, pieces repeated, moved, or of another input. The others
are to what they mean, where that is dag-cbor or JSON: a value replaced, dropped, doubled or nested, and written anew in
due form. Only those get past a decoder that checks the form first.
"""

import json
import random
from collections.abc import Callable, Sequence
from typing import Any

from learnae.errors import LearnaeError
from learnae.ipld import dagcbor
from learnae.ipld.cid import DAG_CBOR, RAW, Cid

_EDGES = (0, 1, 2, 7, 0x1F, 0x20, 0x7F, 0x80, 0xFF)
_LENGTHS = (0, 1, 0xFFFF, 0x10000, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 40, 2**53, 2**63 - 1, 2**64 - 1)
_TEXTS = (
    "",
    "a",
    "\x00",
    "\n",
    "é",
    "\u202e",
    "a\u0301" * 3,
    "x" * 65,
    "9" * 5000,
    "1e400",
    "nan",
    "-",
    "../a",
    "%s{}",
)
_VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 255, 256, 65535, 65536, 2**31, 2**53, 2**53 + 1, 2**63 - 1, -(2**63),
    0.0, -0.0, 1.5, -1e-300, 1e300, 1.0, b"", b"\0", bytes(32), bytes(64), b"\xff" * 32, bytes(8), b"\xff" * 300,
    *_TEXTS,
    [], [0], [[]], ["a"] * 70, [0] * 300, {}, {"": 0}, {"a": {}}, {"kind": "update"}, {"kind": "x"},
    Cid.of(DAG_CBOR, b"a"), Cid.of(RAW, b"a"), [Cid.of(DAG_CBOR, b"%d" % number) for number in range(5)],
)  # fmt: skip


class Mutator:
    """Makes inputs of ``seeds``, by ``rng``."""

    def __init__(self, seeds: Sequence[bytes], rng: random.Random, most_bytes: int) -> None:
        self._rng = rng
        self._most = most_bytes
        self._seeds = [seed[:most_bytes] for seed in seeds] or [b""]
        self._trees: dict[bytes, Any] = {}

    def next(self) -> bytes:
        """Return the next input."""
        rng, data = self._rng, self._rng.choice(self._seeds)
        if rng.random() < 0.5 and (changed := self._changed_tree(data)) is not None:
            data = changed
            if rng.random() < 0.9:
                return data[: self._most]
        for _ in range(rng.choice((1, 1, 1, 2, 4, 8))):
            data = rng.choice(_CHANGES)(rng, data, rng.choice(self._seeds))
        return data[: self._most]

    def _changed_tree(self, data: bytes) -> bytes | None:
        if data not in self._trees:
            self._trees[data] = _read(data)
        found = self._trees[data]
        if found is None:
            return None
        write, tree = found
        for _ in range(self._rng.choice((1, 1, 1, 2, 3))):
            tree = _changed(self._rng, tree)
        try:
            written: bytes = write(tree)
        except (LearnaeError, TypeError, ValueError, RecursionError):  # a change that has no form
            return None
        return written


def _read(data: bytes) -> tuple[Callable[[Any], bytes], Any] | None:
    try:
        return dagcbor.encode, dagcbor.decode(data)
    except LearnaeError:
        pass
    try:
        return _json, json.loads(data)
    except (ValueError, RecursionError):
        return None


def _json(tree: Any) -> bytes:
    return json.dumps(tree, default=str).encode()


def _changed(rng: random.Random, tree: Any) -> Any:
    """Return ``tree`` with one value of it, or the place of one, changed."""
    if isinstance(tree, dict) and tree and rng.random() < 0.9:
        return _changed_map(rng, tree)
    if isinstance(tree, list) and tree and rng.random() < 0.9:
        return _changed_list(rng, tree)
    return _other_value(rng, tree)


def _changed_map(rng: random.Random, tree: dict[str, Any]) -> dict[str, Any]:
    key, kind = rng.choice(list(tree)), rng.random()
    if kind < 0.05:
        return {name: value for name, value in tree.items() if name != key}
    if kind < 0.1:
        return {**tree, rng.choice(("", "v", "kind", "later", key + "x")): rng.choice(_VALUES)}
    return {**tree, key: _changed(rng, tree[key])}


def _changed_list(rng: random.Random, tree: list[Any]) -> list[Any]:
    place, kind = rng.randrange(len(tree)), rng.random()
    if kind < 0.1:
        return tree[:place] + tree[place + 1 :]
    if kind < 0.2:
        return tree[: place + 1] * rng.choice((2, 2, 3, 40)) + tree[place + 1 :]
    if kind < 0.25:
        return rng.sample(tree, len(tree))
    return [*tree[:place], _changed(rng, tree[place]), *tree[place + 1 :]]


def _other_value(rng: random.Random, value: Any) -> Any:
    kind = rng.random()
    if kind < 0.1:
        for _ in range(rng.choice((1, 3, 31, 40, 300, 900))):
            value = [value] if rng.random() < 0.5 else {"a": value}
        return value
    if kind < 0.5 and isinstance(value, bytes) and value:
        return rng.choice(_CHANGES)(rng, value, value)
    if kind < 0.5 and isinstance(value, str) and value:
        place = rng.randrange(len(value))
        return value[:place] + rng.choice((*_TEXTS, value)) + value[place + rng.randrange(2) :]
    if kind < 0.5 and isinstance(value, (int, float)) and not isinstance(value, bool):
        return rng.choice((value + 1, value - 1, -value, value * 2, float(value) if abs(value) < 2**60 else 0.5))
    return rng.choice(_VALUES)


def _flip(rng: random.Random, data: bytes, _: bytes) -> bytes:
    if not data:
        return b"\0"
    changed = bytearray(data)
    changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _edge(rng: random.Random, data: bytes, _: bytes) -> bytes:
    place = rng.randrange(len(data) + 1)
    return data[:place] + bytes((rng.choice(_EDGES),)) + data[place + 1 :]


def _noise(rng: random.Random, data: bytes, _: bytes) -> bytes:
    place = rng.randrange(len(data) + 1)
    piece = rng.randbytes(rng.choice((1, 2, 4, 8, 64)))
    return data[:place] + piece + data[place + rng.choice((0, len(piece))) :]


def _inflate(rng: random.Random, data: bytes, _: bytes) -> bytes:
    """Write a length that is not true: of 1, 2, 4 or 8 bytes, in either order, as a varint or in decimal digits."""
    number, size, place = rng.choice(_LENGTHS), rng.choice((1, 2, 4, 8)), rng.randrange(len(data) + 1)
    if rng.random() < 0.2:
        piece = str(number).encode()
    else:
        piece = (number % (1 << 8 * size)).to_bytes(size, rng.choice(("big", "little")))
    return data[:place] + piece + data[place + len(piece) :]


def _cut(rng: random.Random, data: bytes, _: bytes) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _drop(rng: random.Random, data: bytes, _: bytes) -> bytes:
    begin, end = sorted((rng.randrange(len(data) + 1), rng.randrange(len(data) + 1)))
    return data[:begin] + data[end:]


def _splice(rng: random.Random, data: bytes, other: bytes) -> bytes:
    begin, end = sorted((rng.randrange(len(other) + 1), rng.randrange(len(other) + 1)))
    place = rng.randrange(len(data) + 1)
    return data[:place] + other[begin:end] + data[rng.choice((place, rng.randrange(len(data) + 1))) :]


def _repeat(rng: random.Random, data: bytes, _: bytes) -> bytes:
    begin = rng.randrange(len(data) + 1)
    piece = data[begin : begin + rng.choice((1, 2, 8, 100))]
    return data[:begin] + piece * rng.choice((2, 3, 50, 2000)) + data[begin:]


_CHANGES = (_flip, _flip, _edge, _noise, _inflate, _cut, _drop, _splice, _repeat)
