"""``learnae doctor`` at a real broker: what it tries, what it says of what fails, and that it leaves nothing behind."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from daemon import HOST, free_port
from mosquitto import Certificates, Mosquitto
from mqtt_rig import Inbox, Links, plain

from learnae.cli.commands.look.doctor_mqtt import mqtt_findings
from learnae.cli.output import BROKEN, MISSING, OK, Finding

pytestmark = pytest.mark.engine("mosquitto")

SWARM, PEER = "bafyswarm", "alice"
DYNAMIC_SECURITY = sorted(Path("/usr/lib").glob("*/mosquitto_dynamic_security.so"))
Examine = Callable[..., dict[str, Finding]]


@pytest.fixture
def examine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Examine]:
    """Runs it on a machine with a peer and these keys of ``[mqtt]``."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("LEARNAE_HOME", str(tmp_path / "home"))
    (tmp_path / "home" / "peers" / "agent").mkdir(parents=True)
    (tmp_path / "home" / "peers" / "agent" / "status.json").write_text(json.dumps({"swarm": SWARM, "peer": PEER}))

    def run(**keys: object) -> dict[str, Finding]:
        (tmp_path / "config" / "learnae").mkdir(parents=True, exist_ok=True)
        lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items())
        (tmp_path / "config" / "learnae" / "agent.toml").write_text(f"[mqtt]\n{lines}")
        return {finding.thing: finding for finding in mqtt_findings()}

    return run


def secured(broker: Mosquitto, certificates: Certificates) -> dict[str, str]:
    files = {name: str(certificates.directory / f"{PEER}.{end}") for name, end in CERTIFICATE_FILES}
    return {"broker": f"mqtts://localhost:{broker.tls_port}", "ca_file": str(certificates.authority), **files}


CERTIFICATE_FILES = (("cert_file", "crt"), ("key_file", "key"))


def test_without_a_broker_it_says_nothing(examine):
    assert examine(prefix="a") == {}


def test_all_is_tried_and_nothing_is_left(examine, tmp_path):
    with Mosquitto(tmp_path / "broker") as broker, Links() as links:
        inbox = Inbox(links.open(plain(broker)))
        found = examine(broker=plain(broker).broker, home_assistant=True)
        assert {thing: finding.state for thing, finding in found.items()} == {
            "MQTT broker": OK,
            "MQTT publish": OK,
            "MQTT subscribe": OK,
            "MQTT peers": OK,
            "MQTT retained": OK,
            "Home Assistant": OK,
        }
        assert f"{PEER}-doctor" in broker.log
        inbox.wait_for("homeassistant/device/learnae_doctor/config", b"")
        topics = {topic for topic, _ in inbox.heard}
        assert len(topics) == 2
        assert any(topic.startswith(f"learnae/1/{SWARM}/{PEER}/doctor/") for topic in topics)
        assert "homeassistant/device/learnae_doctor/config" in topics
        mark = links.open(plain(broker))
        mark.deliver("mark", b"", 60, retain=True)
        mark.deliver("mark", b"1", 60, retain=True)
        late = Inbox(links.open(plain(broker)))
        late.wait_for("mark", b"1")
        assert [topic for topic, _ in late.heard] == ["mark"]


@pytest.mark.parametrize(
    ("acl", "expected"),
    [
        (f"topic read learnae/1/#\ntopic write learnae/1/+/{PEER}/#", {"Home Assistant": "check its ACL"}),
        (
            "topic read learnae/1/#\ntopic write homeassistant/#",
            {"MQTT publish": "check its ACL"},
        ),
        (
            f"topic write learnae/1/+/{PEER}/#\ntopic write homeassistant/#",
            {"MQTT subscribe": "let this user read learnae/1/# in its ACL"},
        ),
    ],
)
def test_what_the_acl_refuses_is_said_with_its_remedy(examine, tmp_path, acl, expected):
    certificates = Certificates(tmp_path / "certificates", [PEER])
    with Mosquitto(tmp_path / "broker", certificates, f"user {PEER}\n{acl}\n") as broker:
        found = examine(**secured(broker, certificates), home_assistant=True)
        broken = {thing: finding.remedy for thing, finding in found.items() if finding.state != OK}
        assert broken == expected
        assert "MQTT retained" in found or "MQTT publish" in expected


def test_what_the_broker_does_not_have_is_said(examine, tmp_path):
    with Mosquitto(tmp_path / "broker", extra="retain_available false\nmax_packet_size 120") as broker:
        found = examine(broker=plain(broker).broker)
        assert "packets of 120 bytes, no retained messages" in found["MQTT broker"].detail
        assert found["MQTT retained"].state == MISSING
        assert "retain_available" in found["MQTT retained"].remedy


@pytest.mark.skipif(not DYNAMIC_SECURITY, reason="Mosquitto's plugin for dynamic security is not here")
def test_a_subscription_that_is_refused_is_said(examine, tmp_path):
    access = {"publishClientSend": True, "publishClientReceive": True, "subscribe": False, "unsubscribe": True}
    rules = tmp_path / "rules.json"
    rules.write_text(json.dumps({"defaultACLAccess": access, "clients": [], "groups": [], "roles": []}))
    rules.chmod(0o600)
    with Mosquitto(
        tmp_path / "broker", extra=f"plugin {DYNAMIC_SECURITY[0]}\nplugin_opt_config_file {rules}"
    ) as broker:
        found = examine(broker=plain(broker).broker)
        broken = {thing: finding for thing, finding in found.items() if finding.state != OK}
        assert set(broken) == {"MQTT subscribe", "MQTT peers"}
        for finding in broken.values():
            assert "Not authorized" in finding.detail
            assert finding.remedy == "check its ACL"


def test_a_broker_that_is_not_to_be_had_is_named_with_the_remedy(examine, tmp_path):
    absent = examine(broker=f"mqtt://{HOST}:{free_port()}")["MQTT broker"]
    assert (absent.state, "refused" in absent.detail, "start it" in absent.remedy) == (BROKEN, True, True)
    certificates = Certificates(tmp_path / "certificates", [PEER])
    with Mosquitto(tmp_path / "broker", certificates, extra="clientid_prefixes lab-") as broker:
        other = examine(broker=f"mqtt://localhost:{broker.tls_port}")["MQTT broker"]
        assert (other.state, "TLS is spoken there" in other.detail) == (BROKEN, True)
        assert f"use mqtts://localhost:{broker.tls_port}" in other.remedy
        named = examine(broker=plain(broker).broker)["MQTT broker"]
        assert (named.state, "mqtt.client_id" in named.remedy) == (BROKEN, True)
        assert {finding.state for finding in examine(broker=plain(broker).broker, client_id="lab-1").values()} == {OK}
    assert examine(broker="mqtt:/x")["MQTT broker"].state == BROKEN
