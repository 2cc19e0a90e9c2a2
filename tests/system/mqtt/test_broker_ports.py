"""A broker's ports of every kind, reached by every scheme; and ports of other services. Each mistake is named."""

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from daemon import HOST, free_port
from mosquitto import Certificates, Mosquitto
from mqtt_rig import Inbox
from programs import wait_for

from agent.sources.section import SourceSection
from learnae.config.sections import MqttSection
from learnae.errors import ConfigurationError

pytestmark = pytest.mark.engine("mosquitto")

SCHEMES = ("mqtt", "mqtts", "ws", "wss")


class Ports:
    """A broker that listens with every scheme."""

    def __init__(self, directory: Path) -> None:
        self.certificates = Certificates(directory / "certificates")
        self.ports = {scheme: free_port() for scheme in SCHEMES[1:]}
        lines = []
        for scheme, port in self.ports.items():
            lines += [f"listener {port} {HOST}", "allow_anonymous true"]
            lines += ["protocol websockets"] * scheme.startswith("ws")
            if scheme != "ws":
                certificate = self.certificates.directory / "server"
                lines += [f"certfile {certificate}.crt", f"keyfile {certificate}.key"]
        self.broker = Mosquitto(directory / "broker", extra="\n".join(lines))
        self.ports["mqtt"] = self.broker.port

    def section(self, said: str, spoken: str, **changes: str) -> MqttSection:
        """The scheme ``said`` at the port where ``spoken`` is."""
        trust = {"ca_file": str(self.certificates.authority)} if said in ("mqtts", "wss") else {}
        return MqttSection(broker=f"{said}://localhost:{self.ports[spoken]}", **trust, **changes)


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ports]:
    made = Ports(tmp_path_factory.mktemp("ports"))
    with made.broker:
        yield made


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_scheme_carries_messages(ports, links, scheme):
    link = links.open(ports.section(scheme, scheme))
    own, other = Inbox(link, "own"), Inbox(links.open(ports.section("mqtt", "mqtt")), "other")
    for size in (1, 200, 70_000):  # three lengths of a websocket's frame; a large one is slow from Mosquitto to here
        payload = bytes(range(256)) * (size // 256) + bytes(size % 256)
        link.deliver("other", payload, 60)
        other.wait_for("other", payload)
        link.deliver("own", payload[:5000], 60)
        own.wait_for("own", payload[:5000])


@pytest.mark.parametrize(
    ("said", "spoken"), [(said, spoken) for said in SCHEMES for spoken in SCHEMES if said != spoken]
)
def test_a_port_of_another_kind_is_named_with_what_to_write(ports, links, said, spoken):
    link = links.open(ports.section(said, spoken), wait=False)
    wait_for(lambda: "; use " in link.state(), link.state)
    # without TLS nothing can be seen inside it: then what was said decides
    right = spoken if spoken in ("mqtt", "ws") or said in ("mqtts", "wss") else {"mqtt": "mqtts", "ws": "wss"}[said]
    path = "/mqtt" if said.startswith("ws") and right.startswith("ws") else ""
    assert f"use {right}://localhost:{ports.ports[spoken]}{path} as mqtt.broker" in link.state()


@pytest.mark.parametrize(
    ("says", "words"),
    [
        (b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", "SSH answers there"),
        (b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", "a web server ('HTTP/1.1 400 Bad Request') answers"),
        (b"220 mail.example.org ESMTP\r\n", "a mail or FTP server answers"),
        (b"AMQP\x00\x00\x09\x01", "AMQP, which is not MQTT, answers"),
        (b"-ERR unknown command\r\n", "Redis answers"),
        (b"\x00\x01\xff\xfewhat", r"something that says b'\x00\x01\xff\xfewhat' answers"),
        (b"\x20\x02\x00\x01", "it refuses us: Unsupported protocol version; it must speak MQTT 5"),
        (b"\x20\x03\x00\xee\x00", "Protocol error; is it a broker of MQTT 5"),
        (b"\xf0" * 300, "something that says"),
        (b"\x20\x7f" + b"\xff" * 127, "Protocol error; is it a broker of MQTT 5"),
    ],
)
@pytest.mark.parametrize("scheme", ["mqtt", "mqtts", "ws"])
def test_what_is_no_broker_is_named(links, says, words, scheme):
    if scheme != "mqtt" and says[:1] == b"\x20":  # inside TLS or websockets it never comes so far
        words = "MQTT is spoken there without TLS; use mqtt://"
    with socket.create_server((HOST, 0)) as server:
        threading.Thread(target=answer_all, args=(server, says), daemon=True).start()
        link = links.open(
            MqttSection(broker=f"{scheme}://{HOST}:{server.getsockname()[1]}"), wait=False, connect_seconds=1.0
        )
        wait_for(lambda: words in link.state(), link.state)
        assert link._thread.is_alive()


def answer_all(server: socket.socket, says: bytes) -> None:
    with suppress(OSError):
        while True:
            link, _ = server.accept()
            link.sendall(says)
            threading.Timer(0.5, link.close).start()


def test_a_port_that_only_hangs_up_keeps_its_own_reason(links):
    with socket.create_server((HOST, 0)) as server:
        threading.Thread(target=answer_all, args=(server, b""), daemon=True).start()
        link = links.open(MqttSection(broker=f"mqtt://{HOST}:{server.getsockname()[1]}"), wait=False)
        wait_for(lambda: not link.state().endswith("connecting"), link.state)
        assert re.search("(lost|gone|reset).*; its log may say why", link.state()), link.state()


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("ws://h", ("h", 80, False, "/mqtt")),
        ("wss://h", ("h", 443, True, "/mqtt")),
        ("wss://h:8084/a/b", ("h", 8084, True, "/a/b")),
        ("ws://[::1]:9001/", ("::1", 9001, False, "/")),
        ("mqtt://h/", ("h", 1883, False, "")),
        ("mqtts://h", ("h", 8883, True, "")),
    ],
)
def test_addresses_of_every_scheme(url, address):
    found = MqttSection(broker=url).address()
    assert (found.host, found.port, found.tls, found.path) == address


@pytest.mark.parametrize(
    "url",
    [
        *(
            "mqtt://h/path",
            "ws://h/a b",
            "ws://h/a?b",
            "ws://u:sesame@h",
            "mqtt://sesame@h",
            "tcp://h",
            "h:1883",
            "ws:h",
        ),
        *("mqtt://h ", "mqtt:// h", "mqtt://h\n", "mqtt://h\t:1883", "mqtt://h,i", "mqtt://\u200bh", "mqtt://h;i"),
    ],
)
def test_addresses_that_cannot_be_meant(url):
    with pytest.raises(ConfigurationError, match=r"mqtt.broker is .*; use mqtt://HOST\[:PORT\], mqtts://"):
        MqttSection(broker=url)
    section = SourceSection(kind="mqtt", topic="t", broker=url)
    with pytest.raises(ConfigurationError, match=r"source.broker is .*; use mqtt://HOST\[:PORT\], mqtts://") as caught:
        section.mqtt(MqttSection())
    assert "sesame" not in str(caught.value)


def test_certificates_without_tls_are_refused_with_the_scheme_to_write():
    with pytest.raises(ConfigurationError, match="use wss://"):
        MqttSection(broker="ws://h", ca_file="a")


@pytest.mark.parametrize("text", ["site/a", "site/a/", "/site/a", "//site/a//"])
@pytest.mark.parametrize("key", ["prefix", "home_assistant_prefix"])
def test_slashes_around_a_prefix_make_no_difference(key, text):
    assert getattr(MqttSection(**{key: text}), key) == "site/a"


def test_one_prefix_in_two_forms_of_unicode_is_one():
    assert MqttSection(prefix="bu\u0308ro").prefix == MqttSection(prefix="b\u00fcro").prefix


@pytest.mark.parametrize(
    "text", ["", "/", "a//b", "a/#", "+/a", "/$SYS", "$share/a/b", "a /b", " a", "a\n", "a\0", "a" * 1025]
)
@pytest.mark.parametrize("key", ["prefix", "home_assistant_prefix"])
def test_a_prefix_that_cannot_be_meant_is_refused(key, text):
    with pytest.raises(ConfigurationError, match=rf"mqtt.{key} is .*; use words with one / between them"):
        MqttSection(**{key: text})
