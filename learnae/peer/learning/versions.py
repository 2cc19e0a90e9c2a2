"""Versions: consensus estimates that a peer keeps, and which it keeps. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learnae.errors import LearnaeError, StateError
from learnae.ipld import dagcbor
from learnae.ipld.cid import Cid
from learnae.ipld.fields import Fields
from learnae.protocol.bodies import Metrics
from learnae.system.npz import DamagedArchiveError, open_sealed, sealed_archive
from learnae.weights.codecs import Vector

BEST = "best"
PERSONAL = "personal"  # the model that serves this machine alone: it is no version to go on from
_FORMAT = 1
_MERGED = 64  # updates that are named: as many as a trainer follows
_MINUTE_MS = 60_000


@dataclass(frozen=True, slots=True)
class Version:
    """A consensus estimate ``vector`` (count,), and what was known of it at ``time`` (Unix ms).

    ``metrics`` on the own held-out rows of then, None without any; ``steps`` of this peer; ``merged`` maps names of
    peers to the updates that the estimate is made of.
    """

    swarm: Cid
    time: int
    steps: int
    metrics: Metrics | None
    merged: Mapping[str, Cid]
    vector: Vector

    def to_bytes(self) -> bytes:
        """Return a sealed archive: a dag-cbor header and the vector."""
        header = {
            "v": _FORMAT,
            "swarm": self.swarm,
            "time": self.time,
            "steps": self.steps,
            "metrics": self.metrics.to_fields() if self.metrics else None,
            "merged": [{"peer": name, "update": cid} for name, cid in list(self.merged.items())[:_MERGED]],
        }
        arrays: dict[str, NDArray[Any]] = {
            "header": np.frombuffer(dagcbor.encode(header), np.uint8),
            "vector": self.vector,
        }
        return sealed_archive(arrays)

    @classmethod
    def from_bytes(cls, data: bytes) -> Version:
        """Read what ``to_bytes`` wrote; raises StateError for anything else."""
        try:
            arrays = open_sealed(data)
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
            )
        except (DamagedArchiveError, ValueError, KeyError, LearnaeError) as error:
            raise StateError(f"a version is damaged: {error}", "delete it, and take another one") from error


@dataclass(frozen=True, slots=True)
class VersionPolicy:
    """How many of the ``last`` versions are kept, one every ``spacing`` ms; the best one is renewed no faster than
    every ``best_spacing`` ms: flash memory wears out.
    """

    last: int = 5
    spacing: int = 10 * _MINUTE_MS
    best_spacing: int = 10_000

    def superfluous(self, names: Sequence[str]) -> list[str]:
        """Return the numbered ones among ``names`` that are too old."""
        numbered = sorted((name for name in names if number_of(name)), key=number_of)
        return numbered[: -self.last]


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
