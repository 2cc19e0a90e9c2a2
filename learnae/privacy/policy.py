"""What a swarm's manifest says of privacy: differential privacy of updates, and what summaries tell. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from learnae.errors import ManifestError
from learnae.ipld.fields import Fields
from learnae.protocol.bodies import DIAGONAL, SUMMARY_FORMS, UNITS, WINDOW

NONE = "none"
FORMS = (*SUMMARY_FORMS, NONE)
EACH, MASKED = SHARINGS = ("each", "masked")
PLAIN = "none"  # what the manifest of a swarm with this version's defaults says
_MOST_EPSILON = 100.0  # beyond it the accountant leaves float64
_MOST_RELEASES = 1_000_000
_MOST_PARTITIONS = 100
_MOST_SUMMARIES = 1000  # of one member


@dataclass(frozen=True, slots=True)
class TrainingPrivacy:
    """Updates are (``epsilon``, ``delta``)-differentially private for one row more or less.

    A row takes part in ``releases`` noisy steps, then it leaves; its gradient's L2 norm is at most ``clip``.
    ``protects`` says what the figures are for: one window, or one reading, which overlapping windows share. A step is
    on one of ``partitions`` of the rows, in turn: for boards on which a step on all rows takes too long.

    >>> TrainingPrivacy(epsilon=4.0).releases
    80
    """

    epsilon: float
    delta: float = 1e-5
    releases: int = 80
    clip: float = 1.5
    protects: str = WINDOW
    partitions: int = 1

    @classmethod
    def from_fields(cls, fields: Fields) -> TrainingPrivacy:
        """Read what a manifest says; raises ManifestError."""
        return cls(
            epsilon=fields.number("epsilon", 0.01, _MOST_EPSILON),
            delta=fields.number("delta", 1e-12, 0.01),
            releases=fields.integer("releases", 1, _MOST_RELEASES),
            clip=fields.number("clip", 1e-6, 1e6),
            protects=fields.choice("protects", UNITS),
            partitions=fields.integer("partitions", 1, _MOST_PARTITIONS),
        )


@dataclass(frozen=True, slots=True)
class SummaryPrivacy:
    """Statistics a class, all of a member's ``releases`` together (``epsilon``, ``delta``)-differentially private.

    The figures are for one row more or less. ``form``: variances alone (diagonal), covariances (full), or no summaries
    (none). ``sharing``: each member's is seen (each), or totals of some members alone (masked). The first is of about
    ``rows`` at least. Of members whose updates are differentially private there is none, unless their epsilon may grow
    by this one, too (``beside_training``).
    """

    epsilon: float = 8.0
    delta: float = 1e-5
    form: str = DIAGONAL
    sharing: str = EACH
    releases: int = 1
    rows: int = 100
    beside_training: bool = False

    @classmethod
    def from_fields(cls, fields: Fields) -> SummaryPrivacy:
        """Read what a manifest says; raises ManifestError."""
        return cls(
            epsilon=fields.number("epsilon", 0.01, _MOST_EPSILON),
            delta=fields.number("delta", 1e-12, 0.01),
            form=fields.choice("form", FORMS),
            sharing=fields.choice("sharing", SHARINGS),
            releases=fields.integer("releases", 1, _MOST_SUMMARIES),
            rows=fields.integer("rows", 1, _MOST_RELEASES),
            beside_training=fields.boolean("beside_training"),
        )


@dataclass(frozen=True, slots=True)
class PrivacyPolicy:
    """What all members keep to; each owner may ask for more (the configuration's ``[privacy]``).

    Without ``training`` updates carry no noise.

    >>> PrivacyPolicy().to_fields()
    'none'
    >>> PrivacyPolicy(TrainingPrivacy(epsilon=4.0)).to_fields()["training"]["epsilon"]
    4.0
    """

    training: TrainingPrivacy | None = None
    summary: SummaryPrivacy = SummaryPrivacy()

    def to_fields(self) -> dict[str, Any] | str:
        """Return what goes into the manifest."""
        if self == PrivacyPolicy():
            return PLAIN
        return {"training": asdict(self.training) if self.training else None, "summary": asdict(self.summary)}

    @classmethod
    def from_manifest(cls, fields: Fields) -> PrivacyPolicy:
        """Read the ``privacy`` of a manifest; raises ManifestError."""
        value = fields.value("privacy")
        if value == PLAIN:
            return cls()
        if not isinstance(value, Mapping):
            raise ManifestError(f"the manifest's privacy is {value!r}", f'use "{PLAIN}", or a map')
        said = fields.fields("privacy")
        training = None if said.value("training") is None else TrainingPrivacy.from_fields(said.fields("training"))
        return cls(training, SummaryPrivacy.from_fields(said.fields("summary")))
