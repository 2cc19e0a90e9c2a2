"""The monitor against a real broker: what people see, and that nothing which waits is lost."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cbor2
import pytest
from mosquitto import Certificates, Mosquitto
from mqtt_rig import Gate, Inbox, Links, plain, secure
from programs import clean_environment, wait_for

from learnae.adapters.mqtt.monitor.disclosure import Disclosure, Judgement
from learnae.adapters.mqtt.monitor.outbox import Outbox
from learnae.adapters.mqtt.monitor.publisher import MqttMonitor
from learnae.adapters.mqtt.topics import Topics
from learnae.config.sections import MqttSection
from learnae.ipld.cid import DAG_CBOR, Cid
from learnae.ports import Inference

pytestmark = pytest.mark.engine("mosquitto")

SWARM = Cid.of(DAG_CBOR, b"swarm")
TOPICS = Topics("learnae/1", str(SWARM), "alice")
BASE = f"learnae/1/{SWARM}/alice"
STATUS = {
    "peer": "alice",
    "name": "pump",
    "shown": "pump",
    "role": "agent",
    "software": "0.1",
    "steps": 7,
    "loss": float("nan"),
    "accuracy": 0.5,
    "problems": {"TransportError": 2},
    "last_problems": {"TransportError": "cell '21.5' is no number"},
    "connections": {"mqtt": "connected"},
    "sources": {"pump": {"samples": 5, "error": "'21.5 C' is no number", "detail": "field t is 21.5"}},
    "unknown_labels": {"21.5": 3},
    "drift": "column 3 is 21.5 standard deviations from the mean of all",
    "resources": {"temperature": 53.731, "memory_mib": 80, "times_slower_by_heat": 4},
    "inference": {"time": 1.0, "label": None, "score": 53.731, "count": 9},
}
OUTAGE = float(os.environ.get("LEARNAE_TEST_OUTAGE", "2"))  # seconds that the broker is away


@pytest.fixture
def show(tmp_path: Path, links: Links) -> Iterator[Callable[..., MqttMonitor]]:
    """Opens the monitor of one peer; a second call is the peer's next start."""
    monitors: list[MqttMonitor] = []

    def make(section: MqttSection, wait: bool = True, rows: int = 1000, **changes: Any) -> MqttMonitor:
        queue = Outbox(tmp_path / "queue", rows, 1 << 20)
        link = links.open(section, wait=wait)
        monitors.append(MqttMonitor(link, TOPICS, queue, tmp_path, **changes))
        return monitors[-1]

    yield make
    for monitor in monitors:
        monitor.close(STATUS)


def numbered(*numbers: int) -> list[Inference]:
    return [Inference(1000.0 + number, "walking", float(number)) for number in numbers]


def scores(inbox: Inbox) -> list[int]:
    found = [json.loads(payload)["results"] for payload in inbox.payloads("inference")]
    return [int(result["score"]) for results in found for result in results]


def test_people_see_the_state_and_machines_the_metrics(broker, links, show):
    inbox = Inbox(links.open(plain(broker)))
    monitor = show(plain(broker))
    monitor.infer(numbered(1, 2))
    monitor.report(STATUS)
    state = json.loads(inbox.newest("state"))
    assert {key: state[key] for key in ("name", "steps", "loss", "accuracy")} == {
        "name": "pump",
        "steps": 7,
        "loss": None,
        "accuracy": 0.5,
    }
    assert state["inference"] == {"time": 1002.0, "label": "walking", "score": 2.0, "count": 9}
    assert state["problems"] == {"TransportError": 2}
    assert "21.5" not in inbox.newest("state").decode()
    metrics = cbor2.loads(inbox.newest("metrics"))
    assert state["sources"] == {"pump": {"samples": 5}}
    assert metrics["steps"] == 7
    assert (state["resources"], metrics["resources"]) == ({"memory_mib": 80}, {"memory_mib": 80})
    assert metrics["inference"] == {"count": 9}
    assert metrics["sources"] == {"pump": {"samples": 5}}
    assert metrics["problems"] == {"TransportError": 2}
    assert "name" not in metrics
    assert "connections" not in metrics
    assert json.loads(inbox.newest("inference"))["results"][0] == {"time": 1001.0, "label": "walking", "score": 1.0}
    kinds = {message.topic.split("/")[-1]: message.content_type for message in inbox.received}
    assert (kinds["state"], kinds["metrics"]) == ("application/json", "application/cbor")
    assert inbox.heard[0] == (f"{BASE}/status", b"online")


def test_state_and_metrics_are_not_said_at_every_tick(broker, links, show):
    inbox = Inbox(links.open(plain(broker)))
    monitor = show(plain(broker), state_seconds=600.0, metrics_seconds=600.0)
    for step in range(500):
        monitor.report({**STATUS, "steps": step})
    monitor.infer(numbered(1))
    inbox.newest("inference")
    assert len(inbox.payloads("state")) == len(inbox.payloads("metrics")) == 1


def test_a_late_watcher_finds_state_and_status_and_a_leaver_is_offline(broker, links, show):
    monitor = show(plain(broker))
    monitor.report(STATUS)
    monitor.close({**STATUS, "steps": 8})
    monitor.close({**STATUS, "steps": 9})
    inbox = Inbox(links.open(plain(broker)))
    assert json.loads(inbox.newest("state"))["steps"] == 8
    assert inbox.newest("status") == b"offline"


def test_nothing_is_lost_in_an_outage_that_the_bound_allows(broker, links, show, caplog):
    inbox = Inbox(links.open(plain(broker)))
    with Gate(broker.port) as gate, caplog.at_level(logging.INFO, "learnae"):
        monitor = show(gate.section(), rows=20_000)
        monitor.infer(numbered(0))
        inbox.newest("inference")
        gate.shut()
        broker.kill()
        begun, number = time.monotonic(), 0
        while time.monotonic() - begun < OUTAGE or number < 100:
            number += 1
            monitor.infer(numbered(number))
            time.sleep(0.01)
        wait_for(lambda: "refused" in monitor.connection.state(), "another attempt")
        assert monitor.state().endswith(" waiting")
        broker.start()
        wait_for(lambda: inbox.link.is_connected, "the watcher to be back")
        caplog_lines = [r.getMessage() for r in caplog.records if f":{gate.port} is away" in r.getMessage()]
        gate.open()
        wait_for(lambda: set(scores(inbox)) == set(range(number + 1)), f"all of {number}", OUTAGE + 60)
        wait_for(lambda: monitor.state() == "0 waiting", "an empty queue")
    once = list(dict.fromkeys(scores(inbox)))
    assert once == sorted(once)  # in order; those twice that had no acknowledgement
    assert len(set(caplog_lines)) == len(caplog_lines)  # lost, then refused: each once, however long it takes
    assert "refused" in caplog_lines[-1]


def test_beyond_the_bound_the_oldest_go_and_are_counted(broker, links, show):
    inbox = Inbox(links.open(plain(broker)))
    with Gate(broker.port) as gate:
        gate.shut()
        monitor = show(gate.section(), wait=False, rows=10)
        for number in range(30):
            monitor.infer(numbered(number))
        assert monitor.state().startswith("10 waiting, 2")  # a warning about the broker may wait, too
        assert monitor.state().endswith("dropped: the queue is full")
        gate.open()
        wait_for(lambda: 29 in scores(inbox), f"the newest, not {scores(inbox)}")
    assert not set(range(20)) & set(scores(inbox))


def test_killing_broker_and_peer_again_and_again_loses_nothing(broker, links, tmp_path):
    program = (
        "import sys, time; from pathlib import Path\n"
        "from learnae.adapters.mqtt.monitor.outbox import Outbox\n"
        "from learnae.adapters.mqtt.connection import MqttConnection\n"
        "from learnae.adapters.mqtt.monitor.publisher import MqttMonitor\n"
        "from learnae.adapters.mqtt.topics import Topics\n"
        "from learnae.ports import Inference\n"
        "from learnae.config.sections import MqttSection\n"
        "link = MqttConnection(MqttSection(broker=sys.argv[1])); link.start()\n"
        "queue = Outbox(Path(sys.argv[2]), 10000, 1 << 22)\n"
        "monitor = MqttMonitor(link, Topics('learnae/1', sys.argv[3], 'alice'), queue, Path('/nowhere'))\n"
        "for number in range(int(sys.argv[4]), 10**9):\n"
        "    monitor.infer([Inference(0.0, None, float(number))]); print(number, flush=True)\n"
        "    time.sleep(0.005)\n"
    )
    inbox, next_number = Inbox(links.open(plain(broker))), 0
    with Gate(broker.port) as gate:
        for sign in ("peer", "broker", "peer", "broker"):
            command = [
                sys.executable,
                "-c",
                program,
                gate.section().broker,
                tmp_path / "queue",
                str(SWARM),
                str(next_number),
            ]
            process = subprocess.Popen(command, env=clean_environment(), stdout=subprocess.PIPE, text=True)
            assert process.stdout is not None
            for _ in range(30):
                next_number = int(process.stdout.readline()) + 1
            if sign == "broker":
                gate.shut()
                # what a dead broker has acknowledged and not passed on is nobody's: let the watcher have it first
                inbox.link.deliver("mark", b"%d" % next_number, 60)
                inbox.wait_for("mark", b"%d" % next_number)
                broker.kill()
            process.kill()
            rest = process.communicate()[0].split()
            next_number = max([next_number, *(int(number) + 1 for number in rest)])
            if sign == "broker":
                wait_for(lambda: not inbox.link.is_connected, "the watcher to notice")
                broker.start()
                wait_for(lambda: inbox.link.is_connected, "the watcher to be back")
                inbox.link.deliver("mark", b"back %d" % next_number, 60)
                inbox.wait_for("mark", b"back %d" % next_number)
                gate.open()
    with DiskQueueOwner(tmp_path / "queue", plain(broker), links):
        wait_for(lambda: set(scores(inbox)) >= set(range(next_number)), f"{next_number}: {missing(inbox, next_number)}")


def missing(inbox: Inbox, count: int) -> list[int]:
    return sorted(set(range(count)) - set(scores(inbox)))


class DiskQueueOwner:
    """A last start of the peer, that only sends what waits."""

    def __init__(self, path: Path, section: MqttSection, links: Links) -> None:
        self._monitor = MqttMonitor(links.open(section), TOPICS, Outbox(path, 10_000, 1 << 22), path.parent)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        self._monitor.close(STATUS)


def test_warnings_are_read_far_away(broker, links, show):
    inbox = Inbox(links.open(plain(broker)))
    show(plain(broker))
    logging.getLogger("learnae").warning("the sensor %s is gone", "left")
    said = json.loads(inbox.newest("log"))
    assert said["level"] == "warning"
    assert said["text"] == "the sensor left is gone"


def test_a_full_disk_is_said_once_and_stops_nobody(broker, show, caplog, tmp_path):
    monitor = show(plain(broker))
    monitor.queue._database.execute("PRAGMA max_page_count = 1")
    with caplog.at_level(logging.WARNING, "learnae"):
        for number in range(300):
            monitor.infer(numbered(*range(number, number + 20)))
    full = [record for record in caplog.records if "full" in record.getMessage()]
    assert len(full) == 1
    assert monitor.state().endswith("lost: they could not be written")


def test_home_assistant_finds_the_peer_and_forgets_it_when_switched_off(broker, links, show, tmp_path):
    inbox = Inbox(links.open(plain(broker)))
    monitor = show(plain(broker), announces=True, state_seconds=0.0)
    monitor.report(STATUS)
    topic = "homeassistant/device/learnae_alice/config"
    config = json.loads(inbox.newest("config"))
    assert inbox.received[[t for t, _ in inbox.heard].index(topic)].content_type == "application/json"
    assert config["state_topic"] == f"{BASE}/state"
    assert config["availability"] == [{"topic": f"{BASE}/status"}]
    assert (config["dev"]["name"], config["dev"]["sn"]) == ("Learnae pump", "alice")
    monitor.report({**STATUS, "shown": "pump#k3x7qpzd"})  # another of that name has come
    inbox.newest("config", lambda payload: json.loads(payload)["dev"]["name"] == "Learnae pump#k3x7qpzd")
    monitor.report(STATUS)
    inbox.newest("config", lambda payload: json.loads(payload)["dev"]["name"] == "Learnae pump")

    inbox.clear()
    links.open(plain(broker)).publish("homeassistant/status", b"online")
    assert json.loads(inbox.newest("config")) == config
    monitor.close(STATUS)
    late = Inbox(links.open(plain(broker)), topic)
    assert json.loads(late.newest("config")) == config  # a peer that is only away stays a device

    show(plain(broker), announces=True, discovery_prefix="ha/two").report(STATUS)
    elsewhere = Inbox(links.open(plain(broker)), "ha/#")
    assert json.loads(elsewhere.newest("config"))["cmps"] == config["cmps"]
    assert late.newest("config", lambda payload: payload == b"") == b""
    elsewhere.clear()
    links.open(plain(broker)).publish("ha/two/status", b"online")
    elsewhere.newest("config")

    show(plain(broker), announces=False)
    assert elsewhere.newest("config", lambda payload: payload == b"") == b""
    assert not (tmp_path / "home-assistant").exists()
    later = Inbox(links.open(plain(broker)), "#")
    later.newest("status")
    assert not [heard for heard, _ in later.heard if heard.endswith("/config")]


@pytest.mark.modules("jinja2")
@pytest.mark.parametrize(
    ("judgement", "label", "shown"),
    [
        (Judgement.CLASS, "walking", {"label": "walking", "probability": "75.0"}),
        (Judgement.CLASS, "None", {"label": "none", "probability": "75.0"}),
        (Judgement.VALUE, None, {"value": "0.75"}),
        (Judgement.FORECAST, None, {"forecast": "0.75"}),
        (Judgement.ANOMALY, None, {"anomaly": "0.75", "threshold": "0.00001234", "anomalous": "ON"}),
    ],
)
def test_entities_come_with_their_first_value_and_are_emptied_by_null(broker, links, show, judgement, label, shown):
    inbox = Inbox(links.open(plain(broker)))
    monitor = show(plain(broker), announces=True, disclosure=Disclosure(judgement), state_seconds=0.0)
    bare = {**STATUS, "accuracy": None, "peers": 0, "unwritable": None}
    monitor.report(bare)
    always = {"disk", "steps", "peers"}
    assert set(entities(inbox, 0)) == always  # no loss: it is no number
    limit = 1.234e-5 if judgement is Judgement.ANOMALY else None
    monitor.infer([Inference(1.0, label, 0.75, limit)])
    full = {**bare, "accuracy": 0.5, "peers": 2, "loss": 0.5, "buffer": {"readings": 9}}
    monitor.report(full)
    found = entities(inbox, 1, lambda state: state["loss"])
    numbers = {"accuracy": "50.0", "loss": "0.5", "steps": "7", "peers": "2", "buffer": "9"}
    assert found == {"disk": "OFF", **numbers, **shown}
    if limit:
        monitor.infer([Inference(1.5, None, 1e-5, limit)])
        monitor.report({**full, "loss": 0.00012345678})
        normal = entities(inbox, 1, lambda state: state["inference"]["time"] == 1.5)
        expected = {"anomaly": "0.00001", "anomalous": "OFF", "loss": "0.0001235"}
        assert {key: normal[key] for key in expected} == expected
    monitor.infer([Inference(2.0, None, float("inf"))])
    monitor.report({**bare, "buffer": None, "unwritable": {"since": 1}})
    empty = entities(inbox, 1, lambda state: state["loss"] is None)
    assert empty == {
        **found,
        **dict.fromkeys({"accuracy", "loss", "buffer", *shown}, "None"),
        "disk": "ON",
        "peers": "0",
    }
    inbox.clear()
    monitor.report(full)
    inbox.newest("state", lambda payload: json.loads(payload)["loss"] == 0.5)
    assert not inbox.payloads("config"), "there is nothing new to announce"


def entities(inbox: Inbox, more: int, fits: Callable[[dict[str, Any]], object] = lambda _: True) -> dict[str, str]:
    """What Home Assistant shows: templates, rendered as it does, with texts for all; ``more`` than the first config."""
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    wait_for(lambda: len(set(inbox.payloads("config"))) > more, "the announcement")
    config = json.loads(inbox.payloads("config")[-1])
    state = json.loads(inbox.newest("state", lambda payload: fits(json.loads(payload))), parse_constant=pytest.fail)
    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined)
    rendered = {
        key: environment.from_string(each["value_template"]).render(value_json=state)
        for key, each in config["cmps"].items()
    }
    assert len({each["unique_id"] for each in config["cmps"].values()}) == len(rendered)
    return rendered


def test_a_peer_that_never_announced_itself_asks_no_acl_for_it(links, show, tmp_path):
    certificates = Certificates(tmp_path / "certificates", ["alice"])
    acl = "user alice\ntopic write learnae/1/+/alice/#\ntopic read learnae/1/#\n"
    with Mosquitto(tmp_path / "broker", certificates, acl) as broker:
        monitor = show(secure(broker, certificates, "alice"))
        monitor.report(STATUS)
        monitor.infer(numbered(1))
        wait_for(lambda: monitor.state() == "0 waiting", "all to be sent")
        assert links.opened[0].state() == "connected"


def test_what_an_acl_refuses_is_dropped_counted_and_holds_nothing_up(links, show, tmp_path):
    certificates = Certificates(tmp_path / "certificates", ["alice"])
    acl = "user alice\ntopic write learnae/1/+/alice/metrics\ntopic read learnae/1/#\n"
    with Mosquitto(tmp_path / "broker", certificates, acl) as broker:
        inbox = Inbox(links.open(secure(broker, certificates, "alice")), "learnae/1/#")
        monitor = show(secure(broker, certificates, "alice"))
        monitor.infer(numbered(1))
        monitor.report(STATUS)
        inbox.newest("metrics")
        wait_for(lambda: monitor.state() == "0 waiting", "all to be settled")
        assert "refused by the broker" in links.opened[1].state()


@pytest.mark.parametrize("role", ["agent", "trainer"])
def test_both_roles_are_seen_from_start_to_stop_and_when_they_die(broker, links, programs, tmp_path, role):
    inbox = Inbox(links.open(plain(broker)))
    programs.answer("learnae", "swarm", "create", "--preset", "wrist")
    from demo.people import write_private_file

    write_private_file(1, tmp_path / "person.npz")
    programs.answer("learnae", "join", "--role", role, "--data", tmp_path / "person.npz")
    verb = ("agent", "run") if role == "agent" else ("trainer_node", "start")
    environment = {
        "LEARNAE_MQTT__BROKER": plain(broker).broker,
        "LEARNAE_MQTT__MONITOR": "plain",
        "LEARNAE_MQTT__HOME_ASSISTANT": "true",
    }
    if role == "agent":
        environment |= {"LEARNAE_SOURCE__SPEED": "0", "LEARNAE_TRAIN__ENGINE": "numpy"}
    for sign in (signal.SIGKILL, signal.SIGTERM):
        process = programs.start(*verb, environment=environment)
        state = json.loads(inbox.newest("state", lambda payload: json.loads(payload)["steps"] > 0))
        assert state["role"] == role
        assert state["connections"]["mqtt"].startswith("connected")
        assert inbox.newest("status") == b"online"
        process.send_signal(sign)
        process.wait(60)
        inbox.newest("status", lambda payload: payload == b"offline")
        assert any(topic.startswith("homeassistant/device/learnae_") for topic, _ in inbox.heard)
        if sign == signal.SIGKILL:
            inbox.clear()
    assert cbor2.loads(inbox.newest("metrics"))["messages"] > 0
