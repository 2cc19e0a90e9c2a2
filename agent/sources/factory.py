"""From a section of the configuration to a source: the one list of kinds."""

from pathlib import Path
from typing import TYPE_CHECKING

from agent.labels import LabelNames
from agent.sources.live import LiveSource, Open
from agent.sources.resampling import Resampler
from agent.sources.section import BRIDGE, HWMON, IIO, MQTT, SourceSection
from learnae.config.sections import MqttSection
from learnae.swarm.features import Features
from learnae.swarm.manifest import Manifest

if TYPE_CHECKING:
    from agent.sources.replay import ReplaySource


def replay(section: SourceSection, features: Features, manifest: Manifest) -> "ReplaySource":
    """Return the recording of a section; raises DataError. Live sources need none of what reads files."""
    from agent.sources.replay import ReplaySource  # noqa: PLC0415
    from learnae.samples.recordings import label_kind  # noqa: PLC0415

    path, columns, labels = Path(section.file), section.columns, label_kind(manifest)
    return ReplaySource(path, features, section.speed, section.holdout, columns=columns, labels=labels)


def opener(
    section: SourceSection, features: Features, names: LabelNames, mqtt: MqttSection, client_id: str = ""
) -> Open:
    """Return a function that opens a live source; raises ConfigurationError for what no waiting will mend.

    ``client_id`` is what it calls itself at a broker. The modules of a kind are imported only where it is used.
    """
    section.check_channels(features.channels)
    channels = [section.name_of(channel) for channel in features.channels]
    if section.kind == HWMON:
        from agent.sources import hwmon  # noqa: PLC0415

        sysfs = Path(section.root or hwmon.ROOT)
        return lambda position: hwmon.open_hwmon(sysfs, channels, features.rate, section.hold, position)
    if section.kind == IIO:
        from agent.sources import iio  # noqa: PLC0415

        root = Path(section.root or iio.ROOT)
        return lambda position: iio.open_iio(root, section.device, channels, features.rate, section.hold, position)
    if section.kind == BRIDGE:
        from agent.sources.bridge import BridgeSource  # noqa: PLC0415
        from firmware_bridge.config import default_socket  # noqa: PLC0415

        socket = Path(section.socket) if section.socket else default_socket()
        return lambda position: BridgeSource(socket, channels, features.rate, section.hold, names.number, position)
    assert section.kind == MQTT
    return _mqtt_opener(section, features, names, section.mqtt(mqtt), client_id)


def _mqtt_opener(
    section: SourceSection, features: Features, names: LabelNames, broker: MqttSection, client_id: str
) -> Open:
    from agent.sources.mqtt import MqttSource  # noqa: PLC0415
    from agent.sources.payloads import Channel  # noqa: PLC0415
    from learnae.adapters.mqtt.connection import MqttConnection  # noqa: PLC0415 - an extra

    paths = [section.topic_of(channel) for channel in features.channels]

    def open_mqtt(position: str) -> LiveSource:
        channels = [(topic, Channel(section.payload, path, section.decimal)) for topic, path in paths]
        return MqttSource(
            MqttConnection(broker, client_id),
            channels,
            section.payload,
            section.label_topic,
            names.number,
            Resampler(len(paths), features.rate, section.hold),
            after=position,
        )

    return open_mqtt
