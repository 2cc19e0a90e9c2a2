"""``[source]`` and ``[sources.NAME]``: one source of samples in the configuration."""

from dataclasses import MISSING, dataclass, fields, replace

from learnae.adapters.mqtt.topic_filters import check_single
from learnae.config.keys import Range, about, check_keys, setting
from learnae.config.places import Place, Secret
from learnae.config.sections import HOLDOUT, MqttSection, check_client_id
from learnae.errors import ConfigurationError
from learnae.samples.columns import Columns

REPLAY, BRIDGE, MQTT, IIO, HWMON = KINDS = ("replay", "bridge", "mqtt", "iio", "hwmon")
LIVE = (BRIDGE, MQTT, IIO, HWMON)
POLLED = (IIO, HWMON)
# What reads them is in agent.sources.payloads and firmware_bridge.senml.numbers, for sources of that kind alone
PAYLOADS, DECIMALS = ("json", "zigbee2mqtt", "tasmota", "senml"), (",", ".")
TOPICS = {"zigbee2mqtt": "zigbee2mqtt/{}", "tasmota": "tele/{}/SENSOR"}  # where a device of that name publishes
_MAX_SPEED = 1e9  # times real time
_MAX_HOLD_SECONDS = 86_400.0
_PATH_SEPARATOR = "#"  # between topic and path: no topic name contains it (MQTT 5.0, 4.7.1)


@dataclass(frozen=True, slots=True)
class SourceSection:
    """``[source]``: where samples come from."""

    kind: str = setting(REPLAY, "what is read", choices=KINDS)
    file: Place = setting("", "the recording", only=(REPLAY,))
    speed: float = setting(1.0, "times real time", Range(0, _MAX_SPEED, "times", zero="all at once"), only=(REPLAY,))
    holdout: float = setting(
        0.3,
        "share that is never trained on: the last of each label in a recording, else whole slices of time",
        HOLDOUT,
    )
    socket: Place = setting(
        "",
        "where the firmware bridge listens",
        only=(BRIDGE,),
        stands_for="where the bridge of this service's name does, or one started by hand",
    )
    topic: str = setting("", "where the device speaks", only=(MQTT,))
    device: str = setting(
        "",
        "with `mqtt` its name, for the payloads `zigbee2mqtt` and `tasmota`; with `iio` its name, label, directory "
        "(`iio:device0`) or place",
        only=(MQTT, IIO),
        stands_for="with `iio` the one that has all channels",
    )
    payload: str = setting("json", "what the device sends", choices=PAYLOADS, only=(MQTT,))
    decimal: str = setting(
        "",
        "what stands before the decimals of numbers in text",
        choices=("", *DECIMALS),
        only=(MQTT,),
        stands_for="a text with a comma is refused",
    )
    label_topic: str = setting("", "where it is said what is being measured", only=(MQTT,))
    broker: str = setting(
        "", "another broker, written as that of `[mqtt]`", only=(MQTT,), stands_for="that of `[mqtt]` with all its keys"
    )
    user: str = setting("", "for `broker`", only=(MQTT,))
    password_file: Secret = setting("", "for `broker`", only=(MQTT,))
    ca_file: Secret = setting("", "for `broker`", only=(MQTT,), stands_for="what the system trusts")
    plain: bool = setting(False, "`true`: the password may go to `broker` without TLS, without a warning", only=(MQTT,))
    client_id: str = setting(
        "",
        "what the source calls itself there",
        only=(MQTT,),
        stands_for="that of `[mqtt]`, else the peer's, with `-` and the source's name",
    )
    root: Place = setting("", "another place than `/sys`", only=POLLED)
    channels: dict[str, str] = setting({}, "the swarm's channel = the source's name, where that is another", only=LIVE)
    hold: float = setting(
        0.0,
        "seconds for which a reading stands",
        Range(0, _MAX_HOLD_SECONDS, "seconds", zero="ten periods of the swarm's rate"),
        only=LIVE,
    )
    label: str = setting("label", "its column of labels", only=(REPLAY,))
    time: str | bool = setting(
        "", "its column of times; `false`: none", only=(REPLAY,), stands_for="the one that looks like it"
    )
    time_unit: str = setting(
        "",
        "`s`, `ms`, `us`, `ns`, `min`, `h`, `d` or `samples`",
        only=(REPLAY,),
        stands_for="the one that fits the swarm's rate",
    )

    def __post_init__(self) -> None:
        check_keys(self, "source")
        for name, topic in (("topic", self.topic), ("label_topic", self.label_topic)):
            if topic:
                check_single(f"source.{name}", topic)
        check_client_id("source.client_id", self.client_id)
        if not all(isinstance(name, str) for name in self.channels.values()):
            raise ConfigurationError("source.channels has a value that is no text", "name what the source calls it")
        self.columns  # noqa: B018 - checks
        self._check_keys()

    def _check_keys(self) -> None:
        for item in fields(self):
            kinds, default = about(item).only or KINDS, {} if item.default is MISSING else item.default
            if self.kind not in kinds and getattr(self, item.name) != default:
                problem = f"source.{item.name} means nothing for a source of kind {self.kind!r}"
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
        where = f"channels.{channel}" if _PATH_SEPARATOR in name else "device" if self.device else "topic"
        check_single(f"source.{where}", topic)
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
