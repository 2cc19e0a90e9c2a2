"""The trainer's configuration (``trainer.toml``)."""

from dataclasses import dataclass, field

from learnae.basics.overriding import override
from learnae.config.dashboard_section import DashboardSection
from learnae.config.keys import Range, check_keys, setting
from learnae.config.places import Place
from learnae.config.privacy_section import PrivacySection
from learnae.config.sections import (
    HOLDOUT,
    ExchangeSection,
    IotaSection,
    IpfsSection,
    LanSection,
    MqttSection,
    PeerSection,
    PublishSection,
    SwarmSection,
    TrainSection,
)
from learnae.errors import ConfigurationError
from learnae.models.keras_model import PRECISIONS
from learnae.samples.columns import Columns
from trainer_node.engines import ENGINES

ROLE = "trainer"
_MAX_STEPS = 1_000_000


@dataclass(frozen=True, slots=True)
class DataSection:
    """``[data]``: what is trained on."""

    file: Place = setting("", "a table or a recording")
    label: str = setting("label", "the column of a table that holds the target")
    time: str | bool = setting("", "the column of times; `false`: none", stands_for="the one that looks like it")
    time_unit: str = setting(
        "", "`s`, `ms`, `us`, `ns`, `min`, `h`, `d` or `samples`", stands_for="the one that fits the swarm's rate"
    )
    holdout: float = setting(
        0.3,
        "share of each class, the last of it, that is never trained on, unless the file brings its own: accuracy and "
        "loss are measured there",
        HOLDOUT,
    )

    def __post_init__(self) -> None:
        check_keys(self, "data")
        self.columns  # noqa: B018 - checks

    @property
    def columns(self) -> Columns:
        """Return what is said of a table; raises ConfigurationError."""
        return Columns(self.label, self.time, self.time_unit)


@dataclass(frozen=True, slots=True)
class TrainerTrainSection(TrainSection):
    """``[train]``: how, how much, and when it is enough."""

    share: float = setting(1.0, "share of the time that is spent on training", Range(0.001, 1, "a share of the time"))
    engine: str = setting("auto", "`auto`: JAX where it is installed, else NumPy", choices=ENGINES)
    precision: str = setting(
        "float32", "what JAX computes in; weights stay float32, and NumPy computes in it", choices=PRECISIONS
    )
    epochs: float = setting(
        0.0,
        "passes over the rows between two merges, and no more until the next update is due",
        Range(0, 1000, "passes over the rows", zero="as many as there is time for"),
    )
    steps: int = setting(
        0,
        "the same in optimiser steps; one of the two",
        Range(0, _MAX_STEPS, "steps", zero="as many as there is time for"),
    )
    first_epochs: float = setting(
        0.15,
        "passes over the rows between the first merges, at least the swarm's `training.steps`; then ever more",
        Range(0, 1000, "passes over the rows", zero="as many as between any"),
    )

    @override
    def __post_init__(self) -> None:
        TrainSection.__post_init__(self)
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
