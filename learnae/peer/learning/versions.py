"""Versions: consensus estimates that a peer keeps, and which it keeps. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learnae.errors import LearnaeError, StateError
from learnae.ipld import dagcbor
from learnae.ipld.cid import Cid
from learnae.ipld.fields import Fields
from learnae.protocol.bodies import Metrics
from learnae.protocol.identity import PUBLIC_KEY_BYTES
from learnae.system.sealed_arrays import DamagedArraysError, open_arrays, seal_arrays
from learnae.weights.codecs import Vector

BEST = "best"
PERSONAL = "personal"  # the model that serves this machine alone: it is no version to go on from
_FORMAT = 1
_MERGED = 64  # updates that are named: as many as a trainer follows
_MOST_HELD = 1024  # authors that are named
_OTHERS = bytes(PUBLIC_KEY_BYTES)  # in the place of those beyond that
_MINUTE_MS = 60_000


@dataclass(frozen=True, slots=True)
class Version:
    """A consensus estimate ``vector`` (count,), and what was known of it at ``time`` (Unix ms).

    ``metrics`` on the own held-out rows of then, None without any; ``steps`` of this peer; ``merged`` maps names of
    peers to the updates that the estimate is made of. ``held`` are all authors whose weights have gone into it, however
    long ago.
    """

    swarm: Cid
    time: int
    steps: int
    metrics: Metrics | None
    merged: Mapping[str, Cid]
    vector: Vector
    held: frozenset[bytes] = frozenset()

    def to_pieces(self) -> list[bytes | memoryview]:
        """Return a sealed archive, a dag-cbor header and the vector, in pieces: one is the vector's own memory."""
        header = {
            "v": _FORMAT,
            "swarm": self.swarm,
            "time": self.time,
            "steps": self.steps,
            "metrics": self.metrics.to_fields() if self.metrics else None,
            "held": pack_authors(self.held),
            "merged": [{"peer": name, "update": cid} for name, cid in list(self.merged.items())[:_MERGED]],
        }
        arrays: dict[str, NDArray[Any]] = {
            "header": np.frombuffer(dagcbor.encode(header), np.uint8),
            "vector": self.vector,
        }
        return seal_arrays(arrays)

    @classmethod
    def from_bytes(cls, data: bytes) -> Version:
        """Read what ``to_pieces`` gave; raises StateError for anything else."""
        try:
            arrays = open_arrays(data)
            fields = Fields(dagcbor.decode(arrays["header"].tobytes()), "version", StateError)
            fields.integer("v", _FORMAT, _FORMAT)
            merged = {item.text("peer"): item.link("update") for item in fields.maps("merged", _MERGED)}
            return cls(
                swarm=fields.link("swarm"),
                time=fields.integer("time"),
                steps=fields.integer("steps"),
                metrics=None if fields.value("metrics") is None else Metrics.from_fields(fields.fields("metrics")),
                merged=merged,
                vector=arrays["vector"].astype(np.float32),
                held=unpack_authors(fields.value("held")),
            )
        except (DamagedArraysError, ValueError, KeyError, LearnaeError) as error:
            raise StateError(f"a version is damaged: {error}", "delete it, and take another one") from error


@dataclass(frozen=True, slots=True)
class VersionPolicy:
    """How many of the ``last`` versions are kept, one every ``spacing`` ms, and ``older`` ones, each ``sparser`` times
    as far apart: a liar may be found out late. The best one is renewed no faster than every ``best_spacing`` ms:
    flash memory wears out.

    >>> policy = VersionPolicy(last=2, older=2, sparser=6)
    >>> sorted({f"v{number}" for number in range(30, 81)} - set(policy.superfluous([f"v{n}" for n in range(30, 81)])))
    ['v72', 'v78', 'v79', 'v80']
    """

    last: int = 5
    older: int = 3
    sparser: int = 6
    spacing: int = 10 * _MINUTE_MS
    best_spacing: int = 10_000

    def superfluous(self, names: Sequence[str]) -> list[str]:
        """Return the numbered ones among ``names`` that are too old."""
        numbered = sorted((name for name in names if number_of(name)), key=number_of)
        old, kept = numbered[: -self.last], set[str]()
        for power in range(1, 1 + self.older):
            spaced = [name for name in old if number_of(name) % self.sparser**power == 0 and name not in kept]
            kept.update(spaced[-1:])
        return [name for name in old if name not in kept]


def with_authors(held: frozenset[bytes], more: Iterable[bytes]) -> frozenset[bytes]:
    """Return ``held`` with ``more`` authors; beyond a bound it is only noted that there are others."""
    both = held.union(more)
    return both if len(both) <= _MOST_HELD else held | {_OTHERS}


def holds(held: frozenset[bytes], author: bytes) -> bool:
    """Return True if the author is among ``held``, or may be."""
    return author in held or _OTHERS in held


def pack_authors(held: frozenset[bytes]) -> bytes:
    """Return authors as one byte string."""
    return b"".join(sorted(held))


def unpack_authors(data: object) -> frozenset[bytes]:
    """Return what ``pack_authors`` was given; raises StateError."""
    size = PUBLIC_KEY_BYTES
    if not isinstance(data, bytes) or len(data) % size or len(data) > (_MOST_HELD + 1) * size:
        raise StateError(f"authors in {data!r:.60}", f"at most {_MOST_HELD} of {size} bytes")
    return frozenset(data[start : start + size] for start in range(0, len(data), size))


def is_better(found: Metrics | None, best: Metrics | None) -> bool:
    """Return True if ``found`` is better than ``best``: more accurate, or as accurate with less loss.

    >>> is_better(Metrics(0.2, 0.9, 50), Metrics(0.3, 0.9, 50)), is_better(Metrics(0.1, 0.8, 50), Metrics(0.3, 0.9, 50))
    (True, False)
    """
    if found is None or best is None:
        return found is not None
    return (found.accuracy or 0.0, -found.loss) > (best.accuracy or 0.0, -best.loss)


def number_of(name: str) -> int:
    """Return the number in the name of a version such as ``v12``; 0 for another name."""
    digits = name[1:]
    return int(digits) if name.startswith("v") and digits.isascii() and digits.isdigit() and len(digits) < 10 else 0
