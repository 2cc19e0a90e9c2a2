"""What people have already reads what peers show: a real Home Assistant and a real Telegraf. Nightly."""

import json
import re
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import cbor2
import numpy as np
import pytest
from home_assistant import HomeAssistant
from mosquitto import Mosquitto
from mqtt_rig import Inbox, Links, plain
from nightly import how_many
from programs import Child, Programs, wait_for
from sensors import CHANNELS, RATE, Sysfs, board_manifest
from telegraf import Telegraf

import learnae
from learnae.adapters.mqtt.monitor.disclosure import Disclosure, Judgement
from learnae.adapters.mqtt.monitor.outbox import Outbox
from learnae.adapters.mqtt.monitor.publisher import MqttMonitor
from learnae.adapters.mqtt.topics import Topics
from learnae.ipld.cid import DAG_CBOR, Cid
from learnae.ports import Inference
from learnae.swarm.manifest import Manifest
from learnae.swarm.presets import dense_config

pytestmark = [
    pytest.mark.slow,
    pytest.mark.engine("mosquitto"),
    pytest.mark.skipif(how_many(1, 0) > 0, reason="takes too long for every change: make nightly"),
]

DOCUMENT = (Path(__file__).parents[3] / "docs" / "mqtt.md").read_text()
TELEGRAF, TAGS = re.findall(r"```\n(.*?)```", DOCUMENT.split("## Telegraf")[1], re.DOTALL)[:2]
BEGIN = 1_714_564_800  # 2024-05-01T12:00:00Z
SAMPLES = 4000
TASKS = ("classification", "regression", "forecast", "autoencoder")
STATUS = {"peer": "alice", "name": "pump", "shown": "pump", "role": "agent", "software": "0.1", "steps": 7}

# a result, and what is to be seen of it
CASES = [
    (Judgement.CLASS, "walking", 0.75, None, {"label": "walking", "probability": "75.0"}),
    (Judgement.CLASS, "None", 0.75, None, {"label": "none", "probability": "75.0"}),
    (Judgement.CLASS, "0", 1.0, None, {"label": "0", "probability": "100.0"}),
    (Judgement.CLASS, "a" * 300, 0.0, None, {"label": "a" * 255, "probability": "0.0"}),
    (Judgement.VALUE, None, -1.5e-7, None, {"value": "-0.00000015"}),
    (Judgement.VALUE, None, 0.0, None, {"value": "0"}),
    (Judgement.FORECAST, None, 2.0**100, None, {"forecast": str(2**100)}),
    (Judgement.ANOMALY, None, 0.75, None, {"anomaly": "0.75"}),
    (Judgement.ANOMALY, None, 0.75, 1.5e-5, {"anomaly": "0.75", "threshold": "0.000015", "anomalous": "on"}),
]

# what an entity shows, from the payload of ``state``
Shown = Callable[[Mapping[str, Any]], object]
OF_ALL: dict[str, Shown] = {
    "disk": lambda state: "on" if state["unwritable"] else "off",
    "steps": lambda state: state["steps"],
    "peers": lambda state: state["peers"],
    "buffer": lambda state: state["buffer"]["readings"],
    "loss": lambda state: state["loss"],
}
OF_VALUES: dict[str, Shown] = {"r2": lambda state: state["r2"], "mae": lambda state: state["mae"]}
ENTITIES: dict[str, dict[str, Shown]] = {
    "classification": {
        **OF_ALL,
        "accuracy": lambda state: state["accuracy"] * 100,
        "label": lambda state: state["inference"]["label"],
        "probability": lambda state: state["inference"]["score"] * 100,
    },
    "regression": {**OF_ALL, **OF_VALUES, "value": lambda state: state["inference"]["score"]},
    "forecast": {**OF_ALL, **OF_VALUES, "forecast": lambda state: state["inference"]["score"]},
    "autoencoder": {
        **OF_ALL,
        **OF_VALUES,
        "anomaly": lambda state: state["inference"]["score"],
        "threshold": lambda state: state["inference"]["threshold"],
        "anomalous": lambda state: "on" if state["inference"]["anomaly"] else "off",
    },
}
UNITS = {"accuracy": "%", "probability": "%", "buffer": "readings"}


def swarms() -> dict[str, Manifest]:
    """One of each task."""
    board, width = board_manifest("autoencoder"), 5 * len(CHANNELS)
    assert board.features is not None
    coming = replace(board.features, ahead=2)
    found = (
        board_manifest("classification", labelled=True),
        replace(board, name="regression", config=dense_config(width, (8,), 1, "linear")),
        replace(board, name="forecast", config=dense_config(width, (8,), 2 * len(CHANNELS), "linear"), features=coming),
        board,
    )
    return {manifest.task: manifest for manifest in found}


def record(path: Path) -> None:
    """Noise, whose spread is its label."""
    labels = np.arange(SAMPLES) // 40 % 2
    values = np.random.default_rng(3).normal(size=(SAMPLES, len(CHANNELS))) * (1 + labels[:, None])
    lines = [
        ",".join([f"{BEGIN + index / RATE:.2f}", *(f"{value:.6f}" for value in row), str(label)])
        for index, (row, label) in enumerate(zip(values.tolist(), labels.tolist(), strict=True))
    ]
    path.write_text("\n".join([",".join(["time", *CHANNELS, "label"]), *lines]) + "\n")


class Boards:
    """An agent of each task at ``broker``; each has read a recording, and reads a sensor."""

    def __init__(self, broker: Mosquitto, root: Path, sysfs: Sysfs) -> None:
        self.programs = {task: Programs(root / task) for task in TASKS}
        self.agents: dict[str, Child] = {}
        self.sysfs = sysfs
        record(root / "recording.csv")
        for task, manifest in swarms().items():
            programs = self.programs[task]
            programs.root.mkdir()
            programs.add_swarm(manifest)
            (programs.root / "agent.toml").write_text(
                f'[sources.recording]\nfile = "{root / "recording.csv"}"\nspeed = 0\n{sysfs.section("sources.live")}'
                f'[mqtt]\nbroker = "{plain(broker).broker}"\n[privacy]\ninference = "score"\n'
            )

    def start(self, task: str, home_assistant: bool = True) -> None:
        """Start the agent, again if it has run before."""
        programs = self.programs[task]
        variables = {"LEARNAE_MQTT__HOME_ASSISTANT": str(home_assistant).lower()}
        arguments = ("agent", "run", "--config", programs.root / "agent.toml")
        self.agents[task] = programs.start(*arguments, environment=variables, pause=1.0)

    def judges(self, task: str) -> bool:
        """Whether it has measured itself, and said something of a window."""
        status = self.programs[task].status("agent")
        return status.get("loss") is not None and status["inference"]["count"] > 0

    def peer(self, task: str) -> str:
        """Return its key."""
        return str(self.programs[task].status("agent")["peer"])


@pytest.fixture
def boards(tmp_path: Path, broker: Mosquitto) -> Iterator[Boards]:
    with Sysfs(tmp_path / "sys", [f"{index % 13 / 7:010.6f}" for index in range(1000)]) as sysfs:
        found = Boards(broker, tmp_path, sysfs)
        yield found
        for programs in found.programs.values():
            programs.__exit__()


def entities(home: HomeAssistant, peer: str) -> dict[str, dict[str, Any]]:
    """What Home Assistant shows of a peer, by the keys of the entities."""
    prefix = f"learnae_{peer[:16]}_"
    found = home.look()["entities"].items()
    return {name.removeprefix(prefix): entity for name, entity in found if name.startswith(prefix)}


def states(home: HomeAssistant, peer: str) -> dict[str, str]:
    return {key: entity["state"] for key, entity in entities(home, peer).items()}


def fits(shown: str, value: object) -> bool:
    """Whether Home Assistant shows ``value``, to its four significant digits."""
    return shown == value if isinstance(value, str) else float(shown) == pytest.approx(value, rel=1e-3, abs=1e-12)


def shows(home: HomeAssistant, inbox: Inbox, peer: str, task: str) -> bool:
    """Whether there are exactly the entities of the task, and their states are those of the newest payload."""
    said = [json.loads(message.payload) for message in inbox.received if message.topic.endswith(f"{peer}/state")]
    found = states(home, peer)
    if not said or found.keys() != ENTITIES[task].keys() or {"unknown", "unavailable"} & set(found.values()):
        return False
    return all(fits(found[key], value(said[-1])) for key, value in ENTITIES[task].items())


def complaints(home: HomeAssistant) -> list[str]:
    """What Home Assistant has logged of messages, templates and values."""
    of_us = r"(?:WARNING|ERROR) homeassistant\.(?:components|helpers\.(?:template|entity))\b"
    return [line for line in home.log.splitlines() if re.match(of_us, line) or "Traceback" in line]


def test_home_assistant_shows_every_kind_of_swarm(
    broker: Mosquitto, links: Links, boards: Boards, tmp_path: Path
) -> None:
    inbox = Inbox(links.open(plain(broker)), "learnae/#")
    with HomeAssistant(tmp_path / "home", broker.port) as home:
        for task in TASKS:
            boards.start(task)
        for task in TASKS:
            wait_for(lambda task=task: boards.judges(task), f"{task} to judge", 240)
        peers = {task: boards.peer(task) for task in TASKS}
        for task, peer in peers.items():
            wait_for(lambda task=task, peer=peer: shows(home, inbox, peer, task), f"{task}: {states(home, peer)}")
            for key, entity in entities(home, peer).items():
                assert entity["attributes"].get("unit_of_measurement") == UNITS.get(key)
        devices = {device["serial_number"]: device for device in home.look()["devices"]}
        assert devices.keys() == set(peers.values())
        for device in devices.values():
            named = {key: device[key] for key in ("name", "manufacturer", "model", "sw_version")}
            assert named == {
                "name": "Learnae agent",
                "manufacturer": "Learnae",
                "model": "agent",
                "sw_version": learnae.__version__,
            }
        names = {task: {key: each["entity_id"] for key, each in entities(home, peers[task]).items()} for task in TASKS}

        boards.agents["forecast"].kill()
        wait_for(lambda: set(states(home, peers["forecast"]).values()) == {"unavailable"}, "the last will")
        home.stop()
        boards.start("forecast")
        home.start()
        for task, peer in peers.items():
            wait_for(lambda task=task, peer=peer: shows(home, inbox, peer, task), f"{task}: {states(home, peer)}")
            assert {key: each["entity_id"] for key, each in entities(home, peer).items()} == names[task]

        boards.agents["regression"].stop(signal.SIGTERM)
        wait_for(lambda: set(states(home, peers["regression"]).values()) == {"unavailable"}, "its farewell")
        boards.start("regression", home_assistant=False)
        wait_for(lambda: not states(home, peers["regression"]), "the device to go")
        assert peers["regression"] not in {device["serial_number"] for device in home.look()["devices"]}
        assert complaints(home) == []


def test_home_assistant_shows_values_and_empties_what_has_none(broker: Mosquitto, links: Links, tmp_path: Path) -> None:
    always, full = {"disk": "off", "steps": "7", "loss": "0.5"}, {**STATUS, "loss": 0.5, "unwritable": None}
    monitors: dict[str, MqttMonitor] = {}
    with HomeAssistant(tmp_path / "home", broker.port) as home:

        def has(peer: str, expected: Mapping[str, str]) -> None:
            def seen() -> bool:
                return states(home, peer) == expected

            wait_for(seen, f"{expected}, not {states(home, peer)}")

        for number, (judgement, label, score, limit, _) in enumerate(CASES):
            topics, place = Topics("learnae/1", Cid.of(DAG_CBOR, b"swarm"), f"peer{number}"), tmp_path / str(number)
            place.mkdir()
            queue, link = Outbox(place / "queue", 1000, 1 << 20), links.open(plain(broker))
            shows = Disclosure(judgement)
            monitor = MqttMonitor(link, topics, queue, place, announces=True, disclosure=shows, state_seconds=0.0)
            monitors[topics.peer] = monitor
            monitor.infer([Inference(1.0, label, score, limit)])
            monitor.report({**full, "peer": topics.peer})
        for (*_, shown), peer in zip(CASES, monitors, strict=True):
            has(peer, {**always, **shown})
        for peer, monitor in monitors.items():
            monitor.infer([Inference(2.0, None, float("nan"))])
            monitor.report({**full, "peer": peer, "loss": None, "unwritable": {"since": 1}})
        for (*_, shown), peer in zip(CASES, monitors, strict=True):
            has(peer, {"disk": "on", "steps": "7", "loss": "unknown", **dict.fromkeys(shown, "unknown")})
        for peer, monitor in monitors.items():
            monitor.close({**full, "peer": peer})
        assert complaints(home) == []


def leaves(value: object, *path: str) -> Iterator[tuple[str, object]]:
    """All that is no map or list, named as Telegraf names it."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, *path, key)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from leaves(item, *path, str(index))
    else:
        yield "_".join(path), value


def fields_of(fields: Mapping[str, Any], *words: str) -> dict[str, object]:
    """The numbers, and texts and booleans of these names, as Telegraf's JSON parser takes them."""
    found = leaves(dict(fields))
    return {
        name: value
        for name, value in found
        if (isinstance(value, int | float) and not isinstance(value, bool)) or (name in words and value is not None)
    }


def row(topic: str, time: int, fields: Mapping[str, object]) -> str:
    """Write it so that equal numbers are equal, whatever their type; ``time`` in ms."""
    alike = {key: float(value) if type(value) is int else value for key, value in fields.items()}
    return json.dumps([topic, time, alike], sort_keys=True)


def rows_in(telegraf: Telegraf, channel: str) -> Counter[str]:
    """What has arrived of a channel; a status has no time of its own."""
    found = telegraf.metrics(f"learnae_{channel}")
    return Counter(
        row(each["tags"]["topic"], each["timestamp"] * (channel != "status"), each["fields"]) for each in found
    )


def rows_of(channel: str, topic: str, payload: bytes) -> list[str]:
    """What ought to arrive of a message, if it is one of ``channel``."""
    if not topic.endswith(f"/{channel}"):
        return []
    if channel == "status":
        return [row(topic, 0, {"value": payload.decode()})]
    if channel == "metrics":
        fields = cbor2.loads(payload)
        return [row(topic, fields["time"], {name: value for name, value in leaves(fields) if value is not None})]
    said = json.loads(payload)
    if channel == "inference":
        times = [(int(Decimal(result.pop("time")) * 1000), result) for result in said["results"]]
        return [row(topic, time, fields_of(each, "label", "anomaly", "dated")) for time, each in times]
    words = ("text",) if channel == "log" else ("inference_label", "inference_anomaly")
    return [row(topic, said.pop("time"), fields_of(said, *words))]


def test_telegraf_reads_all_that_peers_publish(broker: Mosquitto, links: Links, boards: Boards, tmp_path: Path) -> None:
    channels = ("state", "metrics", "inference", "log", "status")
    inbox = Inbox(links.open(plain(broker)), "learnae/#")
    inputs = TELEGRAF.replace("localhost:1883", f"127.0.0.1:{broker.port}") + TAGS.replace("state", channels[-1])
    assert inputs.count(f":{broker.port}") == len(channels)
    with Telegraf(tmp_path / "telegraf", inputs) as telegraf:
        for task in TASKS:
            boards.start(task)
        for task in TASKS:
            wait_for(lambda task=task: boards.judges(task), f"{task} to judge", 240)
        boards.sysfs.unplug()
        wait_for(lambda: len(inbox.payloads("log")) >= len(TASKS), "all warnings")
        for agent in boards.agents.values():
            agent.stop()
        wait_for(lambda: inbox.payloads("status").count(b"offline") == len(TASKS), "all farewells")
        for channel in channels:
            said = Counter(found for topic, payload in inbox.heard for found in rows_of(channel, topic, payload))
            assert said
            arrived = partial(rows_in, telegraf, channel)
            wait_for(lambda: arrived().total() >= said.total(), f"{said.total()} of {channel}")  # noqa: B023 - at once
            missing, more = said - arrived(), arrived() - said
            assert not missing, f"{channel}: {next(iter(missing))}, not {next(iter(more), '')}"
            assert not more
        tags = {(each["tags"]["swarm"], each["tags"]["peer"]) for each in telegraf.metrics(f"learnae_{channels[-1]}")}
        assert tags == {(str(manifest.swarm), boards.peer(task)) for task, manifest in swarms().items()}
