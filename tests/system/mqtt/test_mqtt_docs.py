"""Every command of docs/mqtt.md works as printed, its ACL as well."""

import logging
import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from daemon import HOST
from mosquitto import Certificates, Mosquitto
from mqtt_rig import Inbox, Links, plain, secure
from programs import PATIENCE, clean_environment

from learnae.adapters.mqtt.monitor.outbox import Outbox
from learnae.adapters.mqtt.monitor.publisher import MqttMonitor
from learnae.adapters.mqtt.topics import Topics
from learnae.config.loading import load_config
from learnae.ipld.cid import DAG_CBOR, Cid
from learnae.ports import Inference
from trainer_node.config import TrainerConfig

TEXT = (Path(__file__).parents[3] / "docs" / "mqtt.md").read_text()
COMMANDS = [
    line.partition("#")[0].strip()
    for block in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)
    for line in block.splitlines()
    if line.startswith("mosquitto_sub")
]
SWARM = Cid.of(DAG_CBOR, b"swarm")
STATUS = {"peer": "alice", "name": "pump", "shown": "pump", "role": "agent", "software": "0.1", "steps": 7}
EXPECTED = {
    "status": f"learnae/1/{SWARM}/alice/status online",
    "state": '"name": "pump"',
    "metrics": f"learnae/1/{SWARM}/alice/metrics application/cbor",
    "inference": '"label": "walking"',
    "log": f"learnae/1/{SWARM}/alice/log {{",
}


def channel_of(command: str) -> str:
    return re.findall(r"/(\w+)['\"]$", command)[0]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path_factory.mktemp("broker")) as running:
        yield running


@pytest.mark.engine("mosquitto", "mosquitto_sub")
@pytest.mark.parametrize("command", COMMANDS, ids=channel_of)
def test_each_line_of_mosquitto_sub_shows_what_it_says(command: str, broker: Mosquitto, tmp_path: Path) -> None:
    """As printed, but for the port of this test's broker and an end after one message."""
    here = command.replace("-h localhost", f"-h {HOST} -p {broker.port} -C 1 -W {PATIENCE:.0f}")
    assert here != command
    listener = subprocess.Popen(
        here,
        shell=True,
        env=clean_environment(SWARM=str(SWARM), PEER="alice"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with Links() as links:
        link = links.open(plain(broker))
        monitor = MqttMonitor(
            link, Topics("learnae/1", str(SWARM), "alice"), Outbox(tmp_path / "q", 99, 1 << 20), tmp_path
        )
        deadline = time.monotonic() + PATIENCE
        while listener.poll() is None and time.monotonic() < deadline:
            monitor._measured = monitor._reported = float("-inf")
            monitor.infer([Inference(1.0, "walking", 0.5)])
            monitor._log.handle(_warning())
            monitor.report(STATUS)
            time.sleep(0.1)
        monitor.close(STATUS)
    out, error = listener.communicate(timeout=PATIENCE)
    assert EXPECTED[channel_of(command)] in out, (out, error)


def _warning() -> logging.LogRecord:
    return logging.LogRecord("learnae", logging.WARNING, __file__, 1, "text", (), None)


def test_there_is_a_line_for_every_channel_of_the_monitor() -> None:
    assert {channel_of(command) for command in COMMANDS} == set(EXPECTED)


def test_the_example_configuration_is_one(tmp_path: Path) -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
    (tmp_path / "trainer.toml").write_text(example)
    section = load_config(TrainerConfig, "trainer", tmp_path / "trainer.toml").mqtt
    assert section.address().port == 8883
    names = set(re.findall(r"^(\w+) =", example, re.MULTILINE))
    assert names == {name for name in type(section).__dataclass_fields__ if name != "user_file"}
    defaults = type(section)()
    for name in names - {"broker", "ca_file", "cert_file", "key_file"}:
        assert getattr(section, name) == getattr(defaults, name), name


def test_every_block_is_tried_somewhere() -> None:
    """Configurations here and in test_dashboards, commands of our own in tests/unit/library/test_snippets.py."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
    plain = [text for language, text in blocks if not language]
    assert [text.split(maxsplit=1)[0] for text in plain] == [
        "per_listener_settings",
        "pattern",
        "[[inputs.mqtt_consumer]]",
        "[[inputs.mqtt_consumer.topic_parsing]]",
    ]
    assert sum(language == "toml" for language, _ in blocks) == 1
    lines = [line for language, text in blocks if language == "sh" for line in text.splitlines()]
    assert {line.split()[0] for line in lines} == {"learnae", "mosquitto_sub"}


class AsPrinted(Mosquitto):
    """A broker with the configuration of the page, but for ports and paths, which are this test's."""

    def __init__(self, place: Path, certificates: Certificates, acl: str) -> None:
        super().__init__(place, certificates, acl)
        (printed,) = re.findall(r"```\n(per_listener_settings.*?)```", TEXT, re.DOTALL)
        for before, here in {
            "listener 8883": f"listener {self.tls_port} {HOST}",
            "/etc/mosquitto/certs/ca.crt": str(certificates.authority),
            "/etc/mosquitto/certs": str(certificates.directory),
            "/etc/mosquitto/learnae.acl": str(place / "acl"),
        }.items():
            assert before in printed
            printed = printed.replace(before, here)
        own = f"listener {self.port} {HOST}\nallow_anonymous true\n"  # which the rig waits for
        user = "user root\n" if os.geteuid() == 0 else ""
        (place / "mosquitto.conf").write_text(f"{printed}log_dest stderr\n{user}{own}")


@pytest.mark.engine("mosquitto")
def test_the_example_broker_and_its_acl_hold_peers_to_their_names(tmp_path: Path) -> None:
    acl = re.findall(r"```\n(pattern read.*?)```", TEXT, re.DOTALL)[0].replace("<peer>", "alice")
    certificates = Certificates(tmp_path / "certificates", ["alice", "bob"])
    with AsPrinted(tmp_path / "broker", certificates, acl) as broker, Links() as links:
        alice, bob = (links.open(secure(broker, certificates, name)) for name in ("alice", "bob"))
        inbox = Inbox(alice, "learnae/1/#")
        taken: list[bool] = []
        for topic in ("learnae/1/s/alice/state", "homeassistant/device/x/config"):
            bob.publish(topic, b"forged", done=taken.append)
        bob.deliver("learnae/1/s/bob/state", b"own", PATIENCE)
        alice.deliver("homeassistant/device/x/config", b"{}", PATIENCE)
        inbox.wait_for("learnae/1/s/bob/state", b"own")
        assert taken == [False, False]
        assert [payload for _, payload in inbox.heard] == [b"own"]
