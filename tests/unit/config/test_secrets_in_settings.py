"""What people write into settings although it is secret is refused, and shown nowhere."""

import logging
from pathlib import Path

import pytest
from programs import Programs

from learnae.adapters.iota.node import Node
from learnae.adapters.ipfs.gateway import GatewayExchange
from learnae.adapters.mqtt.client import _warned, make_client
from learnae.config.loading import load_config
from learnae.config.sections import GatewaySection, IotaSection, MqttSection
from learnae.errors import BlockMissingError, ConfigurationError, TransportError
from learnae.ipld.cid import RAW, Cid
from learnae.runtime.links.connect import connect_gateways
from trainer_node.config import TrainerConfig

SECRETS = ("hunter2", "hun/ter2", "hun@ter2", "hun#ter2", "hun?ter2", "hun:ter2", "hun ter2")
FORMS = {
    "mqtt.broker": (
        "mqtt://me:{}@host",
        "MQTT://me:{}@host:1883",
        "me:{}@host",
        "mqtt://:{}@host",
        "http://me:{}@host",
    ),
    "ipfs.gateways": ("http://me:{}@host:8080", "http://host/?token={}", "http://host/#{}", "//me:{}@host"),
    "ipfs.api": ("http://me:{}@host:5001", "me:{}@host"),
    "ipfs.connect": ("http://me:{}@host",),
    "iota.node": ("http://me:{}@host:14265", "https://host?key={}"),
    "iota.events": ("tcp://me:{}@host:5556", "zmq://me:{}@host"),
}
CASES = [(key, form.format(secret)) for key, forms in FORMS.items() for form in forms for secret in SECRETS]


@pytest.mark.parametrize(("key", "url"), CASES)
def test_a_secret_in_a_url_is_refused_and_not_repeated(tmp_path: Path, key: str, url: str) -> None:
    section, name = key.split(".")
    file = tmp_path / "trainer.toml"
    file.write_text(f'[{section}]\n{name} = "{url}"\n')
    with pytest.raises(ConfigurationError) as from_file:
        load_config(TrainerConfig, "trainer", file, environment={})
    with pytest.raises(ConfigurationError) as from_environment:
        load_config(TrainerConfig, "trainer", environment={f"LEARNAE_{section}__{name}".upper(): url})
    for caught in (from_file, from_environment):
        assert key in str(caught.value)
        assert "hun" not in str(caught.value)
        assert "ter2" not in str(caught.value)


def test_a_password_where_a_file_or_a_port_belongs_is_not_repeated(tmp_path: Path) -> None:
    file = tmp_path / "trainer.toml"
    for text in (
        "[mqtt]\npassword_file = 7355608\n",
        '[mqtt]\nbroker = "mqtt://me:hunter2"\n',
        '[mqtt]\nport = ["mqtt://me:hunter2@h"]\n',
    ):
        file.write_text(text)
        with pytest.raises(ConfigurationError) as caught:
            load_config(TrainerConfig, "trainer", file, environment={})
        assert not {"7355608", "hunter2"} & set(str(caught.value).replace("@", "'").replace(":", "'").split("'"))


def test_programs_show_no_secret_either(programs: Programs, tmp_path: Path) -> None:
    file = tmp_path / "config" / "learnae" / "trainer.toml"
    file.parent.mkdir(parents=True)
    file.write_text(
        '[mqtt]\nbroker = "mqtt://me:hunter2@h"\n[ipfs]\ngateways = "http://a:hunter2@h"\n[iota]\nnode = "http://a:hunter2@h"\n'
    )
    environment = {"XDG_CONFIG_HOME": str(tmp_path / "config")}
    for command in (
        ("learnae", "doctor", "--json"),
        ("learnae", "watch", "--broker", "mqtt://me:hunter2@host"),
        ("trainer_node", "start", "--verbose", "--config", str(file)),
    ):
        done = programs.run(*command, environment=environment)
        assert "hunter2" not in done.stdout + done.stderr
        assert "…@h" in done.stdout + done.stderr or "\\u2026@h" in done.stdout


def test_a_token_in_a_path_is_in_no_status_and_no_error(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    section = GatewaySection("http://127.0.0.1:9/hunter2 http://127.0.0.1:9/hunter3 http://127.0.0.1:9", 0.5)
    links = connect_gateways(section)
    assert list(links.exchanges) == [
        "gateway http://127.0.0.1:9/…", "gateway http://127.0.0.1:9/… 2", "gateway http://127.0.0.1:9"
    ]  # fmt: skip
    said = []
    for use in (
        lambda: GatewayExchange(section.gateway_urls[0], 0.5).fetch(Cid.of(RAW, b"x")),
        lambda: Node.from_section(IotaSection("http://127.0.0.1:9/hunter2")).info(),
    ):
        with pytest.raises((BlockMissingError, TransportError)) as caught:
            use()
        said.append(str(caught.value))
    assert "hunter" not in "".join(said) + caplog.text


@pytest.mark.modules("paho")
def test_a_password_without_tls_to_another_machine_is_warned_of_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _warned.clear()
    secret = tmp_path / "password"
    secret.write_text("hunter2\n")
    for broker in (
        "mqtt://192.0.2.7",
        "ws://192.0.2.7",
        "mqtt://192.0.2.7",
        "mqtt://localhost",
        "mqtt://127.0.0.1",
        "ws://[::1]",
    ):
        make_client(MqttSection(broker, "me", password_file=str(secret)), "", None)
    make_client(MqttSection("mqtt://192.0.2.8", "me", password_file=str(secret), plain=True), "", None)
    make_client(MqttSection("mqtts://192.0.2.8", "me", password_file=str(secret)), "", None)
    make_client(MqttSection("mqtt://192.0.2.8", "me"), "", None)
    assert [line.count("192.0.2.7 without TLS") for line in caplog.messages] == [1, 1], "once for each port"
    assert "plain = true" in caplog.messages[0]
    assert "hunter2" not in caplog.text
