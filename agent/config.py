"""The agent's configuration (``agent.toml``); docs/agent.md is the reference."""

from dataclasses import dataclass, field

from agent.sources.section import SourceSection
from learnae.basics.overriding import override
from learnae.config import sections
from learnae.config.dashboard_section import DashboardSection
from learnae.config.places import Secret
from learnae.config.privacy_section import PrivacySection
from learnae.errors import ConfigurationError

_PURSE_SECONDS = 25 * 3600.0  # in which a day's answers go out: of 24 hours, with an hour's at their beginning


@dataclass(frozen=True, slots=True)
class ResourcesSection:
    """``[resources]``: how much of this machine the agent may use; 0 for no limit.

    ``cpu``: share of one core, over time. ``temperature``: of the board in °C, above which it slows down.
    ``bytes_per_day``: of messages and weights, out and in; ``answers``: the share of them that others may ask for, over
    MQTT and HTTP. ``memory``: MiB that must be available, or it does not
    train and only listens.
    """

    cpu: float = 0.0
    temperature: float = 0.0
    bytes_per_day: int = 0
    answers: float = 0.25
    memory: int = 16

    def __post_init__(self) -> None:
        for key, value, most in (
            ("cpu", self.cpu, 64.0),
            ("temperature", self.temperature, 150.0),
            ("bytes_per_day", self.bytes_per_day, 1e15),
            ("memory", self.memory, 1e6),
        ):
            if not 0 <= value <= most:
                raise ConfigurationError(f"resources.{key} is {value}", f"use 0 for no limit, at most {most:g}")
        if not 0 < self.answers <= 1:
            raise ConfigurationError(f"resources.answers is {self.answers}", "use a share, above 0 and at most 1")

    @property
    def answers_per_second(self) -> float:
        """Return how many bytes others may ask for: as no 25 hours are to see more, an hour's at once is no more."""
        return self.answers * self.bytes_per_day / _PURSE_SECONDS


AUTO, TFLITE, NUMPY, NONE = ENGINES = ("auto", "tflite", "numpy", "none")
ONLY_SOURCE = "source"  # what the source of [source] is called
_MAX_SOURCES = 16
MAX_PERCENTILE = 99.9  # beyond it the threshold would be that of the one greatest score


@dataclass(frozen=True, slots=True)
class BufferSection:
    """``[buffer]``: at most so many ``readings`` and ``megabytes`` of live sources; beyond either the oldest go.

    ``key`` names a file of random bytes with which they are encrypted, looked for in ``$CREDENTIALS_DIRECTORY`` first.
    """

    readings: int = 5_000_000
    megabytes: float = 256.0
    key: Secret = ""

    def __post_init__(self) -> None:
        if self.readings < 1:
            raise ConfigurationError(f"buffer.readings is {self.readings}", "use a number of readings, at least 1")
        if not 0.1 <= self.megabytes <= 1e6:
            raise ConfigurationError(f"buffer.megabytes is {self.megabytes}", "use megabytes, at least 0.1")


@dataclass(frozen=True, slots=True)
class AgentTrainSection(sections.TrainSection):
    """``[train]``: also the ``engine``: auto takes TFLite where it is installed and fits, else NumPy.

    With none the agent does not train: it sends summaries of its rows.
    """

    engine: str = AUTO

    @override
    def __post_init__(self) -> None:
        sections.TrainSection.__post_init__(self)
        sections.check_choice("train.engine", self.engine, ENGINES)


@dataclass(frozen=True, slots=True)
class InferenceSection:
    """``[inference]``: scores beyond this ``percentile`` of those of the own held-out rows are anomalies."""

    percentile: float = 99.0

    def __post_init__(self) -> None:
        if not 50 <= self.percentile <= MAX_PERCENTILE:
            raise ConfigurationError(
                f"inference.percentile is {self.percentile}", f"use a number from 50 to {MAX_PERCENTILE}"
            )


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """All sections; ``source`` is for one source, ``sources`` for any number, each with a name."""

    peer: sections.PeerSection = field(default_factory=sections.PeerSection)
    swarm: sections.SwarmSection = field(default_factory=sections.SwarmSection)
    source: SourceSection = field(default_factory=SourceSection)
    sources: dict[str, SourceSection] = field(default_factory=dict)
    buffer: BufferSection = field(default_factory=BufferSection)
    resources: ResourcesSection = field(default_factory=ResourcesSection)
    inference: InferenceSection = field(default_factory=InferenceSection)
    train: AgentTrainSection = field(default_factory=AgentTrainSection)
    privacy: PrivacySection = field(default_factory=PrivacySection)
    publish: sections.PublishSection = field(default_factory=sections.PublishSection)
    mqtt: sections.MqttSection = field(default_factory=sections.MqttSection)
    ipfs: sections.GatewaySection = field(default_factory=sections.GatewaySection)
    lan: sections.LanSection = field(default_factory=sections.LanSection)
    exchange: sections.ExchangeSection = field(default_factory=sections.ExchangeSection)
    iota: sections.IotaSection = field(default_factory=sections.IotaSection)
    dashboard: DashboardSection = field(default_factory=DashboardSection)

    def all_sources(self) -> dict[str, SourceSection]:
        """Return every source by its name; raises ConfigurationError if there is none, or too many."""
        found = {ONLY_SOURCE: self.source} if self.source.is_set else {}
        found.update(self.sources)
        if not found:
            raise ConfigurationError(
                "there is no source of samples",
                "set source.file to a recording, or source.kind (bridge, mqtt, iio, hwmon), in agent.toml",
            )
        if len(found) > _MAX_SOURCES:
            raise ConfigurationError(f"there are {len(found)} sources", f"an agent reads at most {_MAX_SOURCES}")
        return found
