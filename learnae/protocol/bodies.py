"""What a message says: its body, one frozen dataclass per kind."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

from learnae.errors import MessageError
from learnae.ipld.cid import Cid
from learnae.ipld.fields import Fields
from learnae.protocol.identity import PUBLIC_KEY_BYTES
from learnae.protocol.limits import Limits
from learnae.protocol.sum_bodies import SUM_KINDS, MaskedVector, MaskOpen, MaskReady, SumBody

ROLES = ("agent", "trainer")
KEY, DELTA = "key", "delta"
NAME_BYTES = 8  # of a digest: enough to tell the updates of one horizon apart, where nothing is fetched by it
EPOCH_NAME_BYTES = 8
_MAX_LOSS = 1e15
BUCKETS = 23  # of a summary's histogram: eleven for each sign, and one for what is about zero
MAX_CELLS = 340  # columns times groups of a summary: at most 185 bytes each, so that a message holds them
_MAX_ROWS = 2**32 - 1  # in a bucket: five bytes


@dataclass(frozen=True, slots=True)
class Profile:
    """How a peer introduces itself: in a join, and again in each checkpoint, which may be all that a newcomer hears."""

    name: str
    role: str
    software: str

    def to_fields(self) -> dict[str, Any]:
        """Return the map that goes into the message."""
        return asdict(self)

    @classmethod
    def from_fields(cls, fields: Fields) -> Profile:
        """Read and bound what a peer wrote."""
        return cls(fields.text("name"), fields.choice("role", ROLES), fields.text("software"))

    @classmethod
    def optional(cls, fields: Fields) -> Profile | None:
        """Read the field ``peer``, which may be null."""
        return None if fields.value("peer") is None else cls.from_fields(fields.fields("peer"))


@dataclass(frozen=True, slots=True)
class Join:
    """A peer introduces itself before it publishes anything else."""

    peer: Profile

    def to_fields(self) -> dict[str, Any]:
        """Return the map that goes into the message."""
        return {"kind": "join", "peer": self.peer.to_fields()}

    @classmethod
    def from_fields(cls, fields: Fields, limits: Limits) -> Join:
        """Read and bound what a peer wrote."""
        return cls(Profile.from_fields(fields.fields("peer")))


@dataclass(frozen=True, slots=True)
class FrameHeader:
    """How to decode a frame: ``count`` float32 values; a delta stands on the update ``base``."""

    kind: str
    codec: str
    count: int
    base: Cid | None

    def to_fields(self) -> dict[str, Any]:
        """Return the map that goes into the message."""
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

    ``accuracy`` is a share of 1; None where the task is no classification. Elsewhere ``mae`` is the mean absolute error
    of an output, and ``r2`` the share of the targets' variance that is explained; None where they do not vary.
    """

    loss: float
    accuracy: float | None
    rows: int
    mae: float | None = None
    r2: float | None = None

    def bounded(self) -> Metrics | None:
        """Return these metrics as a message can hold them: cut at 10^15; None if the loss is no number."""
        if math.isnan(self.loss):
            return None
        mae, r2 = (None if value is None or math.isnan(value) else _cut(value) for value in (self.mae, self.r2))
        return replace(self, loss=_cut(self.loss), mae=mae, r2=r2)

    def to_fields(self) -> dict[str, Any]:
        """Return the map that goes into the message."""
        more = {name: value for name, value in (("mae", self.mae), ("r2", self.r2)) if value is not None}
        return {"loss": self.loss, "accuracy": self.accuracy, "rows": self.rows, **more}

    @classmethod
    def from_fields(cls, fields: Fields) -> Metrics:
        """Read and bound what a peer wrote."""
        accuracy = None if fields.value("accuracy") is None else fields.number("accuracy", 0, 1)
        return cls(
            fields.number("loss", -_MAX_LOSS, _MAX_LOSS),
            accuracy,
            fields.integer("rows"),
            fields.number("mae", 0, _MAX_LOSS) if "mae" in fields else None,
            fields.number("r2", -_MAX_LOSS, 1) if "r2" in fields else None,
        )


def _cut(value: float) -> float:
    return max(-_MAX_LOSS, min(value, _MAX_LOSS))


@dataclass(frozen=True, slots=True)
class Update:
    """A peer announces its newest frame; in a checkpoint with its profile.

    ``steps`` it has trained in all, ``samples`` it trains on, ``metrics`` of its consensus
    estimate on its own held-out rows (None without any), the updates it ``merged`` since its
    previous one (the first NAME_BYTES of their digests), and the bytes that it has sent and received.
    A peer that is ``settled`` has stopped training: its vote does not age.
    """

    frame: FrameHeader
    steps: int
    samples: int
    metrics: Metrics | None
    merged: tuple[bytes, ...]
    bytes_out: int
    bytes_in: int
    settled: bool = False
    peer: Profile | None = None

    def to_fields(self) -> dict[str, Any]:
        """Return the map that goes into the message."""
        return {
            "kind": "update",
            "peer": self.peer.to_fields() if self.peer else None,
            "settled": self.settled,
            "frame": self.frame.to_fields(),
            "steps": self.steps,
            "samples": self.samples,
            "metrics": self.metrics.to_fields() if self.metrics else None,
            "merged": b"".join(self.merged),
            "traffic": {"in": self.bytes_in, "out": self.bytes_out},
        }

    @classmethod
    def from_fields(cls, fields: Fields, limits: Limits) -> Update:
        """Read and bound what a peer wrote."""
        traffic = fields.fields("traffic")
        merged = fields.value("merged")
        if not isinstance(merged, bytes) or len(merged) % NAME_BYTES or len(merged) > NAME_BYTES * limits.merged:
            raise fields.error("merged", merged, f"at most {limits.merged} names of {NAME_BYTES} bytes")
        return cls(
            frame=FrameHeader.from_fields(fields.fields("frame")),
            steps=fields.integer("steps"),
            samples=fields.integer("samples"),
            metrics=None if fields.value("metrics") is None else Metrics.from_fields(fields.fields("metrics")),
            merged=tuple(merged[start : start + NAME_BYTES] for start in range(0, len(merged), NAME_BYTES)),
            bytes_out=traffic.integer("out"),
            bytes_in=traffic.integer("in"),
            settled=fields.boolean("settled"),
            peer=Profile.optional(fields),
        )


@dataclass(frozen=True, slots=True)
class Evidence:
    """``first`` and ``second`` are two messages of ``author`` with the same seq."""

    KIND: ClassVar = "evidence"

    author: bytes
    first: Cid
    second: Cid

    @property
    def names(self) -> tuple[Cid, Cid]:
        """Return both messages."""
        return self.first, self.second

    def to_fields(self) -> dict[str, Any]:
        """Return the map that goes into the message."""
        return {"kind": self.KIND, "author": self.author, "first": self.first, "second": self.second}

    @classmethod
    def from_fields(cls, fields: Fields, limits: Limits) -> Evidence:
        """Read and bound what a peer wrote."""
        evidence = cls(fields.octets("author", PUBLIC_KEY_BYTES), fields.link("first"), fields.link("second"))
        if evidence.first == evidence.second:
            raise fields.error("second", evidence.second, "another message than the first")
        return evidence


@dataclass(frozen=True, slots=True)
class SummaryGroup:
    """Noisy statistics of the rows of one class; ``label`` is None for rows of unknown class.

    ``mean`` and ``variance`` hold one value a column, or nothing where the noise is larger than what
    there is; ``histogram`` has BUCKETS counts for each column.
    """

    label: int | None
    count: int
    mean: tuple[float, ...]
    variance: tuple[float, ...]
    histogram: tuple[tuple[int, ...], ...]

    def to_fields(self) -> dict[str, Any]:
        """Return the map that goes into the message."""
        return asdict(self)

    @classmethod
    def from_fields(cls, fields: Fields, columns: int) -> SummaryGroup:
        """Read and bound what a peer wrote."""
        mean, variance = fields.numbers("mean", columns), fields.numbers("variance", columns)
        if len(mean) != len(variance) or len(mean) not in (0, columns) or min(variance, default=0.0) < 0:
            raise fields.error("mean", len(mean), f"as long as variance, which is not negative: 0 or {columns} values")
        histogram = fields.value("histogram")
        if not isinstance(histogram, (list, tuple)) or len(histogram) != columns:
            raise fields.error("histogram", histogram, f"a list of {columns} lists")
        rows = Fields({str(index): row for index, row in enumerate(histogram)}, "histogram", MessageError)
        return cls(
            label=None if fields.value("label") is None else fields.integer("label", 0, MAX_CELLS),
            count=fields.integer("count", 0, _MAX_ROWS),
            mean=mean,
            variance=variance,
            histogram=tuple(rows.integers(index, BUCKETS, 0, _MAX_ROWS) for index in rows),
        )


@dataclass(frozen=True, slots=True)
class Summary:
    """Raw-free statistics of a peer's data: see learnae.samples.dp_statistics.

    The ``release``-th, each differentially private by (``epsilon``, ``delta``), over ``columns`` of
    the rows, one group a class. It is always a checkpoint.
    """

    release: int
    epsilon: float
    delta: float
    columns: int
    groups: tuple[SummaryGroup, ...]
    peer: Profile | None = None

    @property
    def rows(self) -> int:
        """Return how many rows the groups hold, noise included."""
        return sum(group.count for group in self.groups)

    def to_fields(self) -> dict[str, Any]:
        """Return the map that goes into the message."""
        return {
            "kind": "summary",
            "peer": self.peer.to_fields() if self.peer else None,
            "release": self.release,
            "noise": {"epsilon": self.epsilon, "delta": self.delta},
            "columns": self.columns,
            "groups": [group.to_fields() for group in self.groups],
        }

    @classmethod
    def from_fields(cls, fields: Fields, limits: Limits) -> Summary:
        """Read and bound what a peer wrote."""
        noise = fields.fields("noise")
        columns = fields.integer("columns", 1, MAX_CELLS)
        groups = fields.maps("groups", MAX_CELLS // columns)
        return cls(
            release=fields.integer("release", 1),
            epsilon=noise.number("epsilon", 0, 1e6),
            delta=noise.number("delta", 0, 1),
            columns=columns,
            groups=tuple(SummaryGroup.from_fields(group, columns) for group in groups),
            peer=Profile.optional(fields),
        )


@dataclass(frozen=True, slots=True)
class Unknown:
    """A kind of a later version: kept and passed on, never acted on."""

    kind: str


@dataclass(frozen=True, slots=True)
class Sealed:
    """A body that only members can read (learnae.membership.sealing)."""

    data: bytes

    @property
    def epoch(self) -> bytes:
        """Return the name of the key epoch that it is sealed under."""
        return self.data[:EPOCH_NAME_BYTES]


Body = Join | Update | Summary | Evidence | MaskReady | MaskedVector | MaskOpen | Unknown | Sealed
_KINDS: dict[str, type[Join | Update | Summary | Evidence | SumBody]] = {
    "join": Join, "update": Update, "summary": Summary, Evidence.KIND: Evidence, **SUM_KINDS
}  # fmt: skip


def parse_body(value: object, limits: Limits) -> Body:
    """Read a body of any kind; raises MessageError for a known kind with wrong fields."""
    fields = Fields(value, "body", MessageError)
    kind = fields.text("kind")
    known = _KINDS.get(kind)
    return known.from_fields(fields, limits) if known else Unknown(kind)
