"""What members say to sum vectors that nobody sees alone: three kinds of bodies (docs/protocol.md, Masked sums)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from learnae.ipld.fields import Fields
from learnae.protocol.identity import PUBLIC_KEY_BYTES
from learnae.protocol.limits import Limits

LEAST_MEMBERS, MOST_MEMBERS = 5, 16
MOST_VALUES = 16_000  # of a vector, so that it fits into a message
VALUE_BYTES = 4
SUM_KEY_BYTES = SEED_BYTES = NAME_BYTES = 32


@dataclass(frozen=True, slots=True)
class MaskReady:
    """The author would add a vector of so many ``values``; ``key`` is an X25519 key for this one sum.

    ``bound`` are the authors of the sum that it has opened and that others have not; empty without one.
    """

    KIND: ClassVar = "mask-ready"

    key: bytes
    values: int
    bound: tuple[bytes, ...] = ()

    def to_fields(self) -> dict[str, Any]:
        """Return the map that goes into the message."""
        return {"kind": self.KIND, "key": self.key, "values": self.values, "bound": b"".join(self.bound)}

    @classmethod
    def from_fields(cls, fields: Fields, limits: Limits) -> MaskReady:
        """Read and bound what a peer wrote."""
        return cls(
            fields.octets("key", SUM_KEY_BYTES),
            fields.integer("values", 1, MOST_VALUES),
            _authors(fields, "bound", least=0),
        )


@dataclass(frozen=True, slots=True)
class MaskedVector:
    """The author's vector under masks, for the sum of these ``authors`` (ascending) with these ``keys``, one each.

    ``vector`` holds integers mod 2^32, four bytes each, little-endian.
    """

    KIND: ClassVar = "masked"

    authors: tuple[bytes, ...]
    keys: tuple[bytes, ...]
    vector: bytes

    def to_fields(self) -> dict[str, Any]:
        """Return the map that goes into the message."""
        authors, keys = b"".join(self.authors), b"".join(self.keys)
        return {"kind": self.KIND, "authors": authors, "keys": keys, "vector": self.vector}

    @classmethod
    def from_fields(cls, fields: Fields, limits: Limits) -> MaskedVector:
        """Read and bound what a peer wrote."""
        authors = _authors(fields, "authors", LEAST_MEMBERS)
        keys, vector = fields.octets("keys", SUM_KEY_BYTES * len(authors)), fields.value("vector")
        if (
            not isinstance(vector, bytes)
            or len(vector) % VALUE_BYTES
            or not 0 < len(vector) <= VALUE_BYTES * MOST_VALUES
        ):
            raise fields.error("vector", _size(vector), f"1 to {MOST_VALUES} values of {VALUE_BYTES} bytes")
        split = _split(keys, SUM_KEY_BYTES)
        if len(set(split)) != len(split):
            raise fields.error("keys", "a key twice", "one key for each author")
        return cls(authors, split, vector)


@dataclass(frozen=True, slots=True)
class MaskOpen:
    """The author's own mask of the sum with this ``name``: with those of all others the total is seen."""

    KIND: ClassVar = "mask-open"

    name: bytes
    seed: bytes

    def to_fields(self) -> dict[str, Any]:
        """Return the map that goes into the message."""
        return {"kind": self.KIND, "name": self.name, "seed": self.seed}

    @classmethod
    def from_fields(cls, fields: Fields, limits: Limits) -> MaskOpen:
        """Read and bound what a peer wrote."""
        return cls(fields.octets("name", NAME_BYTES), fields.octets("seed", SEED_BYTES))


SumBody = MaskReady | MaskedVector | MaskOpen
SUM_KINDS: dict[str, type[SumBody]] = {kind.KIND: kind for kind in (MaskReady, MaskedVector, MaskOpen)}


def _authors(fields: Fields, name: str, least: int) -> tuple[bytes, ...]:
    """Read keys of authors, one after another: none, or so many as can sum, ascending."""
    value = fields.value(name)
    found = _split(value, PUBLIC_KEY_BYTES) if isinstance(value, bytes) else ()
    fits = isinstance(value, bytes) and len(value) == PUBLIC_KEY_BYTES * len(found)
    if not fits or len(found) not in {*range(LEAST_MEMBERS, MOST_MEMBERS + 1), least}:
        raise fields.error(name, _size(value), f"{LEAST_MEMBERS} to {MOST_MEMBERS} keys of {PUBLIC_KEY_BYTES} bytes")
    if list(found) != sorted(set(found)):
        raise fields.error(name, "keys out of order", "ascending keys, none twice")
    return found


def _split(data: bytes, size: int) -> tuple[bytes, ...]:
    return tuple(data[start : start + size] for start in range(0, len(data) - size + 1, size))


def _size(value: object) -> str:
    return f"{len(value)} bytes" if isinstance(value, bytes) else type(value).__name__
