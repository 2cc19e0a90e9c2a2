"""The trainer's configuration (``trainer.toml``)."""

from dataclasses import dataclass, field

from learnae.basics.overriding import override
from learnae.config.dashboard_section import DashboardSection
from learnae.config.places import Place
from learnae.config.privacy_section import PrivacySection
from learnae.config.sections import (
    ExchangeSection,
    IotaSection,
    IpfsSection,
    LanSection,
    MqttSection,
    PeerSection,
    PublishSection,
    SwarmSection,
    TrainSection,
    check_choice,
    check_holdout,
)
from learnae.errors import ConfigurationError
from learnae.models.keras_model import PRECISIONS
from learnae.samples.time_column import Columns
from trainer_node.engines import ENGINES

ROLE = "trainer"
_MAX_STEPS = 1_000_000


@dataclass(frozen=True, slots=True)
class DataSection:
    """``[data]``: a ``file``; in tables, the column that holds the ``label``, that of the ``time`` (empty: the one that
    looks like it; false: none) and its ``time_unit`` (empty: the one that fits the swarm's rate).

    The last ``holdout`` share of each class is never trained on, unless the file brings its own.
    """

    file: Place = ""
    label: str = "label"
    time: str | bool = ""
    time_unit: str = ""
    holdout: float = 0.3

    def __post_init__(self) -> None:
        check_holdout("data", self.holdout)
        self.columns  # noqa: B018 - checks

    @property
    def columns(self) -> Columns:
        """Return what is said of a table; raises ConfigurationError."""
        return Columns(self.label, self.time, self.time_unit)


@dataclass(frozen=True, slots=True)
class TrainerTrainSection(TrainSection):
    """``[train]``: also the ``engine`` and its ``precision``, and the ``share`` of the time that is spent on training.

    ``epochs`` passes over the training rows, or ``steps``, are taken between two merges, and no more until the next
    update is due; 0 for as many as there is time for.
    """

    share: float = 1.0
    engine: str = "auto"
    precision: str = "float32"
    epochs: float = 0.0
    steps: int = 0

    @override
    def __post_init__(self) -> None:
        TrainSection.__post_init__(self)
        if not 0.001 <= self.share <= 1:
            raise ConfigurationError(f"train.share is {self.share}", "use a share of the time, from 0.001 to 1")
        check_choice("train.engine", self.engine, ENGINES)
        check_choice("train.precision", self.precision, PRECISIONS)
        if not 0 <= self.epochs <= 1000:
            raise ConfigurationError(f"train.epochs is {self.epochs}", "use passes over the rows, from 0 to 1000")
        if not 0 <= self.steps <= _MAX_STEPS:
            raise ConfigurationError(f"train.steps is {self.steps}", f"use steps, from 0 to {_MAX_STEPS}")
        if self.epochs and self.steps:
            raise ConfigurationError("train.epochs and train.steps are both set", "set one of them")
        if self.engine == "numpy" and self.precision != "float32":
            raise ConfigurationError(f"train.precision is {self.precision!r}", "the NumPy engine computes in float32")


@dataclass(frozen=True, slots=True)
class TrainerConfig:
    """All sections."""

    peer: PeerSection = field(default_factory=PeerSection)
    swarm: SwarmSection = field(default_factory=SwarmSection)
    data: DataSection = field(default_factory=DataSection)
    train: TrainerTrainSection = field(default_factory=TrainerTrainSection)
    privacy: PrivacySection = field(default_factory=PrivacySection)
    publish: PublishSection = field(default_factory=PublishSection)
    mqtt: MqttSection = field(default_factory=MqttSection)
    ipfs: IpfsSection = field(default_factory=IpfsSection)
    lan: LanSection = field(default_factory=LanSection)
    exchange: ExchangeSection = field(default_factory=ExchangeSection)
    iota: IotaSection = field(default_factory=IotaSection)
    dashboard: DashboardSection = field(default_factory=DashboardSection)
