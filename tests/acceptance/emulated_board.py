"""An emulated board under systemd: the installed agent trains, is killed, hangs, loses power, and always comes back."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import paho.mqtt.client as paho
import pytest
from emulator import GATEWAY, Board, prepare
from hanging import HANG
from mosquitto import Mosquitto
from programs import wait_for
from userland import Userland

AGENT = "learnae-agent@board"
STATUS = "/var/lib/learnae/board/peers/board/status.json"
PATIENCE = 240.0  # seconds; a board under emulation on a busy machine

QUICK = "[Service]\nWatchdogSec=15\nTimeoutAbortSec=2\nRestartSec=1\n"


class Watcher:
    """Hears all that the board publishes, on this machine: the newest of each channel, and every status."""

    def __init__(self, port: int) -> None:
        self.newest: dict[str, bytes] = {}
        self.statuses: list[str] = []
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2, "watcher", protocol=paho.MQTTv5)
        self._client.on_connect = lambda client, *_: client.subscribe("learnae/1/#", 1)
        self._client.on_message = self._on_message
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def close(self) -> None:
        self._client.loop_stop()
        self._client.disconnect()

    def steps(self) -> int:
        """As the board has published them."""
        return int(json.loads(self.newest.get("state", b"{}")).get("steps", 0))

    def _on_message(self, client: paho.Client, _: object, message: paho.MQTTMessage) -> None:
        channel = message.topic.rpartition("/")[2]
        self.newest[channel] = message.payload
        if channel == "status":
            self.statuses.append(message.payload.decode())


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path_factory.mktemp("mosquitto")) as running:
        yield running


@pytest.fixture(scope="module")
def watcher(broker: Mosquitto) -> Iterator[Watcher]:
    watching = Watcher(broker.port)
    yield watching
    watching.close()


@pytest.fixture(scope="module")
def board(userland: Userland, broker: Mosquitto, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Board]:
    root = userland.root
    prepare(root)
    config = root / "etc/learnae/agent-board.toml"
    text = config.read_text().replace("# [mqtt]", "[mqtt]")
    config.write_text(f'{text}broker = "mqtt://{GATEWAY}:1883"\n')
    override = root / "etc/systemd/system/learnae-agent@.service.d/quick.conf"
    override.parent.mkdir(parents=True)
    override.write_text(QUICK)
    (root / "usr/local/lib/hang.py").write_text(HANG)
    subprocess.run(["systemctl", f"--root={root}", "enable", "--quiet", AGENT], check=True)
    with Board(root, tmp_path_factory.mktemp("board"), broker.port) as machine:
        print(f"\na shell answers {machine.start():.0f} s after power on")
        yield machine


def show(board: Board, name: str) -> str:
    return board.output(f"systemctl show {AGENT} --property {name} --value")


def status(board: Board) -> dict[str, Any]:
    done = board.run(f"cat {STATUS}")
    try:
        return dict(json.loads(done.stdout))
    except ValueError:
        return {}


def trained(board: Board, more_than: int = 0) -> dict[str, Any]:
    """The status once the peer has trained further."""

    def reached() -> dict[str, Any] | None:
        said = status(board)
        return said if said.get("steps", 0) > more_than else None

    return dict(wait_for(reached, "the agent to train", PATIENCE))


def restarted(board: Board, process: str) -> None:
    wait_for(lambda: show(board, "MainPID") not in (process, "0"), "another process", PATIENCE)
    wait_for(lambda: show(board, "ActiveState") == "active", "the agent to be ready", PATIENCE)


def test_it_trains(board: Board) -> None:
    said = trained(board)
    megabytes = int(board.output(f"grep VmRSS /proc/{show(board, 'MainPID')}/status").split()[1]) / 1024
    print(f"{said['steps']} steps, accuracy {said['accuracy']}, {megabytes:.0f} MB, {board.output('uname -mr')}")
    assert "steps" in show(board, "StatusText")
    assert board.output("uname -m") == "aarch64"
    assert "training with NumPy" not in board.output(f"journalctl --unit {AGENT} --no-pager")  # but with TFLite


def test_it_publishes_to_this_machines_broker(board: Board, watcher: Watcher) -> None:
    steps = trained(board)["steps"]
    wait_for(lambda: watcher.steps() > steps, "a state with later steps", PATIENCE)
    assert watcher.statuses[-1] == "online"


def test_memory_max_kills_it_and_it_comes_back_with_its_state(board: Board) -> None:
    before, process = trained(board), show(board, "MainPID")
    board.output(f"systemctl set-property --runtime {AGENT} MemoryMax=12M")
    wait_for(
        lambda: "oom-kill" in board.output(f"journalctl --unit {AGENT} --no-pager"), "the kernel to kill", PATIENCE
    )
    board.output(f"systemctl set-property --runtime {AGENT} MemoryMax=256M")
    restarted(board, process)
    assert trained(board, before["steps"])["peer"] == before["peer"]


def test_the_watchdog_kills_a_hung_work_loop_and_it_comes_back_with_its_state(board: Board) -> None:
    before, process = trained(board), show(board, "MainPID")
    board.output(f"python3 /usr/local/lib/hang.py {process}")
    assert "Watchdog timeout" in board.output(f"journalctl --unit {AGENT} --no-pager")
    restarted(board, process)
    assert trained(board, before["steps"])["peer"] == before["peer"]


@pytest.mark.parametrize("time", ["first", "second"])
def test_power_cut(board: Board, watcher: Watcher, time: str) -> None:
    before = trained(board)
    before = trained(board, before["steps"])
    board.cut()
    wait_for(lambda: watcher.statuses[-1] == "offline", "the last will", PATIENCE)
    seconds = board.start()
    after = trained(board, before["steps"])
    print(f"{time} cut: a shell after {seconds:.0f} s; {before['steps']} steps before, {after['steps']} now")
    assert after["peer"] == before["peer"]
    assert after["problems"] == {}
    wait_for(lambda: watcher.statuses[-1] == "online" and watcher.steps() > before["steps"], "its state", PATIENCE)
