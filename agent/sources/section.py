"""``[source]`` and ``[sources.NAME]``: one source of samples in the configuration."""

from dataclasses import MISSING, dataclass, field, fields, replace

from agent.sources.payloads import FORMATS, TOPICS
from firmware_bridge.senml.numbers import DECIMALS
from learnae.adapters.mqtt.topic_filters import check_single
from learnae.config.places import Place, Secret
from learnae.config.sections import MqttSection, check_choice, check_client_id, check_holdout
from learnae.errors import ConfigurationError
from learnae.samples.time_column import Columns

REPLAY, BRIDGE, MQTT, IIO, HWMON = KINDS = ("replay", "bridge", "mqtt", "iio", "hwmon")
LIVE = (BRIDGE, MQTT, IIO, HWMON)
POLLED = (IIO, HWMON)
_MAX_SPEED = 1e9  # times real time
_MAX_HOLD_SECONDS = 86_400.0
_PATH_SEPARATOR = "#"  # between topic and path: no topic name contains it (MQTT 5.0, 4.7.1)

# which keys mean something for which kind; those of every kind are not here
_KEYS = {
    "file": (REPLAY,),
    "label": (REPLAY,),
    "time": (REPLAY,),
    "time_unit": (REPLAY,),
    "speed": (REPLAY,),
    "socket": (BRIDGE,),
    "topic": (MQTT,),
    "device": (MQTT, IIO),
    "payload": (MQTT,),
    "decimal": (MQTT,),
    "label_topic": (MQTT,),
    "broker": (MQTT,),
    "user": (MQTT,),
    "password_file": (MQTT,),
    "plain": (MQTT,),
    "ca_file": (MQTT,),
    "client_id": (MQTT,),
    "root": POLLED,
    "channels": LIVE,
    "hold": LIVE,
}


@dataclass(frozen=True, slots=True)
class SourceSection:
    """One source of a ``kind``.

    ``replay``: the recording ``file``, its columns of ``label`` and ``time`` (empty: the one that looks like it; false:
    none), the ``time_unit`` (empty: the one that fits), at ``speed`` times real time (0: at once). ``bridge``: the
    firmware bridge's ``socket`` (empty: where it listens by default). ``mqtt``: a ``topic`` or ``device``, what its
    ``payload`` is, what stands before the ``decimal`` places of numbers in text, a ``label_topic``; at the broker of
    ``[mqtt]`` or at another ``broker``, by a ``client_id`` (empty: made of that of ``[mqtt]``). ``iio``: a ``device``
    of Linux IIO. ``hwmon``: sensors of the board itself.

    ``channels`` says, for the swarm's channels, what the source calls them, where that is another name. A
    reading stands for at most ``hold`` seconds (0: ten periods). The ``holdout`` share is never trained
    on: the last of each label in a recording, else whole slices of time.
    """

    kind: str = REPLAY
    file: Place = ""
    speed: float = 1.0
    holdout: float = 0.3
    socket: Place = ""
    topic: str = ""
    device: str = ""
    payload: str = "json"
    decimal: str = ""
    label_topic: str = ""
    broker: str = ""
    user: str = ""
    password_file: Secret = ""
    ca_file: Secret = ""
    plain: bool = False
    client_id: str = ""
    root: Place = ""
    channels: dict[str, str] = field(default_factory=dict)
    hold: float = 0.0
    label: str = "label"
    time: str | bool = ""
    time_unit: str = ""

    def __post_init__(self) -> None:
        check_choice("source.kind", self.kind, KINDS)
        check_choice("source.payload", self.payload, tuple(FORMATS))
        check_choice("source.decimal", self.decimal, ("", *DECIMALS))
        for key, topic in (("topic", self.topic), ("label_topic", self.label_topic)):
            if topic:
                check_single(f"source.{key}", topic)
        if not 0 <= self.speed <= _MAX_SPEED:
            raise ConfigurationError(f"source.speed is {self.speed}", "use 1 for real time, 0 for all at once")
        check_client_id("source.client_id", self.client_id)
        check_holdout("source", self.holdout)
        if not 0 <= self.hold <= _MAX_HOLD_SECONDS:
            raise ConfigurationError(f"source.hold is {self.hold}", "use seconds, 0 for ten periods")
        if not all(isinstance(name, str) for name in self.channels.values()):
            raise ConfigurationError("source.channels has a value that is no text", "name what the source calls it")
        self.columns  # noqa: B018 - checks
        self._check_keys()

    def _check_keys(self) -> None:
        for key in fields(self):
            kinds, default = _KEYS.get(key.name, KINDS), {} if key.default is MISSING else key.default
            if self.kind not in kinds and getattr(self, key.name) != default:
                problem = f"source.{key.name} means nothing for a source of kind {self.kind!r}"
                raise ConfigurationError(problem, f"it is for {', '.join(kinds)}")
        if self.kind == MQTT and not (self.topic or self.device or self.channels):
            raise ConfigurationError(
                "an mqtt source has no topic", "set source.topic, source.device or source.channels"
            )
        if self.kind == MQTT and self.device and self.payload not in TOPICS:
            raise ConfigurationError(
                f"source.device with payload {self.payload!r}", f"set source.topic, or payload to {' or '.join(TOPICS)}"
            )

    @property
    def columns(self) -> Columns:
        """Return what is said of a recording's columns; raises ConfigurationError."""
        return Columns(self.label, self.time, self.time_unit)

    @property
    def is_set(self) -> bool:
        """Return True if the section names a source: a recording has a file."""
        return self.kind != REPLAY or bool(self.file)

    def name_of(self, channel: str) -> str:
        """Return what the source calls a channel of the swarm."""
        return self.channels.get(channel, "" if self.kind == HWMON and not self.channels else channel)

    def topic_of(self, channel: str) -> tuple[str, str]:
        """Return topic and path of a channel; raises ConfigurationError if it has no topic."""
        default = TOPICS[self.payload].format(self.device) if self.device else self.topic
        name = self.channels.get(channel, channel)
        topic, _, path = name.partition(_PATH_SEPARATOR) if _PATH_SEPARATOR in name else (default, "", name)
        if not topic:
            raise ConfigurationError(
                f"channel {channel!r} has no topic of its own", "set source.topic, or channels.NAME to TOPIC#PATH"
            )
        if _PATH_SEPARATOR in name and (topic.endswith("/") or path.startswith(_PATH_SEPARATOR)):
            raise ConfigurationError(
                f"source.channels.{channel} is {name!r}, which may be the filter {topic}# or the topic {topic!r}",
                "a channel has one topic: name it without #, or set source.topic if its name ends in a slash",
            )
        key = f"channels.{channel}" if _PATH_SEPARATOR in name else "device" if self.device else "topic"
        check_single(f"source.{key}", topic)
        return topic, path

    def mqtt(self, shared: MqttSection) -> MqttSection:
        """Return where its broker is; raises ConfigurationError if neither section names one."""
        if not self.broker:
            if not shared.broker:
                raise ConfigurationError("an mqtt source has no broker", "set mqtt.broker or source.broker")
            return shared
        if self.password_file and not self.user:
            raise ConfigurationError("source.password_file is set and no user", "set source.user")
        try:
            own = MqttSection(self.broker, self.user, "", self.password_file, self.ca_file)
        except ConfigurationError as error:
            problem = error.problem.replace("mqtt.broker is", "source.broker is")
            raise ConfigurationError(problem, error.remedy) from error
        return replace(own, keep_alive=shared.keep_alive, plain=self.plain)

    def client_id_at(self, shared: MqttSection, peer: str, name: str) -> str:
        """Return what the source ``name`` of ``peer`` calls itself at its broker; empty if there is no name to take."""
        base = shared.client_id or peer
        return self.client_id or (f"{base}-{name}" if base else "")

    def check_channels(self, known: tuple[str, ...]) -> None:
        """Raise ConfigurationError if it names a channel that the swarm does not have."""
        unknown = [name for name in self.channels if name not in known]
        if unknown:
            raise ConfigurationError(
                f"source.channels names {', '.join(unknown)}", f"the swarm's channels are {', '.join(known)}"
            )
        if self.kind == HWMON and len(known) > 1:
            absent = [name for name in known if name not in self.channels]
            if absent:
                raise ConfigurationError(
                    f"source.channels does not say which sensor {', '.join(absent)} is", "name one for each channel"
                )
