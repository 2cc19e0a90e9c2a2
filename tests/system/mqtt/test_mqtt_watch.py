"""``learnae watch --broker``: the whole swarm from topics alone, whatever strangers publish there."""

import json
import os
import re
import time
from pathlib import Path

import pytest
from mosquitto import Certificates, Mosquitto
from mqtt_rig import Links, plain, secure
from programs import Programs, assert_refused, wait_for

from learnae.adapters.mqtt.monitor.subscriber import Subscriber
from learnae.ipld.cid import DAG_CBOR, Cid

pytestmark = pytest.mark.engine("mosquitto")

SWARM = Cid.of(DAG_CBOR, b"swarm")
STATE = {
    "peer": "alice",
    "name": "pump",
    "role": "agent",
    "software": "0.1",
    "time": 1_700_000_000_000,
    "steps": 7,
    "loss": 0.25,
    "accuracy": None,
    "peers": 2,
    "bytes_out": 10,
    "bytes_in": 20,
    "inference": {"time": 1.0, "label": None, "score": 3.5},
}
SPENT = {"epsilon": 3.981, "delta": 1e-5, "releases": 80, "protects": "window"}
HOSTILE = {
    "no JSON": b"\xff{",
    "deep": b"[" * 60_000,
    "large": json.dumps({**STATE, "steps": 8, "filler": "a" * 70_000}).encode(),
    "a list": b"[]",
    "no fields": b"{}",
    "wrong types": json.dumps({**STATE, "steps": "7"}).encode(),
    "a huge number": json.dumps({**STATE, "loss": 1e300}).encode(),
    "NaN": json.dumps({**STATE, "loss": float("nan")}).encode(),
    "huge digits": b'{"steps": ' + b"9" * 50_000 + b"}",
    "markup that moves the cursor": json.dumps({**STATE, "name": "\x1b[2J"}).encode(),
    "an epsilon that is none": json.dumps({**STATE, "privacy": {**SPENT, "epsilon": -1}}).encode(),
    "a privacy that is none": json.dumps({**STATE, "privacy": [1]}).encode(),
    "a score of another shape": json.dumps({**STATE, "inference": [1]}).encode(),
    "a label that is none": json.dumps({**STATE, "inference": {"label": 7, "score": 1.0}}).encode(),
    "a decision that is none": json.dumps({**STATE, "inference": {"score": 1.0, "anomaly": "no"}}).encode(),
}


def say(links: Links, broker: Mosquitto, peer: str, channel: str, payload: bytes, swarm: object = SWARM) -> None:
    speaker = links.opened[0] if links.opened else links.open(plain(broker))
    assert speaker.publish(f"learnae/1/{swarm}/{peer}/{channel}", payload, retain=True)


def test_a_stranger_sees_the_table_without_swarm_or_key(broker, links, programs):
    say(links, broker, "alice", "status", b"online")
    say(links, broker, "alice", "state", json.dumps(STATE).encode())
    say(links, broker, "bob", "status", b"offline")
    other = Cid.of(DAG_CBOR, b"x")
    say(links, broker, "carol", "state", json.dumps({**STATE, "name": "[red]carol"}).encode(), other)
    results = {
        "dave": {"time": 1.0, "label": "walking", "score": 0.75},
        "erin": {"time": 1.0, "label": None, "score": 1.25e-5, "threshold": 1e-5, "anomaly": True},
    }
    for peer, result in results.items():
        say(links, broker, peer, "state", json.dumps({**STATE, "loss": 1e-5, "inference": result}).encode(), other)
    links.opened[0].deliver("done", b"", 60)
    command = ("watch", "--broker", plain(broker).broker, "--rounds", "1")
    seen = {row["peer"]: row for row in programs.answer("learnae", *command)}
    assert set(seen) == {"alice", "bob", "carol", *results}
    assert (seen["dave"]["label"], seen["dave"]["anomaly"]) == ("walking", None)
    assert (seen["erin"]["label"], seen["erin"]["anomaly"]) == (None, True)
    say(links, broker, "frank", "state", json.dumps({**STATE, "loss": None, "privacy": SPENT}).encode(), other)
    links.opened[0].deliver("done", b"", 60)
    assert (frank := {row["peer"]: row for row in programs.answer("learnae", *command)}["frank"])["epsilon"] == 3.981
    assert (frank["delta"], seen["dave"]["epsilon"]) == (1e-5, None)
    assert "3.99" in programs.run("learnae", *command).stdout
    alice = seen["alice"]
    assert (alice["status"], alice["name"], alice["steps"], alice["score"]) == ("online", "pump", 7, 3.5)
    assert seen["bob"]["status"] == "offline"
    assert {row["peer"] for row in programs.answer("learnae", *command, "--swarm", SWARM)} == {"alice", "bob"}
    shown = programs.run("learnae", *command).stdout
    assert "[red]carol" in shown
    assert "connected  6 peers" in shown
    for words in ("walking 0.750", "ANOMALY 1.250e-05", "1.000e-05"):
        assert words in shown
    assert not programs.home.exists()


def test_how_good_a_model_of_values_is_stands_beside_that_of_classes(broker, links, programs):
    command = ("watch", "--broker", plain(broker).broker, "--rounds", "1")
    values = {"accuracy": None, "mae": 0.125, "r2": 0.875}
    say(links, broker, "alice", "state", json.dumps({**STATE, **values}).encode())
    links.opened[0].deliver("done", b"", 60)
    (row,) = programs.answer("learnae", *command)
    assert {key: row[key] for key in values} == values
    shown = programs.run("learnae", *command, environment={"COLUMNS": "200"}).stdout
    assert "accuracy" not in shown
    for word in ("R²", "0.875", "MAE", "0.1250"):
        assert word in shown
    say(links, broker, "bob", "state", json.dumps({**STATE, "accuracy": 0.75}).encode())
    links.opened[0].deliver("done", b"", 60)
    shown = programs.run("learnae", *command, environment={"COLUMNS": "200"}).stdout
    for word in ("R²", "0.875", "accuracy", "0.750"):
        assert word in shown


def test_peers_of_one_name_are_told_apart_and_no_name_garbles_a_terminal(broker, links, programs):
    garbled = "z" + chr(0x301) * 20 + chr(0x3164)
    for peer, name in (
        ("alice222", "pump"),
        ("bobbob22", "p" + chr(0x443) + "mp"),
        ("carol222", "PUMP"),
        ("dave2222", garbled),
    ):
        say(links, broker, peer, "state", json.dumps({**STATE, "name": name, "software": garbled}).encode())
    links.opened[0].deliver("done", b"", 60)
    shown = programs.run("learnae", "watch", "--broker", plain(broker).broker, "--rounds", "1").stdout
    for name in ("pump#alice222", "PUMP#carol222", "p" + chr(0x443) + "mp#bobbob22", "#dave2222"):
        assert name in shown
    assert chr(0x301) * 3 not in shown
    assert chr(0x3164) not in shown


def test_a_broker_that_answers_late_is_waited_for(broker, links, programs):
    say(links, broker, "alice", "status", b"online")
    links.opened[0].deliver("done", b"", 60)
    broker.hang()
    try:
        watching = programs.start("learnae", "watch", "--broker", plain(broker).broker, "--rounds", "1", "--json")
        time.sleep(2)
    finally:
        broker.resume()
    assert "alice" in {row["peer"] for row in json.loads(watching.communicate(timeout=60)[0])}


@pytest.mark.parametrize("payload", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_states_are_counted_and_change_nothing(broker, links, payload):
    audience = Subscriber(links.open(plain(broker)), "learnae/1")
    say(links, broker, "alice", "state", json.dumps(STATE).encode())
    say(links, broker, "alice", "state", payload)
    say(links, broker, "alice", "status", b"online")
    wait_for(lambda: audience.peers() and audience.peers()[0].status == "online", "the last one")
    assert sum(audience.bad.values()) == 1
    assert [(seen.name, seen.steps) for seen in audience.peers()] == [("pump", 7)]


def test_names_and_statuses_of_strangers_are_bounded(broker, links):
    audience = Subscriber(links.open(plain(broker)), "learnae/1", most_peers=3)
    say(links, broker, "alice", "status", os.urandom(500))
    say(links, broker, "p" * 65, "status", b"online")
    say(links, broker, "alice", "status", b"online", swarm="no-cid")
    for number in range(5):
        say(links, broker, f"peer-{number}", "status", b"online")
    wait_for(lambda: sum(audience.bad.values()) == 5, "five bad ones")
    assert [seen.peer for seen in audience.peers()] == ["peer-0", "peer-1", "peer-2"]
    assert audience.bad == {"EncodingError": 3, "LimitError": 2}


def test_a_peer_whose_status_was_removed_is_gone(broker, links):
    audience = Subscriber(links.open(plain(broker)), "learnae/1")
    say(links, broker, "alice", "status", b"online")
    wait_for(audience.peers, "alice")
    say(links, broker, "alice", "status", b"")
    wait_for(lambda: not audience.peers(), "nobody")


def test_a_certificate_opens_the_table_and_mistakes_are_named(links, programs: Programs, tmp_path: Path):
    certificates = Certificates(tmp_path / "certificates", ["watcher"])
    with Mosquitto(tmp_path / "tls", certificates, "user watcher\ntopic readwrite learnae/1/#\n") as broker:
        section = secure(broker, certificates, "watcher")
        links.open(section).publish(f"learnae/1/{SWARM}/alice/status", b"online", retain=True)
        links.opened[0].deliver("learnae/1/x", b"", 60)
        files = ("--ca-file", section.ca_file, "--cert-file", section.cert_file, "--key-file", section.key_file)
        command = ("watch", "--broker", section.broker, "--rounds", "1")
        assert [row["peer"] for row in programs.answer("learnae", *command, *files)] == ["alice"]
        done = programs.run("learnae", *command)
        assert "verify failed" in done.stdout
        assert done.returncode == 75  # what it shows is nothing
        assert re.search(r"learnae: MQTT broker \S+ is away.*; check --broker", done.stderr)
    assert_refused(programs.run("learnae", "watch", "--broker", "http://x"), 78, "mqtt://")
    assert_refused(programs.run("learnae", "watch", "--broker", "mqtt://x", "--swarm", "#"), 78, "--swarm")


def test_what_agents_show_is_what_the_audience_reads(broker, links, programs, tmp_path):
    from demo.people import write_private_file

    programs.answer("learnae", "swarm", "create", "--preset", "wrist", "--membership", "open")
    write_private_file(1, tmp_path / "person.npz")
    programs.answer("learnae", "join", "--role", "agent", "--data", tmp_path / "person.npz")
    audience = Subscriber(links.open(plain(broker)), "learnae/1")
    agent = programs.start(
        "agent", "run", environment={"LEARNAE_MQTT__BROKER": plain(broker).broker, "LEARNAE_SOURCE__SPEED": "0"}
    )
    said = programs.wait_for_steps("agent", agent)
    seen = wait_for(lambda: [each for each in audience.peers() if each.steps], f"a state, not {audience.bad}")[0]
    assert (seen.peer, seen.swarm, seen.name, seen.status) == (said["peer"], said["swarm"], "agent", "online")
    assert not audience.bad
