"""A paho-mqtt 2 client for a configuration. paho is an extra and is imported when it is needed."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from learnae.basics.overriding import override
from learnae.config.sections import MqttAddress, MqttSection, is_own_machine
from learnae.errors import ConfigurationError
from learnae.system.credentials import read_credential
from learnae.system.installation import how_to_install
from learnae.system.lazy_imports import waits, without

if TYPE_CHECKING:
    from paho.mqtt.client import Client
    from paho.mqtt.properties import Properties

_PACKET_BYTES = 2 << 20  # the broker sends nothing larger: a block of 1 MiB and its envelope fit
# Mosquitto looks for silent clients every five seconds: told so much less, it speaks the last will within 1.5 times
# what the user has set
_LOOK_SECONDS = 4
_log = logging.getLogger(__name__)
_warned: set[MqttAddress] = set()


@dataclass(frozen=True, slots=True)
class Will:
    """The message that the broker publishes at QoS 1, retained, when this process is gone without a farewell."""

    topic: str
    payload: bytes


class LastError(logging.Handler):
    """Remembers the newest error in paho's log: why the socket failed, which its callbacks do not tell."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.last = ""
        self.logger = logging.Logger("paho", logging.ERROR)  # outside the tree: no other handler gets it
        self.logger.addHandler(self)

    @override
    def emit(self, record: logging.LogRecord) -> None:
        said = record.getMessage()
        self.last = said.removeprefix("failed to receive on socket: ")[:200]


def make_client(section: MqttSection, client_id: str, will: Will | None) -> tuple[Client, LastError]:
    """Return an MQTT 5 client that knows where to connect and has not yet; raises ConfigurationError."""
    address = section.address()
    try:
        paho = _paho(address.tls)
        from paho.mqtt.enums import CallbackAPIVersion  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise ConfigurationError("paho-mqtt is not installed", how_to_install("agent")) from error
    way = "websockets" if address.path else "tcp"
    client: Client = paho.Client(CallbackAPIVersion.VERSION2, client_id, protocol=paho.MQTTv5, transport=way)
    if address.path:
        client.ws_set_options(address.path)
    errors = LastError()
    client.enable_logger(errors.logger)
    client.on_socket_register_write = lambda *_: None  # else paho would write in the thread that publishes
    _authenticate(client, section)
    if will:
        client.will_set(will.topic, will.payload, qos=1, retain=True)
    limits = _properties("CONNECT")
    limits.MaximumPacketSize = _PACKET_BYTES
    keep_alive = max(1, section.keep_alive - _LOOK_SECONDS)
    client.connect_async(address.host, address.port, keep_alive, clean_start=True, properties=limits)
    return client, errors


def publish_properties(content_type: str) -> Properties | None:
    """Return the MQTT 5 properties of a message, None without any."""
    if not content_type:
        return None
    properties = _properties("PUBLISH")
    properties.ContentType = content_type
    return properties


class _NoTls:
    """Stands for the module ``ssl`` in a paho without it: no exception is one of TLS."""

    SSLWantReadError = SSLWantWriteError = ()


def _paho(tls: bool) -> Any:
    """Import paho's client with as little else as possible.

    It would load dnspython, for SRV records, only because it is there: 4 MB of a board's memory. Where urllib
    waits (in agents), OpenSSL is left aside unless there is ``tls``: 5 MB; elsewhere urllib needs it itself.
    """
    if tls:
        import ssl  # noqa: PLC0415 - only then
    with without("dns", *(["ssl"] if waits("urllib.request") else [])):
        from paho.mqtt import client  # noqa: PLC0415 - an extra
    paho: Any = client
    if tls:
        paho.ssl = ssl
    elif paho.ssl is None:
        paho.ssl = _NoTls
    return paho


def _properties(packet: str) -> Any:
    from paho.mqtt.packettypes import PacketTypes  # noqa: PLC0415 - an extra
    from paho.mqtt.properties import Properties  # noqa: PLC0415 - an extra

    return Properties(getattr(PacketTypes, packet))  # type: ignore[no-untyped-call]


def _warn_of_plain(address: MqttAddress) -> None:
    """Say once that a password goes over the network for all to read."""
    if address.tls or is_own_machine(address.host) or address in _warned:
        return
    _warned.add(address)
    remedy = "use mqtts:// or wss://, or plain = true if that is meant"
    _log.warning("mqtt: the password goes to %s without TLS, for all on the way to read: %s", address.host, remedy)


def _authenticate(client: Client, section: MqttSection) -> None:
    user = read_credential(section.user_file, "mqtt.user_file") if section.user_file else section.user
    password = read_credential(section.password_file, "mqtt.password_file") if section.password_file else None
    if user:
        client.username_pw_set(user, password)
    if password and not section.plain:
        _warn_of_plain(section.address())
    if section.address().tls:
        from learnae.adapters.tls import RenewedContext  # noqa: PLC0415 - only then

        try:
            context: Any = RenewedContext(section.ca_file, section.cert_file, section.key_file)
            client.tls_set_context(context)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            raise ConfigurationError(f"mqtt: {error}", "check ca_file, cert_file and key_file") from error
