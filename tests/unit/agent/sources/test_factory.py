"""From a section of the configuration to a source: what is mapped to what, and which mistakes are named."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.client import topic_matches_sub

from agent.labels import LabelNames
from agent.sources.factory import opener
from agent.sources.section import SourceSection
from learnae.adapters.mqtt.topic_filters import topic_of
from learnae.config.sections import MqttSection
from learnae.errors import ConfigurationError
from learnae.swarm.features import WindowStatistics

NAMES = LabelNames(("idle", "busy"), 2)


def features(*channels: str) -> WindowStatistics:
    count = 5 * len(channels)
    return WindowStatistics(channels, 10.0, 10, 5, (0.0,) * count, (1.0,) * count)


@pytest.mark.parametrize(
    ("settings", "channel", "expected"),
    [
        ({"topic": "a/b"}, "x", ("a/b", "x")),
        ({"topic": "a/b", "channels": {"x": "data.x"}}, "x", ("a/b", "data.x")),
        ({"topic": "a/b", "channels": {"x": "c#data.x"}}, "x", ("c", "data.x")),
        ({"channels": {"x": "c/d#"}}, "x", ("c/d", "")),
        ({"topic": "$share/g/a/b"}, "x", ("$share/g/a/b", "x")),
        ({"channels": {"x": "$share/g/c#x"}}, "x", ("$share/g/c", "x")),
        ({"topic": "$SYS/broker/uptime", "channels": {"x": "$SYS/broker/uptime#"}}, "x", ("$SYS/broker/uptime", "")),
        ({"payload": "zigbee2mqtt", "device": "kitchen"}, "temperature", ("zigbee2mqtt/kitchen", "temperature")),
        ({"payload": "tasmota", "device": "plug"}, "Power", ("tele/plug/SENSOR", "Power")),
        ({"payload": "senml", "topic": "s", "channels": {"x": "urn:dev:1:x"}}, "x", ("s", "urn:dev:1:x")),
    ],
)
def test_where_a_channel_comes_from(settings: dict, channel: str, expected: tuple[str, str]) -> None:
    assert SourceSection(kind="mqtt", **settings).topic_of(channel) == expected


def test_a_channel_without_a_topic_is_named() -> None:
    section = SourceSection(kind="mqtt", channels={"x": "a#x"})
    with pytest.raises(ConfigurationError, match="'y' has no topic"):
        section.topic_of("y")


levels = st.lists(
    st.sampled_from(["", "a", "+", "#", "a+", "b#", "$SYS", "$share", "$queue", "g", "ü", "\0"]), min_size=1, max_size=5
)


@given(levels, levels.map("/".join))
def test_a_topic_filter_brings_its_one_topic_or_is_refused(words: list[str], other: str) -> None:
    """By the rule of MQTT, as a client library applies it to a filter without its share."""
    topic_filter = "/".join(words)
    if not topic_filter:
        return
    is_shared = words[0] == "$share" and len(words) > 2 and words[1] not in ("", "+", "#", "a+", "b#")
    bare = "/".join(words[2:]) if is_shared else topic_filter
    is_one = bare and not any(sign in bare for sign in "+#\0") and not bare.startswith(("$share", "$queue/"))
    for key in ("topic", "label_topic"):
        settings = {"kind": "mqtt", "channels": {"x": "t#x"}, key: topic_filter}
        if not is_one:
            with pytest.raises(ConfigurationError, match=f"source.{key} is "):
                SourceSection(**settings)
            continue
        SourceSection(**settings)
        assert topic_of(topic_filter) == bare
        assert topic_matches_sub(bare, bare)
        assert topic_matches_sub(bare, other) == (bare == other)


@pytest.mark.parametrize("name", ["a/#", "a/##x", "a/+#x", "+#", "$share/g/#x", "$share/g/+#x", "$queue/a#x"])
def test_a_channels_topic_is_one_topic_too(name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"source\.channels\.x"):
        SourceSection(kind="mqtt", channels={"x": name}).topic_of("x")


@pytest.mark.parametrize(
    ("section", "words"),
    [
        (SourceSection(kind="iio", channels={"z": "in_accel_z"}), "channels names z"),
        (SourceSection(kind="hwmon"), "which sensor x, y is"),
        (SourceSection(kind="hwmon", channels={"x": "cpu"}), "which sensor y is"),
        (SourceSection(kind="mqtt", topic="a"), "no broker"),
        (SourceSection(kind="mqtt", channels={"x": "a#x"}, broker="mqtt://h"), "'y' has no topic"),
        (SourceSection(kind="mqtt", topic="a", broker="http://h"), "source.broker"),
    ],
)
def test_what_no_waiting_will_mend_is_refused_at_the_start(section: SourceSection, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        opener(section, features("x", "y"), NAMES, MqttSection())


def test_one_channel_needs_no_name_on_a_board_with_a_thermal_zone(tmp_path: Path) -> None:
    zone = tmp_path / "thermal" / "thermal_zone0"
    zone.mkdir(parents=True)
    (zone / "temp").write_text("40000\n")
    section = SourceSection(kind="hwmon", root=str(tmp_path))
    assert opener(section, features("temperature"), NAMES, MqttSection())("").read() is not None
