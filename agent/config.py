"""The agent's configuration (``agent.toml``)."""

from __future__ import annotations

from dataclasses import dataclass, field

from learnae.errors import ConfigurationError
from learnae.sections import (
    ExchangeSection,
    GatewaySection,
    IotaSection,
    MqttSection,
    PeerSection,
    SwarmSection,
    TrainSection,
    check_holdout,
)

AUTO, TFLITE, NUMPY, NONE = ENGINES = ("auto", "tflite", "numpy", "none")
_FASTEST = 1e9  # times real time


@dataclass(frozen=True, slots=True)
class SourceSection:
    """``[source]``: a recorded ``file``, replayed at ``speed`` times real time (0: at once).

    The last ``holdout`` share of each label's samples is never trained on.
    """

    file: str = ""
    speed: float = 1.0
    holdout: float = 0.3

    def __post_init__(self) -> None:
        if not 0 <= self.speed <= _FASTEST:
            raise ConfigurationError(f"source.speed is {self.speed}", "use 1 for real time, 0 for all at once")
        check_holdout("source", self.holdout)


@dataclass(frozen=True, slots=True)
class AgentTrainSection(TrainSection):
    """``[train]``: also the ``engine``: auto takes TFLite where it is installed and fits, else NumPy.

    With none the agent does not train: it sends summaries of its rows.
    """

    engine: str = AUTO

    def __post_init__(self) -> None:
        TrainSection.__post_init__(self)
        if self.engine not in ENGINES:
            raise ConfigurationError(f"train.engine is {self.engine!r}", f"use {', '.join(ENGINES)}")


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """All sections."""

    peer: PeerSection = field(default_factory=PeerSection)
    swarm: SwarmSection = field(default_factory=SwarmSection)
    source: SourceSection = field(default_factory=SourceSection)
    train: AgentTrainSection = field(default_factory=AgentTrainSection)
    mqtt: MqttSection = field(default_factory=MqttSection)
    ipfs: GatewaySection = field(default_factory=GatewaySection)
    exchange: ExchangeSection = field(default_factory=ExchangeSection)
    iota: IotaSection = field(default_factory=IotaSection)
