"""What a member must not forget of masked sums: its keys, what it has drawn, and what it has told. Durable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from learnae.errors import StateError
from learnae.ipld import dagcbor
from learnae.ipld.cid import Cid
from learnae.ipld.fields import Fields
from learnae.privacy.masking.masks import Group
from learnae.privacy.masking.noise_share import Integers
from learnae.protocol.identity import PUBLIC_KEY_BYTES
from learnae.protocol.limits import MAX_SEQ
from learnae.protocol.sum_bodies import (
    MOST_MEMBERS,
    MOST_VALUES,
    NAME_BYTES,
    SEED_BYTES,
    SUM_KEY_BYTES,
    VALUE_BYTES,
    MaskedVector,
)

MOST_TOTALS = 4  # the newest
MOST_TOLD = 64  # names of sums that were opened
_INT32 = np.dtype("<i4")


@dataclass(slots=True)
class Answer:
    """A vector (``addend``) that this member has masked for a sum, ``at`` Unix ms; when it was ``said``, 0 for never.

    ``seed`` is secret until the sum is opened; ``shown`` is when it was told, 0 for never.
    """

    group: Group
    seed: bytes
    addend: Integers
    vector: bytes
    at: int
    said: int = 0
    shown: int = 0

    @property
    def body(self) -> MaskedVector:
        """Return what the message says: always the same."""
        return MaskedVector(self.group.authors, self.group.keys, self.vector)


@dataclass(frozen=True, slots=True)
class Total:
    """What ``authors`` have summed: integers (values,), known since ``time`` (Unix milliseconds)."""

    name: bytes
    authors: tuple[bytes, ...]
    time: int
    values: Integers


@dataclass(slots=True)
class Standing:
    """Where a member stands. ``private`` is the X25519 key of its next sum, empty without one; ``ready`` when it was
    said, 0 for never.

    ``answers`` wait for the vectors of others. ``opened`` is the sum that it has told its seed of, ``opened_at`` Unix
    ms, and whose vector is out thus; ``is_first`` if that vector was opened in no other sum; ``is_done`` once the total
    is known. ``releases`` counts vectors that are out, ``failures`` sums in a row that came to nothing, ``pause`` is
    until when it waits after these; ``told`` names all that it has opened.
    """

    private: bytes = b""
    ready: int = 0
    answers: list[Answer] = field(default_factory=list)
    opened: Answer | None = None
    opened_at: int = 0
    is_first: bool = False
    is_done: bool = False
    releases: int = 0
    tries: int = 0
    failures: int = 0
    pause: int = 0
    told: list[bytes] = field(default_factory=list)
    totals: list[Total] = field(default_factory=list)

    def to_bytes(self) -> bytes:
        """Return what ``from_bytes`` reads; it holds secrets."""
        fields: dict[str, Any] = {name: getattr(self, name) for name in (*_COUNTS, "private", "is_first", "is_done")}
        return dagcbor.encode(
            {
                **fields,
                "answers": [_answer_fields(answer) for answer in self.answers],
                "opened": [_answer_fields(self.opened)] if self.opened else [],
                "told": b"".join(self.told),
                "totals": [
                    {
                        "name": each.name,
                        "authors": b"".join(each.authors),
                        "time": each.time,
                        "values": _packed(each.values),
                    }
                    for each in self.totals
                ],
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes, swarm: Cid) -> Standing:
        """Read what ``to_bytes`` wrote; raises StateError."""
        fields = Fields(dagcbor.decode(data, _MOST_BYTES), "sums", StateError)
        opened = [_answer(each, swarm) for each in fields.maps("opened", 1)]
        counts: dict[str, int] = {name: fields.integer(name, 0, MAX_SEQ) for name in _COUNTS}
        return cls(
            private=_octets(fields, "private", SUM_KEY_BYTES, 1),
            answers=[_answer(each, swarm) for each in fields.maps("answers", MOST_TOTALS)],
            opened=opened[0] if opened else None,
            is_first=fields.boolean("is_first"),
            is_done=fields.boolean("is_done"),
            told=_split(_octets(fields, "told", NAME_BYTES, MOST_TOLD), NAME_BYTES),
            totals=[_total(each) for each in fields.maps("totals", MOST_TOTALS)],
            **counts,
        )


_COUNTS = ("ready", "opened_at", "releases", "tries", "failures", "pause")
_MOST_BYTES = 1 << 21


def _answer_fields(answer: Answer) -> dict[str, Any]:
    group = answer.group
    return {
        "authors": b"".join(group.authors),
        "keys": b"".join(group.keys),
        "seed": answer.seed,
        "addend": _packed(answer.addend),
        "vector": answer.vector,
        "at": answer.at,
        "said": answer.said,
        "shown": answer.shown,
    }


def _answer(fields: Fields, swarm: Cid) -> Answer:
    addend = _unpacked(fields, "addend")
    authors = _split(_octets(fields, "authors", PUBLIC_KEY_BYTES, MOST_MEMBERS), PUBLIC_KEY_BYTES)
    keys = _split(_octets(fields, "keys", SUM_KEY_BYTES, MOST_MEMBERS), SUM_KEY_BYTES)
    return Answer(
        group=Group(swarm, len(addend), tuple(authors), tuple(keys)),
        seed=fields.octets("seed", SEED_BYTES),
        addend=addend,
        vector=fields.octets("vector", VALUE_BYTES * len(addend)),
        at=fields.integer("at", 0, MAX_SEQ),
        said=fields.integer("said", 0, MAX_SEQ),
        shown=fields.integer("shown", 0, MAX_SEQ),
    )


def _total(fields: Fields) -> Total:
    return Total(
        fields.octets("name", NAME_BYTES),
        tuple(_split(_octets(fields, "authors", PUBLIC_KEY_BYTES, MOST_MEMBERS), PUBLIC_KEY_BYTES)),
        fields.integer("time", 0, MAX_SEQ),
        _unpacked(fields, "values"),
    )


def _packed(values: Integers) -> bytes:
    return values.astype(_INT32).tobytes()


def _unpacked(fields: Fields, name: str) -> Integers:
    return np.frombuffer(_octets(fields, name, VALUE_BYTES, MOST_VALUES), _INT32).astype(np.int64)


def _octets(fields: Fields, name: str, size: int, most: int) -> bytes:
    value = fields.value(name)
    if not isinstance(value, bytes) or len(value) % size or len(value) > size * most:
        raise fields.error(name, type(value).__name__, f"at most {most} times {size} bytes")
    return value


def _split(data: Sequence[int] | bytes, size: int) -> list[bytes]:
    return [bytes(data[start : start + size]) for start in range(0, len(data), size)]
