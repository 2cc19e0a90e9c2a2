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
WINDOW, READING = UNITS = ("window", "reading")  # what differential privacy is counted for
KEY, DELTA = "key", "delta"
NAME_BYTES = 8  # of a digest: enough to tell the updates of one horizon apart, where nothing is fetched by it
EPOCH_NAME_BYTES = 8
PRIVATE_SAMPLES = 100  # what all say whose number of rows is private: the least that any publishes with
MAX_EPSILON = 1e6
_MAX_LOSS = 1e15
DIAGONAL, FULL = SUMMARY_FORMS = ("diagonal", "full")
SUMMARY_BYTES = 56 * 1024  # of a summary's sums, so that a message holds them
SUMMARY_STEPS = 2048  # of a summary's unit: its sums are whole numbers of them
COUNT_STEPS = 614  # that a row adds to its group's first sum: 0.3 units
_SUM_BYTES = 4
MOST_RATED = 64  # authors in one statement of contributions: as many as a trainer follows
AUTHOR_BYTES = 8  # of a key, as in announcements
MOST_USEFULNESS = 1000  # percent of what is usual
_PERCENT_BYTES = 2


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
class PrivacySpent:
    """What a peer's updates tell of any of its rows, at most: they are (``epsilon``, ``delta``)-differentially private.

    The figures hold for one window more or less, or one reading (``protects``), and for all that the peer has ever
    published. ``releases`` counts its noisy steps.

    >>> PrivacySpent(3.9, 1e-5, 76, WINDOW).to_fields()
    {'epsilon': 3.9, 'delta': 1e-05, 'releases': 76, 'protects': 'window'}
    """

    epsilon: float
    delta: float
    releases: int
    protects: str

    def bounded(self) -> PrivacySpent:
        """Return what a message can hold: an epsilon that is too large to be computed is cut."""
        return replace(self, epsilon=min(self.epsilon, MAX_EPSILON))

    def to_fields(self) -> dict[str, Any]:
        """Return the map that goes into the message."""
        return asdict(self)

    @classmethod
    def from_fields(cls, fields: Fields) -> PrivacySpent:
        """Read and bound what a peer wrote."""
        return cls(
            fields.number("epsilon", 0, MAX_EPSILON),
            fields.number("delta", 0, 1),
            fields.integer("releases"),
            fields.choice("protects", UNITS),
        )

    @classmethod
    def optional(cls, fields: Fields) -> PrivacySpent | None:
        """Read the field ``privacy``; None where nothing is said of it."""
        return cls.from_fields(fields.fields("privacy")) if "privacy" in fields else None


@dataclass(frozen=True, slots=True)
class Update:
    """A peer announces its newest frame; in a checkpoint with its profile.

    ``steps`` it has trained in all, ``samples`` it trains on, ``metrics`` of its consensus
    estimate on its own held-out rows (None without any), the updates it ``merged`` since its
    previous one (the first NAME_BYTES of their digests), and the bytes that it has sent and received.
    A peer that is ``settled`` has stopped training: its vote does not age. Where updates are differentially private,
    ``privacy`` says how far, and what would tell of rows is left out: ``samples`` is PRIVATE_SAMPLES, there are no
    ``metrics``, and nothing is ``merged``.
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
    privacy: PrivacySpent | None = None

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
            **({"privacy": self.privacy.to_fields()} if self.privacy else {}),
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
            privacy=PrivacySpent.optional(fields),
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


def group_size(form: str, columns: int) -> int:
    """Return how many sums a group of a summary has: its rows, each column, and squares or products of columns."""
    return 1 + columns + (columns if form == DIAGONAL else columns * (columns + 1) // 2)


@dataclass(frozen=True, slots=True)
class SummaryNoise:
    """What the noise of a summary protects: all of its author's together are (``epsilon``, ``delta``)-private.

    One row more or less is not to be told, or one reading that ``overlap`` rows share. ``deviation`` is the standard
    deviation of the noise in each sum, in steps.
    """

    epsilon: float
    delta: float
    overlap: int
    deviation: float

    @classmethod
    def from_fields(cls, fields: Fields) -> SummaryNoise:
        """Read and bound what a peer wrote."""
        return cls(
            fields.number("epsilon", 0, 1e6),
            fields.number("delta", 0, 1),
            fields.integer("overlap", 1, 2**20),
            fields.number("deviation", 0, 2**31),
        )


@dataclass(frozen=True, slots=True)
class Summary:
    """Raw-free statistics of a peer's rows, with noise: see learnae.samples.dp_statistics.

    The ``release``-th of its author. ``sums`` are those of ``groups`` of rows of ``columns`` values, one group after
    another, each of group_size(``form``, ``columns``) int32, little-endian. A checkpoint if its author does not train.
    """

    release: int
    noise: SummaryNoise
    form: str
    columns: int
    groups: int
    sums: bytes
    peer: Profile | None = None

    @property
    def rows(self) -> int:
        """Return how many rows the groups hold, noise included."""
        size = _SUM_BYTES * group_size(self.form, self.columns)
        starts = range(0, len(self.sums), size)
        counts = [int.from_bytes(self.sums[at : at + _SUM_BYTES], "little", signed=True) for at in starts]
        return sum(max(round(count / COUNT_STEPS), 0) for count in counts)

    def to_fields(self) -> dict[str, Any]:
        """Return the map that goes into the message."""
        return {
            "kind": "summary",
            "peer": self.peer.to_fields() if self.peer else None,
            "release": self.release,
            "noise": asdict(self.noise),
            "form": self.form,
            "columns": self.columns,
            "groups": self.groups,
            "sums": self.sums,
        }

    @classmethod
    def from_fields(cls, fields: Fields, limits: Limits) -> Summary:
        """Read and bound what a peer wrote."""
        form = fields.choice("form", SUMMARY_FORMS)
        columns = fields.integer("columns", 1, SUMMARY_BYTES // _SUM_BYTES)
        size = _SUM_BYTES * group_size(form, columns)
        if size > SUMMARY_BYTES:
            raise fields.error("columns", columns, f"so few that a group's sums are at most {SUMMARY_BYTES} bytes")
        groups = fields.integer("groups", 1, SUMMARY_BYTES // size)
        return cls(
            release=fields.integer("release", 1),
            noise=SummaryNoise.from_fields(fields.fields("noise")),
            form=form,
            columns=columns,
            groups=groups,
            sums=fields.octets("sums", size * groups),
            peer=Profile.optional(fields),
        )


@dataclass(frozen=True, slots=True)
class Contributions:
    """How useful others' weights have lately been to the author: ``usefulness`` of each of ``peers``, ascending.

    A peer is named by the first AUTHOR_BYTES of its key. 100 is what is usual among those that the author follows, 0
    nothing, less than 0 harm; at most MOST_USEFULNESS either way.
    """

    KIND: ClassVar = "contributions"

    peers: tuple[bytes, ...]
    usefulness: tuple[int, ...]

    def to_fields(self) -> dict[str, Any]:
        """Return the map that goes into the message."""
        percents = b"".join(value.to_bytes(_PERCENT_BYTES, "little", signed=True) for value in self.usefulness)
        return {"kind": self.KIND, "peers": b"".join(self.peers), "usefulness": percents}

    @classmethod
    def from_fields(cls, fields: Fields, limits: Limits) -> Contributions:
        """Read and bound what a peer wrote."""
        peers = _pieces(fields, "peers", AUTHOR_BYTES)
        if list(peers) != sorted(set(peers)):
            raise fields.error("peers", "names out of order", "ascending names, none twice")
        parts = _pieces(fields, "usefulness", _PERCENT_BYTES)
        percents = tuple(int.from_bytes(part, "little", signed=True) for part in parts)
        if len(percents) != len(peers) or any(abs(percent) > MOST_USEFULNESS for percent in percents):
            wanted = f"{len(peers)} integers of {_PERCENT_BYTES} bytes from {-MOST_USEFULNESS} to {MOST_USEFULNESS}"
            raise fields.error("usefulness", fields.value("usefulness"), wanted)
        return cls(peers, percents)

    @property
    def by_peer(self) -> dict[bytes, int]:
        """Return the usefulness by name."""
        return dict(zip(self.peers, self.usefulness, strict=True))


def _pieces(fields: Fields, name: str, size: int) -> tuple[bytes, ...]:
    """Read 1 to MOST_RATED pieces of ``size`` bytes, one after another."""
    value = fields.value(name)
    if not isinstance(value, bytes) or len(value) % size or not 0 < len(value) <= size * MOST_RATED:
        shown = f"{len(value)} bytes" if isinstance(value, bytes) else type(value).__name__
        raise fields.error(name, shown, f"1 to {MOST_RATED} pieces of {size} bytes")
    return tuple(value[start : start + size] for start in range(0, len(value), size))


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


Body = Join | Update | Summary | Evidence | Contributions | MaskReady | MaskedVector | MaskOpen | Unknown | Sealed
_KINDS: dict[str, type[Join | Update | Summary | Evidence | Contributions | SumBody]] = {
    "join": Join, "update": Update, "summary": Summary, Evidence.KIND: Evidence, Contributions.KIND: Contributions,
    **SUM_KINDS,
}  # fmt: skip


def parse_body(value: object, limits: Limits) -> Body:
    """Read a body of any kind; raises MessageError for a known kind with wrong fields."""
    fields = Fields(value, "body", MessageError)
    kind = fields.text("kind")
    known = _KINDS.get(kind)
    return known.from_fields(fields, limits) if known else Unknown(kind)
