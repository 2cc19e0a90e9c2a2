"""The agent's configuration (``agent.toml``); docs/agent.md is the reference."""

from __future__ import annotations

from dataclasses import dataclass, field

from agent.governor import ResourcesSection
from agent.source_section import SourceSection
from learnae.errors import ConfigurationError
from learnae.sections import (
    ExchangeSection,
    GatewaySection,
    IotaSection,
    MqttSection,
    PeerSection,
    SwarmSection,
    TrainSection,
    check_choice,
)

AUTO, TFLITE, NUMPY, NONE = ENGINES = ("auto", "tflite", "numpy", "none")
ONLY = "source"  # what the source of [source] is called
_MOST_SOURCES = 16


@dataclass(frozen=True, slots=True)
class BufferSection:
    """``[buffer]``: at most so many ``readings`` and ``megabytes`` of live sources; beyond either the oldest go.

    ``key`` names a file of random bytes with which they are encrypted, looked for in ``$CREDENTIALS_DIRECTORY`` first.
    """

    readings: int = 5_000_000
    megabytes: float = 256.0
    key: str = ""

    def __post_init__(self) -> None:
        if self.readings < 1:
            raise ConfigurationError(f"buffer.readings is {self.readings}", "use a number of readings, at least 1")
        if not 0.1 <= self.megabytes <= 1e6:
            raise ConfigurationError(f"buffer.megabytes is {self.megabytes}", "use megabytes, at least 0.1")


@dataclass(frozen=True, slots=True)
class AgentTrainSection(TrainSection):
    """``[train]``: also the ``engine``: auto takes TFLite where it is installed and fits, else NumPy.

    With none the agent does not train: it sends summaries of its rows.
    """

    engine: str = AUTO

    def __post_init__(self) -> None:
        TrainSection.__post_init__(self)
        check_choice("train.engine", self.engine, ENGINES)


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """All sections; ``source`` is for one source, ``sources`` for any number, each with a name."""

    peer: PeerSection = field(default_factory=PeerSection)
    swarm: SwarmSection = field(default_factory=SwarmSection)
    source: SourceSection = field(default_factory=SourceSection)
    sources: dict[str, SourceSection] = field(default_factory=dict)
    buffer: BufferSection = field(default_factory=BufferSection)
    resources: ResourcesSection = field(default_factory=ResourcesSection)
    train: AgentTrainSection = field(default_factory=AgentTrainSection)
    mqtt: MqttSection = field(default_factory=MqttSection)
    ipfs: GatewaySection = field(default_factory=GatewaySection)
    exchange: ExchangeSection = field(default_factory=ExchangeSection)
    iota: IotaSection = field(default_factory=IotaSection)

    def all_sources(self) -> dict[str, SourceSection]:
        """Every source by its name; raises ConfigurationError if there is none, or too many."""
        found = {ONLY: self.source} if self.source.is_set else {}
        found.update(self.sources)
        if not found:
            raise ConfigurationError(
                "there is no source of samples",
                "set source.file to a recording, or source.kind (bridge, mqtt, iio, hwmon), in agent.toml",
            )
        if len(found) > _MOST_SOURCES:
            raise ConfigurationError(f"there are {len(found)} sources", f"an agent reads at most {_MOST_SOURCES}")
        return found
