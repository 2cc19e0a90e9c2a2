"""What a broker demands and what it does not take: client ids, CONNACK limits, messages that end the connection."""

import logging
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mosquitto import Mosquitto
from mqtt_rig import Gate, Inbox, Links, plain
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties, VariableByteIntegers
from paho.mqtt.reasoncodes import ReasonCode
from programs import wait_for

from agent.labels import LabelNames
from agent.sources.factory import opener
from agent.sources.section import SourceSection
from learnae.adapters.mqtt.broker_limits import BrokerLimits, explained, packet_bytes
from learnae.adapters.mqtt.client import Will, publish_properties
from learnae.adapters.mqtt.connection import MqttConnection
from learnae.config.sections import MqttSection
from learnae.errors import ConfigurationError, TransportError
from learnae.swarm.features import RawWindow

pytestmark = pytest.mark.engine("mosquitto")


@pytest.fixture
def opened() -> Iterator[Callable[..., MqttConnection]]:
    with Links() as links:
        yield links.open


@pytest.fixture
def limited(tmp_path: Path) -> Iterator[Callable[[str], Mosquitto]]:
    """Starts a broker with more lines in its configuration."""
    brokers: list[Mosquitto] = []

    def start(lines: str) -> Mosquitto:
        brokers.append(Mosquitto(tmp_path / f"broker-{len(brokers)}", extra=lines))
        return brokers[-1].__enter__()

    yield start
    for each in brokers:
        each.__exit__(None, None, None)


def warnings(caplog: pytest.LogCaptureFixture, word: str) -> list[str]:
    said = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    return [text for text in said if word in text]


def test_every_connection_has_a_client_id_of_its_own(limited, opened):
    broker = limited("allow_zero_length_clientid false")
    features = RawWindow(("t",), 4.0, 4, 1, (0.0,), (1.0,))
    section, names = SourceSection(kind="mqtt", topic="t"), LabelNames(("a", "b"), 2)
    ids = [section.client_id_at(plain(broker), "alice", "kitchen"), "", ""]
    sources = [opener(section, features, names, plain(broker), client_id)("") for client_id in ids]
    for source in sources:
        wait_for(lambda source=source: source.state() == "connected", "the source")
    opened(plain(broker, client_id="set-by-hand"))
    used = re.findall(r"New client connected from .* as (\S+) \(p5", broker.log)
    assert {"alice-kitchen", "set-by-hand"} <= set(used)
    assert len(set(used)) == len(used) == 4
    for source in sources:
        source.close()


def test_the_client_id_of_a_source_is_its_own_key_or_begins_with_the_peers():
    def at(shared: str, own: str, peer: str = "alice") -> str:
        section = SourceSection(kind="mqtt", topic="t", client_id=own)
        return section.client_id_at(MqttSection(client_id=shared), peer, "kitchen")

    assert [at("", ""), at("pump", ""), at("pump", "own"), at("", "", "")] == [
        "alice-kitchen",
        "pump-kitchen",
        "own",
        "",
    ]
    for wrong in ("a\0", " a", "é" * 129):
        with pytest.raises(ConfigurationError, match=r"mqtt.client_id is .*; use letters"):
            MqttSection(client_id=wrong)
        with pytest.raises(ConfigurationError, match=r"source.client_id is .*; use letters"):
            at("", wrong)


def test_a_client_id_that_the_broker_does_not_take_is_named_with_the_key(limited, opened):
    broker = limited("clientid_prefixes lab-")
    link = opened(plain(broker), wait=False)
    wait_for(lambda: "refuses us" in link.state(), link.state)
    assert "mqtt.client_id" in link.state()
    opened(plain(broker, client_id="lab-1"))


def test_a_broker_of_too_small_packets_to_connect_is_named_with_its_limit(limited, opened):
    link = opened(plain(limited("max_packet_size 40")), wait=False)
    wait_for(lambda: "packets of 40 bytes" in link.state(), link.state)
    assert "max_packet_size" in link.state()


def test_what_is_too_large_is_refused_once_and_named_and_all_else_goes_on(limited, opened, caplog):
    broker = limited("max_packet_size 1000")
    inbox = Inbox(opened(plain(broker)))
    taken: list[bool] = []
    with caplog.at_level(logging.WARNING, "learnae"):
        link = opened(plain(broker))
        largest = bytes(1000 - packet_bytes("large", b"", "") - 1)  # a byte more of length
        for payload in (bytes(5000), largest + b"1", largest):
            link.publish("large", payload, done=taken.append)
        assert not link.publish("large", bytes(5000), qos=0)
        link.keep("kept", bytes(5000))
        with pytest.raises(TransportError, match="refuses deep: it takes packets of 1,000 bytes, and this one has 5,0"):
            link.deliver("deep", bytes(5000), 60)
        link.deliver("end", b"", 60)
    inbox.wait_for("end", b"")
    assert [topic for topic, _ in inbox.heard] == ["large", "end"]
    assert taken == [False, False, True]
    assert broker.log.count("New client connected") == 2, "nothing has ended a connection"
    assert len(warnings(caplog, "publishing to large")) == 1
    assert len(warnings(caplog, "max_packet_size")) == 3
    assert link.state() == "connected, 5 refused by the broker"


@given(st.text(min_size=1, max_size=300), st.binary(max_size=300), st.sampled_from(["", "application/json"]))
def test_the_size_of_a_packet_is_known_before_it_is_sent(topic, payload, content_type):
    properties = publish_properties(content_type)
    packed = b"".join(
        (
            len(topic.encode()).to_bytes(2, "big") + topic.encode() + b"\0\1",
            properties.pack() if properties else b"\0",
            payload,
        )
    )
    assert packet_bytes(topic, payload, content_type) == 1 + len(VariableByteIntegers.encode(len(packed))) + len(packed)


def test_a_message_that_ends_the_connection_is_dropped_and_named_and_holds_up_no_other(limited, opened, caplog):
    broker = limited("")
    inbox, taken = Inbox(opened(plain(broker))), []
    with Gate(broker.port, forbidden=b"bad") as gate, caplog.at_level(logging.WARNING, "learnae"):
        link = opened(gate.section())
        link.keep("kept", b"1")
        for number in range(30):
            link.publish("bad" if number == 5 else "good", b"%d" % number, done=taken.append)
        inbox.wait_for("good", b"29")
        wait_for(lambda: len(taken) == 30, "all to be settled")
        link.publish("bad", b"again", done=taken.append)  # no smaller: not tried any more
        inbox.clear()
        link.deliver("good", b"last", 60)
        inbox.wait_for("good", b"last")
        assert link.state() == "connected, 2 refused by the broker"
    assert sorted(taken) == [False] * 2 + [True] * 29
    assert [topic for topic, _ in inbox.heard] == ["good"]
    assert len(warnings(caplog, "publishing to bad: it hangs up when it gets this")) == 1


def test_a_broker_that_is_killed_again_and_again_refuses_nothing(limited, opened):
    broker, taken = limited(""), []
    link = opened(plain(broker))
    for _ in range(5):
        broker.hang()
        link.publish("x", b"1", done=taken.append)
        wait_for(lambda: link._queue._on_its_way, "it to be on its way")
        broker.kill()
        wait_for(lambda: "refused" in link.state(), "an attempt while it is away")
        broker.start()
        wait_for(lambda: link.is_connected, "it to be back")
    wait_for(lambda: taken == [True] * 5, "all to arrive")


def test_no_more_is_on_its_way_than_the_broker_wants(limited, opened):
    broker = limited("max_inflight_messages 3")
    link = opened(plain(broker))
    assert link.limits.in_flight == 3
    inbox = Inbox(opened(plain(broker)))
    broker.hang()
    for number in range(10):
        link.publish("x", b"%d" % number)
    assert len(link._queue._on_its_way) == 3
    broker.resume()
    inbox.wait_for("x", b"9")
    assert [payload for _, payload in inbox.heard] == [b"%d" % number for number in range(10)]


def test_a_broker_that_wants_shorter_silence_gets_it(limited, opened):
    broker = limited("max_keepalive 10")
    link = opened(plain(broker, keep_alive=3600))
    assert link._client.keepalive == 10


def test_a_broker_without_retained_values_and_qos_1_is_told_all_the_same(limited, opened, caplog):
    broker = limited("retain_available false\nmax_qos 0")
    inbox, taken = Inbox(opened(plain(broker))), []
    with caplog.at_level(logging.WARNING, "learnae"):
        link = opened(plain(broker), will=Will("status", b"offline"))
        link.keep("status", b"online")
        link.publish("x", b"1", retain=True, done=taken.append)
        inbox.wait_for("x", b"1")
        inbox.wait_for("status", b"online")
        wait_for(lambda: taken == [True], "it to be settled")
    assert warnings(caplog, "Retain not supported; let it retain messages")
    assert warnings(caplog, "has limits: no QoS 1, no retained messages")
    link._client.socket().shutdown(socket.SHUT_RDWR)
    inbox.wait_for("status", b"offline")


def test_filters_that_the_broker_does_not_take_are_not_asked_for():
    properties = Properties(PacketTypes.CONNACK)
    properties.WildcardSubscriptionAvailable = properties.SharedSubscriptionAvailable = 0
    limits = BrokerLimits.of(properties)
    refused = [word for word in ("a/+", "#", "a/#", "$share/g/a", "a", "$SYS/a") if limits.why_not_subscribe(word)]
    assert refused == ["a/+", "#", "a/#", "$share/g/a"]
    assert not any(BrokerLimits.of(None).why_not_subscribe(word) for word in refused)


def test_all_refusals_of_a_connection_come_with_a_remedy():
    silent = []
    for code in range(0x80, 0xA3):
        with suppress(KeyError, ValueError):  # a number that no CONNACK has
            reason = ReasonCode(PacketTypes.CONNACK, identifier=code)
            silent += [str(reason)] * ("; " not in explained(reason))
    assert not silent
