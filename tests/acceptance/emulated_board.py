"""An emulated board under systemd: the installed agent trains, is killed, hangs, loses power, and always comes back."""

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from emulator import GATEWAY, Board, prepare
from hanging import HANG
from mosquitto import Mosquitto
from mqtt_rig import Inbox, Links, plain
from programs import wait_for
from userland import Userland

AGENT = "learnae-agent@board"
STATUS = "/var/lib/learnae/board/peers/board/status.json"
PATIENCE = 240.0  # seconds; a board under emulation on a busy machine

QUICK = "[Service]\nWatchdogSec=15\nTimeoutAbortSec=2\nRestartSec=1\n"


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path_factory.mktemp("mosquitto")) as running:
        yield running


@pytest.fixture(scope="module")
def watcher(broker: Mosquitto) -> Iterator[Inbox]:
    """All that the board publishes, as this machine hears it."""
    with Links() as links:
        yield Inbox(links.open(plain(broker)), "learnae/1/#")


def published_steps(watcher: Inbox) -> int:
    said = watcher.payloads("state")
    return int(json.loads(said[-1]).get("steps", 0)) if said else 0


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


def journal(board: Board) -> str:
    return board.output(f"journalctl --unit {AGENT} --no-pager")


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
    assert "training with NumPy" not in journal(board)  # but with TFLite


def test_it_publishes_to_this_machines_broker(board: Board, watcher: Inbox) -> None:
    steps = trained(board)["steps"]
    wait_for(lambda: published_steps(watcher) > steps, "a state with later steps", PATIENCE)
    assert watcher.payloads("status")[-1] == b"online"


def test_memory_max_kills_it_and_it_comes_back_with_its_state(board: Board) -> None:
    before, process = trained(board), show(board, "MainPID")
    board.output(f"systemctl set-property --runtime {AGENT} MemoryMax=12M")
    wait_for(lambda: "oom-kill" in journal(board), "the kernel to kill", PATIENCE)
    board.output(f"systemctl set-property --runtime {AGENT} MemoryMax=256M")
    restarted(board, process)
    assert trained(board, before["steps"])["peer"] == before["peer"]


def test_the_watchdog_kills_a_hung_work_loop_and_it_comes_back_with_its_state(board: Board) -> None:
    before, process = trained(board), show(board, "MainPID")
    board.output(f"python3 /usr/local/lib/hang.py {process}")
    assert "Watchdog timeout" in journal(board)
    restarted(board, process)
    assert trained(board, before["steps"])["peer"] == before["peer"]


@pytest.mark.parametrize("time", ["first", "second"])
def test_power_cut(board: Board, watcher: Inbox, time: str) -> None:
    before = trained(board)
    before = trained(board, before["steps"])
    board.cut()
    wait_for(lambda: watcher.payloads("status")[-1] == b"offline", "the last will", PATIENCE)
    seconds = board.start()
    after = trained(board, before["steps"])
    print(f"{time} cut: a shell after {seconds:.0f} s; {before['steps']} steps before, {after['steps']} now")
    assert after["peer"] == before["peer"]
    assert after["problems"] == {}
    wait_for(lambda: watcher.payloads("status")[-1] == b"online", "its return", PATIENCE)
    wait_for(lambda: published_steps(watcher) > before["steps"], "its state", PATIENCE)
