"""The agent's configuration (``agent.toml``); docs/keys-agent.md is made from it."""

from dataclasses import dataclass, field

from agent.sources.section import SourceSection
from learnae.config import sections
from learnae.config.dashboard_section import DashboardSection
from learnae.config.keys import Range, check_keys, setting
from learnae.config.places import Secret
from learnae.config.privacy_section import PrivacySection
from learnae.errors import ConfigurationError

_PURSE_SECONDS = 25 * 3600.0  # in which a day's answers go out: of 24 hours, with an hour's at their beginning


@dataclass(frozen=True, slots=True)
class ResourcesSection:
    """``[resources]``: how much of this machine the agent may use."""

    cpu: float = setting(0.0, "share of one core over time, with sampling", Range(0, 64, "a share", zero="no limit"))
    temperature: float = setting(
        0.0,
        "of the hottest thermal zone; above it pauses double and steps halve, until it is 3 °C cooler",
        Range(0, 150, "°C", zero="no limit"),
    )
    bytes_per_day: int = setting(
        0,
        "of messages and weights, out and in, and of all that is answered over HTTP (`[lan]`) and MQTT, own updates "
        "too: they count when they are said, and again for each that fetches them here; one update may exceed it, and "
        "is paid off before the next; a quarter of it is aimed at for own updates, whose deltas get as coarse as that "
        "takes. What the monitor says is not counted",
        Range(0, 10**15, "bytes", zero="no limit"),
    )
    answers: float = setting(
        0.25,
        "share of `bytes_per_day` that others may ask for, over HTTP and MQTT together, an hour's at once (2 MiB at "
        "least); one asker has at most half of what a link gives. Without `bytes_per_day` the links' own "
        "`bytes_per_second` count",
        Range(0, 1, "a share", above=True),
    )
    memory: int = setting(
        16,
        "MiB that must be available, of the machine's memory and of what a control group leaves (a unit's `MemoryMax`, "
        "a container); with less at the start, or less than the definition's training takes, the agent sends "
        "summaries, with less later it skips training",
        Range(0, 1_000_000, "MiB", zero="no limit"),
    )

    def __post_init__(self) -> None:
        check_keys(self, "resources")

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
    """``[buffer]``: what is kept of live sources; beyond either bound the oldest go."""

    readings: int = setting(5_000_000, "at most so many: 28 hours at 50 Hz", Range(1, None, "a number of readings"))
    megabytes: float = setting(256.0, "at most so large, and 2 MB of log beside it", Range(0.1, 1_000_000, "megabytes"))
    key: Secret = setting(
        "",
        "a file of at least 32 random bytes, absolute or in `$CREDENTIALS_DIRECTORY`: encrypts all (ChaCha20-Poly1305)",
        stands_for="not encrypted",
    )

    def __post_init__(self) -> None:
        check_keys(self, "buffer")


@dataclass(frozen=True, slots=True)
class AgentTrainSection(sections.TrainSection):
    """``[train]``: how, and when it is enough."""

    engine: str = setting(
        AUTO,
        "`none`: no training, only summaries; `auto`: TFLite where it is installed and fits, with differential privacy "
        "only for convolutions, else NumPy",
        choices=ENGINES,
    )


@dataclass(frozen=True, slots=True)
class InferenceSection:
    """``[inference]``: what is an anomaly."""

    percentile: float = setting(
        99.0,
        "that share of what is held out is normal; of windows like them, the rest raises a false alarm",
        Range(50, MAX_PERCENTILE),
    )

    def __post_init__(self) -> None:
        check_keys(self, "inference")


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
