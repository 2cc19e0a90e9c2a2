"""Raw readings never leave: every byte that a peer puts out is searched for planted readings."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import numpy as np
import pytest
from daemon import HOST
from iri_node import IriNode
from mosquitto import Mosquitto
from mqtt_rig import Gate
from programs import Programs, wait_for
from sensors import Sysfs, make_swarm

from demo.swarm import Swarm
from learnae.adapters.iota_client import Node, Transaction
from learnae.adapters.mqtt_connection import MqttConnection
from learnae.bodies import Summary, Update
from learnae.observer import Observer
from learnae.sections import MqttSection

CHANNELS = 6
FORMATS = ("<f4", ">f4", "<f8", ">f8", "<f2", ">f2")


def patterns(readings: np.ndarray) -> list[bytes]:
    """Neighbouring readings in every form in which they could travel: long enough not to occur by chance."""
    found = []
    for row in readings:
        for form in FORMATS:
            encoded = row.astype(form).tobytes()
            found += [encoded[start : start + 8] for start in range(0, len(encoded) - 7, row.astype(form).itemsize)]
        found += [f"{value:.6f}".encode() for value in row]
    return found


def occurrences(directory: Path, planted: list[bytes]) -> list[str]:
    files = [path for path in directory.rglob("*") if path.is_file()]
    assert files
    return [path.name for path in files for data in [path.read_bytes()] if any(pattern in data for pattern in planted)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("role", "engine", "messages"), [("agent", "auto", 40), ("trainer", "auto", 40), ("agent", "none", 2)]
)
def test_planted_readings_stay_home(tmp_path: Path, role: str, engine: str, messages: int) -> None:
    home = tmp_path / "home"
    home.mkdir()
    swarm = Swarm.create(home)
    rng = np.random.default_rng(11)
    readings = rng.normal(size=(5000, CHANNELS)).astype(np.float32)
    private = home / "private.npz"
    np.savez(private, signal=readings, label=np.repeat(np.arange(5), 1000))
    section = "source" if role == "agent" else "data"
    config = home / "canary.toml"
    config.write_text(
        f'[peer]\nname = "canary"\n[swarm]\nid = "{swarm.directory}"\n'
        f'[{section}]\nfile = "{private}"\n[train]\nengine = "{engine}"\n'
    )
    planted = patterns(readings[::250])
    observer = Observer(swarm.directory)
    try:
        swarm.start("canary", role, config)
        deadline = time.monotonic() + 30
        while observer.refresh() < messages and time.monotonic() < deadline:
            time.sleep(0.2)
        swarm.processes["canary"].send_signal(signal.SIGTERM)
        assert swarm.processes["canary"].wait(20) == 0
    finally:
        swarm.stop()
    assert observer.refresh() >= messages
    (view,) = observer.peers()
    assert view.summary == (engine == "none")
    assert (view.steps > 0) == (engine != "none")
    assert occurrences(swarm.directory, planted) == []
    assert "private.npz" in occurrences(home, planted), "the search itself must be able to find them"


@pytest.mark.slow
@pytest.mark.engine("mosquitto")
@pytest.mark.parametrize("role", ["agent", "trainer"])
def test_planted_readings_are_in_no_byte_that_goes_to_the_broker(tmp_path: Path, role: str) -> None:
    """Monitor, heads, pushed blocks, Home Assistant: the whole TCP stream, whatever it means."""
    home = tmp_path / "home"
    home.mkdir()
    swarm = Swarm.create(home)
    readings = np.random.default_rng(12).normal(size=(5000, CHANNELS)).astype(np.float32)
    private = home / "private.npz"
    np.savez(private, signal=readings, label=np.repeat(np.arange(5), 1000))
    section = "source" if role == "agent" else "data"
    planted = patterns(readings[::50])
    planted += [str(value)[:8].encode() for row in readings[::50] for value in row if len(str(value)) >= 8]
    with Mosquitto(tmp_path / "broker") as broker, Gate(broker) as gate:
        config = home / "canary.toml"
        config.write_text(
            f'[peer]\nname = "canary"\n[swarm]\nid = "{swarm.directory}"\n[{section}]\nfile = "{private}"\n'
            f'[mqtt]\nbroker = "mqtt://127.0.0.1:{gate.port}"\nhome_assistant = true\n'
        )
        try:
            swarm.start("canary", role, config)
            words = [b"/state", b"/metrics", b"/heads", b"/message", b"/frame", b"homeassistant/device"]
            wait_for(
                lambda: all(word in gate.sent for word in words) and gate.sent.count(b"/message") > 10, "all of it"
            )
            swarm.processes["canary"].send_signal(signal.SIGTERM)
            assert swarm.processes["canary"].wait(20) == 0
        finally:
            swarm.stop()
        assert [pattern for pattern in planted if pattern in gate.sent] == []
        assert any(pattern in private.read_bytes() for pattern in planted), "the search must be able to find them"


@pytest.mark.slow
@pytest.mark.engine("mosquitto")
@pytest.mark.parametrize("engine", ["numpy", "none"])
def test_what_a_live_sensor_measures_stays_on_the_board(programs: Programs, tmp_path: Path, engine: str) -> None:
    """An agent with all that it has: a sensor, labels, a buffer, results, a monitor, gossip and blocks over MQTT.

    With the engine ``none`` it sends summaries. A second sensor says what is no number: errors are shown, too.
    """
    readings = np.random.default_rng(12).normal(size=(120, CHANNELS)).astype(np.float32)
    swarm = make_swarm(programs.home, labelled=engine == "numpy")
    planted = [pattern for row in readings for pattern in patterns(row[None])]
    planted += [f"{value:.7f}".rstrip("0")[:8].encode() for value in readings.ravel() if abs(value) > 0.1]
    heard: list[bytes] = []
    secret = b"0.1234567-secret"
    with (
        Mosquitto(tmp_path / "broker") as broker,
        Sysfs(tmp_path / "sys", [f"{value:.7f}" for value in readings.ravel()]) as sysfs,
    ):
        listener = MqttConnection(MqttSection(broker=f"mqtt://{HOST}:{broker.port}"))
        listener.subscribe("#", lambda received: heard.append(received.topic.encode() + b" " + received.payload))
        listener.start()
        bad = Sysfs(tmp_path / "bad")
        (tmp_path / "bad" / "iio:device0" / "in_ax_raw").write_bytes(secret)
        config = tmp_path / "agent.toml"
        config.write_text(
            f'[peer]\nname = "canary"\n[mqtt]\nbroker = "mqtt://{HOST}:{broker.port}"\n'
            f"{sysfs.section('sources.good')}holdout = 0.0\n{bad.section('sources.bad')}"
        )
        environment = {"LEARNAE_TRAIN__ENGINE": engine}
        agent = programs.start("agent", "run", "--config", config, environment=environment, pause=0.05)
        wait_for(lambda: programs.status("canary").get("sources", {}).get("bad", {}).get("failures"), "the bad sensor")
        if engine == "numpy":
            assert programs.run("agent", "label", "busy", "--config", config).returncode == 0
            programs.wait_for_steps("canary", agent, more_than=4 * 60)
            wait_for(lambda: programs.status("canary")["inference"]["count"] > 10, "results")
        else:
            wait_for(lambda: programs.status("canary").get("unlabelled", 0) > 100, "windows")
        agent.send_signal(signal.SIGTERM)
        log = agent.communicate(timeout=30)[1]
        assert agent.returncode == 0, log
        listener.close()
    out = tmp_path / "out"
    out.mkdir()
    (out / "mqtt").write_bytes(b"\n".join(heard))
    (out / "log").write_text(log)
    state = programs.home / "peers" / "canary"
    for name in ("status.json", "inference.jsonl"):
        if (state / name).exists():
            (out / name).write_bytes((state / name).read_bytes())
    assert len(heard) > 3
    observer = Observer(swarm)
    observer.refresh()
    kinds = {type(message.body) for message in observer.messages(1000)}
    assert (Update if engine == "numpy" else Summary) in kinds
    assert occurrences(swarm, planted) == []
    assert occurrences(out, [*planted, secret, secret[:9]]) == []
    assert "samples.db" in occurrences(state, planted), "the search itself must be able to find them"


@pytest.mark.slow
def test_planted_readings_do_not_get_onto_a_tangle(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    swarm = Swarm.create(home)
    readings = np.random.default_rng(12).normal(size=(5000, CHANNELS)).astype(np.float32)
    private = home / "private.npz"
    np.savez(private, signal=readings, label=np.repeat(np.arange(5), 1000))
    planted = patterns(readings[::250])
    with IriNode(tmp_path / "tangle") as node:
        config = home / "canary.toml"
        config.write_text(
            f'[peer]\nname = "canary"\n[swarm]\nid = "{swarm.directory}"\n[source]\nfile = "{private}"\n'
            f'[iota]\nnode = "{node.url}"\npoll = 0.2\nevery = 0.1\n'
        )
        try:
            swarm.start("canary", "agent", config)
            deadline = time.monotonic() + 60
            while len(node.names()) < 5 and time.monotonic() < deadline:
                time.sleep(0.2)
        finally:
            swarm.stop()
        client = Node(node.url)
        sent = [transaction.message for transaction in client.read(node.names())]
        able = Transaction("", client.propose(planted[0], "LEARNAE9TEST9OF9CANARIES9AA", "A" * 80 + "9")).message
    assert len(sent) >= 5
    assert not [message for message in sent for pattern in planted if pattern in message]
    assert planted[0] in able, "the search itself must be able to find them"
