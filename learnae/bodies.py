"""What a message says: its body, one frozen dataclass per kind."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from learnae.cid import Cid
from learnae.errors import MessageError
from learnae.fields import Fields
from learnae.identity import PUBLIC_KEY_BYTES
from learnae.limits import Limits

ROLES = ("agent", "trainer")
KEY, DELTA = "key", "delta"
_LARGEST = 1e15  # of a loss


@dataclass(frozen=True, slots=True)
class Join:
    """A peer introduces itself."""

    name: str
    role: str
    software: str

    def to_fields(self) -> dict[str, Any]:
        """The map that goes into the message."""
        return {"kind": "join", "name": self.name, "role": self.role, "software": self.software}

    @classmethod
    def from_fields(cls, fields: Fields, limits: Limits) -> Join:
        """Read and bound what a peer wrote."""
        return cls(fields.text("name"), fields.choice("role", ROLES), fields.text("software"))


@dataclass(frozen=True, slots=True)
class FrameHeader:
    """How to decode a frame: ``count`` float32 values; a delta stands on the update ``base``."""

    kind: str
    codec: str
    count: int
    base: Cid | None

    def to_fields(self) -> dict[str, Any]:
        """The map that goes into the message."""
        return {"type": self.kind, "codec": self.codec, "count": self.count, "base": self.base}

    @classmethod
    def from_fields(cls, fields: Fields) -> FrameHeader:
        """Read and bound what a peer wrote."""
        kind = fields.choice("type", (KEY, DELTA))
        base = fields.optional_link("base")
        if (kind == DELTA) != (base is not None):
            raise fields.error("base", base, "a link for a delta, null for a keyframe")
        return cls(kind, fields.text("codec", 16), fields.integer("count", 1), base)


@dataclass(frozen=True, slots=True)
class Metrics:
    """What a model reached on ``rows`` held-out rows of its author.

    ``accuracy`` is a share of 1; None where the task is no classification.
    """

    loss: float
    accuracy: float | None
    rows: int

    def bounded(self) -> Metrics | None:
        """These metrics as a message can hold them: a loss beyond 10^15 is cut there; None if it is no number."""
        return None if math.isnan(self.loss) else replace(self, loss=max(-_LARGEST, min(self.loss, _LARGEST)))

    def to_fields(self) -> dict[str, Any]:
        """The map that goes into the message."""
        return {"loss": self.loss, "accuracy": self.accuracy, "rows": self.rows}

    @classmethod
    def from_fields(cls, fields: Fields) -> Metrics:
        """Read and bound what a peer wrote."""
        accuracy = None if fields.value("accuracy") is None else fields.number("accuracy", 0, 1)
        return cls(fields.number("loss", -_LARGEST, _LARGEST), accuracy, fields.integer("rows"))


@dataclass(frozen=True, slots=True)
class Update:
    """A peer announces its newest frame.

    ``steps`` it has trained in all, ``samples`` it trains on, ``metrics`` of its consensus
    estimate on its own held-out rows (None without any), the updates it ``merged`` since its
    previous one, and the bytes that it has sent and received.
    """

    frame: FrameHeader
    steps: int
    samples: int
    metrics: Metrics | None
    merged: tuple[Cid, ...]
    bytes_out: int
    bytes_in: int

    def to_fields(self) -> dict[str, Any]:
        """The map that goes into the message."""
        return {
            "kind": "update",
            "frame": self.frame.to_fields(),
            "steps": self.steps,
            "samples": self.samples,
            "metrics": self.metrics.to_fields() if self.metrics else None,
            "merged": self.merged,
            "traffic": {"in": self.bytes_in, "out": self.bytes_out},
        }

    @classmethod
    def from_fields(cls, fields: Fields, limits: Limits) -> Update:
        """Read and bound what a peer wrote."""
        traffic = fields.fields("traffic")
        return cls(
            frame=FrameHeader.from_fields(fields.fields("frame")),
            steps=fields.integer("steps"),
            samples=fields.integer("samples"),
            metrics=None if fields.value("metrics") is None else Metrics.from_fields(fields.fields("metrics")),
            merged=fields.links("merged", limits.merged),
            bytes_out=traffic.integer("out"),
            bytes_in=traffic.integer("in"),
        )


@dataclass(frozen=True, slots=True)
class Evidence:
    """``first`` and ``second`` are two messages of ``author`` with the same seq."""

    author: bytes
    first: Cid
    second: Cid

    def to_fields(self) -> dict[str, Any]:
        """The map that goes into the message."""
        return {"kind": "evidence", "author": self.author, "first": self.first, "second": self.second}

    @classmethod
    def from_fields(cls, fields: Fields, limits: Limits) -> Evidence:
        """Read and bound what a peer wrote."""
        return cls(fields.octets("author", PUBLIC_KEY_BYTES), fields.link("first"), fields.link("second"))


@dataclass(frozen=True, slots=True)
class Unknown:
    """A kind of a later version, or a sealed body: kept and passed on, never acted on."""

    kind: str


Body = Join | Update | Evidence | Unknown
_KINDS: dict[str, type[Join] | type[Update] | type[Evidence]] = {"join": Join, "update": Update, "evidence": Evidence}


def parse_body(value: object, limits: Limits) -> Body:
    """Read a body of any kind; raises MessageError for a known kind with wrong fields."""
    if isinstance(value, bytes):
        return Unknown("sealed")
    fields = Fields(value, "body", MessageError)
    kind = fields.text("kind")
    known = _KINDS.get(kind)
    return known.from_fields(fields, limits) if known else Unknown(kind)
