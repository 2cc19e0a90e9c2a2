"""The trainer's configuration (``trainer.toml``)."""

from __future__ import annotations

from dataclasses import dataclass, field

from learnae.sections import PeerSection, SwarmSection, TrainSection, check_holdout


@dataclass(frozen=True, slots=True)
class DataSection:
    """``[data]``: a ``file`` (.npz or .csv); for CSV, the column that holds the ``label``.

    The last ``holdout`` share of each class is never trained on, unless the file brings its own.
    """

    file: str = ""
    label: str = "label"
    holdout: float = 0.3

    def __post_init__(self) -> None:
        check_holdout("data", self.holdout)


@dataclass(frozen=True, slots=True)
class TrainerConfig:
    """All sections."""

    peer: PeerSection = field(default_factory=PeerSection)
    swarm: SwarmSection = field(default_factory=SwarmSection)
    data: DataSection = field(default_factory=DataSection)
    train: TrainSection = field(default_factory=TrainSection)
