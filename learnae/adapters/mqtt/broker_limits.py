"""What a broker takes, as its CONNACK says (MQTT 5.0, 3.2.2.3), and what its reason codes mean for people."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode

_IN_FLIGHT = 20  # messages on their way at one time, of which the broker may want fewer
TOO_LARGE, NO_RETAIN, NO_QOS = 0x95, 0x9A, 0x9B  # reason codes
_LENGTH_BYTES = 3  # more that the length of a packet may take than that of an empty one
REMEDIES = {  # MQTT 5.0, 2.4
    0x80: "its log may say why",
    0x81: "is it a broker of MQTT 5, and this its port?",
    0x82: "is it a broker of MQTT 5, and this its port?",
    0x83: "its log may say why",
    0x84: "it must speak MQTT 5, as Mosquitto does from 1.6 on",
    0x85: "set mqtt.client_id to one that it takes",
    0x86: "check mqtt.user and mqtt.password_file",
    0x87: "check mqtt.user and mqtt.password_file, the certificate, mqtt.client_id, and its ACL",
    0x88: "it is tried again",
    0x89: "it is tried again",
    0x8A: "its operator has banned this client",
    0x8C: "it must take a user and a password, or a certificate",
    0x8F: "check the topic, and mqtt.prefix",
    0x90: "check the topic, and mqtt.prefix",
    TOO_LARGE: "raise its limit (Mosquitto: max_packet_size, message_size_limit)",
    0x97: "raise its quota",
    NO_RETAIN: "let it retain messages (Mosquitto: retain_available)",
    NO_QOS: "let it take QoS 1 (Mosquitto: max_qos)",
    0x9C: "set mqtt.broker to the other one",
    0x9D: "set mqtt.broker to the other one",
    0x9E: "subscribe to the topic itself, without $share",
    0x9F: "it is tried again more slowly",
    0xA2: "let it take wildcards in subscriptions",
}


def explained(code: ReasonCode, is_acl: bool = False) -> str:
    """Return a reason code in words, with the remedy; ``is_acl``: after CONNACK only the ACL is left to refuse."""
    remedy = "check its ACL" if is_acl and code.value in (0x83, 0x87) else REMEDIES.get(code.value, "")
    return f"{code}; {remedy}" if remedy else str(code)


@dataclass(frozen=True, slots=True)
class BrokerLimits:
    """``packet`` is in bytes, 0 for no limit; ``in_flight`` counts messages of QoS 1 without acknowledgement."""

    packet: int = 0
    in_flight: int = _IN_FLIGHT
    qos: int = 1
    retains: bool = True
    wildcards: bool = True
    shares: bool = True

    @classmethod
    def of(cls, properties: Properties | None) -> BrokerLimits:
        """Return what a CONNACK says; what it leaves out has no limit."""

        def said(name: str, default: int) -> int:
            return int(getattr(properties, name, default))

        return cls(
            said("MaximumPacketSize", 0),
            max(1, min(_IN_FLIGHT, said("ReceiveMaximum", _IN_FLIGHT))),
            min(1, said("MaximumQoS", 1)),
            bool(said("RetainAvailable", 1)),
            bool(said("WildcardSubscriptionAvailable", 1)),
            bool(said("SharedSubscriptionAvailable", 1)),
        )

    def why_not_publish(self, topic: str, payload: bytes, content_type: str = "") -> str:
        """Return why the broker cannot take a message; empty if it can."""
        size = packet_bytes(topic, payload, content_type)
        if not self.packet or size <= self.packet:
            return ""
        return f"it takes packets of {self.packet:,} bytes, and this one has {size:,}; {REMEDIES[TOO_LARGE]}"

    def payload_bytes(self, topic: str) -> int:
        """Return the bytes of payload that surely fit on a topic."""
        return self.packet - packet_bytes(topic, b"", "") - _LENGTH_BYTES if self.packet else sys.maxsize

    def why_not_subscribe(self, topic_filter: str) -> str:
        """Return why the broker cannot take a filter; empty if it can."""
        if not self.shares and topic_filter.startswith("$share/"):
            return f"it has no shared subscriptions; {REMEDIES[0x9E]}"
        if not self.wildcards and set("+#") & set(topic_filter):
            return f"it has no wildcards in subscriptions; {REMEDIES[0xA2]}"
        return ""

    def describe(self) -> str:
        """Return for people what is less than Learnae can use; empty if nothing is."""
        said = [f"packets of {self.packet:,} bytes"] if self.packet else []
        said += [f"{self.in_flight} messages at a time"] if self.in_flight < _IN_FLIGHT else []
        flags = (self.qos, "QoS 1"), (self.retains, "retained messages"), (self.wildcards, "wildcards")
        return ", ".join(said + [f"no {name}" for has, name in flags if not has])


def packet_bytes(topic: str, payload: bytes, content_type: str) -> int:
    """Return the size of the PUBLISH packet at QoS 1 (MQTT 5.0, 3.3), in bytes."""
    properties = 3 + len(content_type.encode()) if content_type else 0
    rest = 2 + len(topic.encode()) + 2 + _varint_bytes(properties) + properties + len(payload)
    return 1 + _varint_bytes(rest) + rest


def _varint_bytes(number: int) -> int:
    return max(1, -(-number.bit_length() // 7))
