"""Sensors over a real broker: topics, payloads, labels, floods, and a broker that goes and comes back."""

import json
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from daemon import HOST
from mosquitto import Mosquitto
from mqtt_rig import Links, plain, wait_for_subscriptions
from programs import wait_for

from agent.labels import LabelNames
from agent.sources.factory import opener
from agent.sources.mqtt import MqttSource
from agent.sources.section import SourceSection
from learnae.adapters.mqtt.connection import MqttConnection
from learnae.config.sections import MqttSection
from learnae.ports import Samples
from learnae.swarm.features import WindowStatistics

pytestmark = pytest.mark.engine("mosquitto")

RATE = 20.0
FEATURES = WindowStatistics(("temperature", "humidity"), RATE, 10, 5, (0.0,) * 10, (1.0,) * 10)
NAMES = LabelNames(("idle", "busy"), 2)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path / "broker") as running:
        yield running


@pytest.fixture
def sensor(broker: Mosquitto) -> Iterator[MqttConnection]:
    with Links() as links:
        yield links.open(plain(broker))


class Source:
    """An open source and all it has given."""

    def __init__(self, broker: Mosquitto, settings: dict[str, Any]) -> None:
        after = settings.pop("after", "")
        section = SourceSection(kind="mqtt", broker=plain(broker).broker, hold=0.5, **settings)
        opened = opener(section, FEATURES, NAMES, MqttSection())(after)
        assert isinstance(opened, MqttSource)
        self.source = opened
        self.parts: list[Samples] = []
        wait_for_subscriptions(self.source.connection)

    def rows(self) -> np.ndarray:
        self.parts.append(self.source.read())
        return np.concatenate([part.values for part in self.parts])

    def labels(self) -> list[int]:
        self.rows()
        return np.concatenate([part.label for part in self.parts]).tolist()


@pytest.fixture
def opened(broker: Mosquitto) -> Iterator[Callable[..., Source]]:
    """Opens sources, which are closed after the test."""
    with ExitStack() as ends:

        def open_one(**settings: Any) -> Source:
            found = Source(broker, settings)
            ends.callback(found.source.close)
            return found

        yield open_one


PAYLOADS = {
    "json": ({"topic": "s/1", "channels": {"humidity": "air.h"}}, "s/1", {"temperature": 21.5, "air": {"h": 40}}),
    "zigbee2mqtt": ({"device": "kitchen"}, "zigbee2mqtt/kitchen", {"temperature": 21.5, "humidity": 40, "battery": 90}),
    "tasmota": ({"device": "plug"}, "tele/plug/SENSOR", {"Time": "x", "SI7021": {"Temperature": 21.5, "Humidity": 40}}),
    "senml": (
        {"topic": "s/2", "channels": {"temperature": "dev:t", "humidity": "dev:h"}}, "s/2",
        [{"bn": "dev:", "n": "t", "v": 21.5}, {"n": "h", "v": 40}],
    ),
}  # fmt: skip


@pytest.mark.parametrize("payload", PAYLOADS)
def test_each_kind_of_payload_gives_the_swarms_channels(sensor: MqttConnection, opened: Any, payload: str) -> None:
    settings, topic, message = PAYLOADS[payload]
    source = opened(payload=payload, **settings)
    sensor.publish(topic, json.dumps(message).encode())
    wait_for(lambda: len(source.rows()) >= 4, "readings")
    assert {tuple(row) for row in source.rows().tolist()} == {(21.5, 40.0)}
    time.sleep(0.7)
    count = len(source.rows())
    assert count <= 0.5 * RATE + 2, "a reading stands no longer than the limit"


def test_channels_of_several_topics_and_labels_of_another(sensor: MqttConnection, opened: Any) -> None:
    sensor.deliver("who", b"busy", 60, retain=True)
    sensor.deliver("t", b"1", 60, retain=True)  # of the past: not taken for a reading of now
    source = opened(channels={"temperature": "t#", "humidity": "h#value"}, label_topic="who")
    sensor.publish("h", b'{"value": 2}')
    time.sleep(0.3)
    assert len(source.rows()) == 0

    def both() -> bool:  # again and again: a reading stands no longer than the limit
        sensor.publish("t", b"3")
        sensor.publish("h", b'{"value": 2}')
        return len(source.rows()) >= 2

    wait_for(both, "readings")
    assert set(source.labels()) == {1}
    sensor.publish("who", b"nobody knows")
    wait_for(lambda: both() and source.labels()[-1] == -1, "the label to end")


@pytest.mark.parametrize("group", ["", "$share/boards/"])
def test_a_shared_subscription_brings_its_topic(sensor: MqttConnection, opened: Any, group: str) -> None:
    source = opened(topic=f"{group}lab/one", label_topic=f"{group}lab/who")

    def heard() -> bool:
        sensor.publish("lab/who", b"busy")
        sensor.publish("lab/one", b'{"temperature": 1, "humidity": 2}')
        return bool(len(source.rows()) and source.labels()[-1] == 1)

    wait_for(heard, "labelled readings")


def test_a_sensor_that_fails_is_not_replaced_by_another_also_over_a_restart(
    sensor: MqttConnection, opened: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings = {"device": "heater", "payload": "tasmota", "channels": {"humidity": "BME280.Humidity"}}
    alone = {"DS18B20": {"Temperature": 55.9}, "BME280": {"Humidity": 40}}
    other = {"BME280": {"Humidity": 41, "Temperature": 21.8}}
    source = opened(**settings)
    sensor.publish("tele/heater/SENSOR", json.dumps(alone).encode())
    wait_for(lambda: len(source.rows()), "readings")
    again = opened(after=source.source.position, **settings)
    fresh = opened(**settings)
    for message in (alone | other, other):
        sensor.publish("tele/heater/SENSOR", json.dumps(message).encode())
    sensor.publish("tele/heater/SENSOR", json.dumps(alone | {"BME280": {"Humidity": 42}}).encode())
    for each in (source, again):
        wait_for(lambda each=each: len(rows := each.rows()) and rows[-1][1] == 42, "the last message")
        assert set(each.rows()[:, 0]) == {np.float32(55.9)}
    wait_for(lambda: fresh.rows() is not None and fresh.source.bad == 3, "refusals")
    assert len(fresh.rows()) == 0
    for text in (fresh.source.state(), caplog.text):
        assert (
            "'temperature' may be BME280.Temperature, DS18B20.Temperature: name one of them in source.channels" in text
        )


def test_the_device_that_was_first_on_a_topic_is_the_one_also_after_a_restart(
    sensor: MqttConnection, opened: Any, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = ({"mac": f"A4:C1:38:00:00:0{number}", "humidity": 40 + number} for number in (1, 2))
    source = opened(topic="s")
    sensor.publish("s", json.dumps({**first, "temperature": 21}).encode())
    wait_for(lambda: len(source.rows()), "readings")
    again, renamed = opened(topic="s", after=source.source.position), opened(topic="s")
    for mine, temperature in ((second, 5), (first, 22)):
        sensor.publish("s", json.dumps({**mine, "temperature": temperature}).encode())
    for each, seen in ((source, {21, 22}), (again, {22}), (renamed, {5})):
        wait_for(lambda each=each: len(each.rows()) and each.source.bad, "both messages")
        wait_for(lambda each=each, seen=seen: set(each.rows()[:, 0]) >= seen, f"{seen}")
        assert set(each.rows()[:, 0]) == seen
    assert "give the source another name if it was replaced" in caplog.text


def test_one_field_that_is_no_number_costs_itself_and_is_said_once(
    sensor: MqttConnection, opened: Any, caplog: pytest.LogCaptureFixture
) -> None:
    source = opened(topic="s", channels={"humidity": "humid"})
    for value in (b"nan", b"-inf", b'"1,5"', b'"warm"', b"null"):
        sensor.publish("s", b'{"humid": 40, "humidity": 9, "temperature": ' + value + b"}")
    sensor.publish("s", b'{"humid": 41, "temperature": "21.5 \xb0C", "x": nan}')
    wait_for(lambda: len(source.rows()), "readings")
    assert set(map(tuple, source.rows().tolist())) == {(21.5, 41.0)}
    assert source.source.bad == 2
    assert sum("source.decimal" in text for text in caplog.messages) == 1


def test_what_is_not_understood_is_counted_and_harms_nothing(sensor: MqttConnection, opened: Any) -> None:
    source = opened(topic="s")
    for payload in (b"", b"\xff", b"{", b"[" * 60_000, b'{"temperature": "warm", "humidity": 1}', b" " * 70_000):
        sensor.publish("s", payload)
    sensor.publish("s", b'{"temperature": 1, "humidity": 2}')
    wait_for(lambda: len(source.rows()), "readings")
    assert "6 not understood" in source.source.state()


def test_a_source_that_floods_costs_the_oldest_messages(broker: Mosquitto, opened: Any) -> None:
    source = opened(topic="s")
    source.source._waiting = deque(maxlen=50)
    lines = "".join(f'{{"temperature": {index}, "humidity": 0}}\n' for index in range(5000))
    command = ["mosquitto_pub", "-h", HOST, "-p", str(broker.port), "-t", "s", "-l"]
    subprocess.run(command, input=lines, text=True, check=True, timeout=60)
    wait_for(lambda: source.source.dropped >= 4950, "drops")
    assert "4950 messages dropped" in source.source.state()
    # the newest reading is on the grid once the next point of it has passed
    wait_for(lambda: len(rows := source.rows()) and rows[-1][0] == 4999, "the newest reading")


def test_a_broker_that_goes_is_a_gap_and_comes_back(broker: Mosquitto, sensor: MqttConnection, opened: Any) -> None:
    source = opened(topic="s")

    def speak() -> bool:
        sensor.publish("s", b'{"temperature": 1, "humidity": 2}')
        time.sleep(0.05)
        return bool(len(source.source.read().time))

    wait_for(speak, "readings")
    broker.kill()
    wait_for(lambda: "away" in source.source.state(), "the source to notice")
    time.sleep(0.6)
    source.source.read()
    assert len(source.source.read().time) == 0
    broker.start()
    wait_for(speak, "readings after the outage")
