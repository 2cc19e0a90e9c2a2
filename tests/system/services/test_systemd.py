"""The shipped units under a real systemd: installed as on a board, started, hung, stopped, misconfigured, cut off."""

import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from container import ROOT, Container
from hanging import HANG
from programs import succeed, wait_for

from demo.people import write_private_file
from learnae.swarm.directory import create_swarm
from learnae.swarm.presets import preset

pytestmark = [
    pytest.mark.slow,
    pytest.mark.engine("systemd-nspawn", "mmdebstrap"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can boot a container"),
]

AGENT = "learnae-agent@garden"
TRAINER = "trainer-node"
BRIDGE = "firmware-bridge@pump"
STATE = "/var/lib/learnae/garden/peers/garden"

# shorter times than on a board; the rest of the units is as shipped
QUICK = "[Service]\nTimeoutStopSec=30\nTimeoutAbortSec=1\nRestartSec=100ms\n"
STRICT = "[Service]\nWatchdogSec=4\n"  # only where it is to bite: a busy machine is late, too


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a board gets, for this machine, and what a trainer needs on top."""
    directory = tmp_path_factory.mktemp("pack")
    environment = {**os.environ, "PYTHON": sys.executable}
    succeed(ROOT / "scripts" / "pack-board", directory, os.uname().machine, "typer", env=environment)
    return directory


@pytest.fixture(scope="module")
def board(pack: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    """Installed and configured, and booted with the agent enabled."""
    directory = tmp_path_factory.mktemp("board")
    swarm = create_swarm(preset("wrist", created=0), directory / "swarm").directory
    with Container(directory) as container:
        shutil.copytree(pack, container.root / "pack")
        shutil.copy(swarm / "manifest.cbor", container.root / "pack")
        services = "garden --bridge pump --swarm /pack/manifest.cbor"
        container.before_boot(f"sh /pack/install-board {services}")
        container.before_boot("/opt/learnae/bin/pip install --quiet --no-index --find-links /pack typer")
        container.before_boot(f"/opt/learnae/bin/learnae-agent install {services} --trainer")
        configuration = container.root / "etc/learnae"
        write_private_file(1, configuration / "recording.npz")
        for name in ("agent-garden", "trainer"):
            edit(configuration / f"{name}.toml")
        (configuration / "credentials/agent-garden/password").write_text("secret")
        for unit in (AGENT.replace("garden", ""), TRAINER):
            override = container.root / f"etc/systemd/system/{unit}.service.d/quick.conf"
            override.parent.mkdir(parents=True)
            override.write_text(QUICK)
        container.before_boot(f"systemctl enable --quiet {AGENT}")
        container.boot()
        yield container


def edit(file: Path) -> None:
    """As the comments in the examples say, for a recording that is there."""
    text = file.read_text()
    for example in ("/etc/learnae/recording.csv", "/srv/learnae/data.csv"):
        text = text.replace(example, "/etc/learnae/recording.npz")
    file.write_text(text.replace("every = 5.0", "every = 0.2"))


def status(board: Container, path: str = STATE) -> dict[str, Any]:
    done = board.run(f"cat {path}/status.json")
    return dict(json.loads(done.stdout)) if done.returncode == 0 else {}


def wait_for_steps(board: Container, more_than: int = 0) -> dict[str, Any]:
    def reached() -> dict[str, Any] | None:
        said = status(board)
        return said if said.get("steps", 0) > more_than else None

    try:
        return dict(wait_for(reached, "the agent to train"))
    except AssertionError:
        print(board.journal(AGENT))
        raise


def is_active(board: Container, unit: str = AGENT) -> bool:
    return board.show(unit, "ActiveState") == "active"


@pytest.fixture
def running(board: Container) -> Container:
    """The agent runs and trains, whatever the test before has done."""
    board.output(f"systemctl reset-failed {AGENT} && systemctl start {AGENT}")
    wait_for_steps(board)
    return board


def test_it_starts_at_boot_as_nobody_in_particular_and_says_how_it_is(running: Container) -> None:
    assert is_active(running)
    assert "steps" in running.show(AGENT, "StatusText")
    pid = running.show(AGENT, "MainPID")
    identity = running.output(f"grep -E '^(Uid|CapEff|NoNewPrivs|Seccomp):' /proc/{pid}/status").split()
    assert int(identity[1]) >= 61184  # systemd's range of dynamic users
    assert identity[-5:] == ["0000000000000000", "NoNewPrivs:", "1", "Seccomp:", "2"]
    assert running.output(f"stat -L -c %a {STATE}/key.pem") == "600"


def test_it_sees_its_own_secrets_and_cannot_write_elsewhere(running: Container) -> None:
    pid = running.show(AGENT, "MainPID")
    inside = f"nsenter --target {pid} --mount"
    assert running.output(f"{inside} cat /run/credentials/{AGENT}.service/learnae_password") == "secret"
    for place in ("/etc/learnae", "/usr", "/opt/learnae", "/var/lib"):
        assert "Read-only file system" in running.run(f"{inside} touch {place}/x").stderr
    assert running.output("ls -A /root")
    assert not running.output(f"{inside} ls -A /root")


@pytest.fixture
def strict(running: Container) -> Iterator[Container]:
    """The agent under a watchdog that bites soon."""
    override = running.root / f"etc/systemd/system/{AGENT}.service.d/strict.conf"
    override.parent.mkdir()
    override.write_text(STRICT)
    running.output(f"systemctl daemon-reload && systemctl restart {AGENT}")
    yield running
    shutil.rmtree(override.parent)
    running.output(f"systemctl daemon-reload && systemctl restart {AGENT}")


def test_a_hung_work_loop_is_killed_by_the_watchdog_and_starts_again(strict: Container) -> None:
    before = wait_for_steps(strict)
    pid = ""

    def hung() -> bool:  # until it is dead; not, if it has been too late by itself, and is another process by now
        nonlocal pid
        pid = strict.show(AGENT, "MainPID")
        return strict.run(f"python3 -c '{HANG}' {pid}").returncode == 0

    wait_for(hung, "the watchdog to bite")
    wait_for(lambda: strict.show(AGENT, "MainPID") not in (pid, "0"), "another process")
    assert "Watchdog timeout" in strict.journal(AGENT)
    wait_for(lambda: is_active(strict), "the agent to be ready again")
    after = wait_for_steps(strict, before["steps"])
    assert after["peer"] == before["peer"]
    assert after["seq"] >= before["seq"]


def test_a_killed_agent_starts_again_with_its_state(running: Container) -> None:
    restarts, before = int(running.show(AGENT, "NRestarts")), wait_for_steps(running)
    running.output(f"systemctl kill --signal KILL {AGENT}")
    wait_for(lambda: int(running.show(AGENT, "NRestarts")) > restarts and is_active(running), "a restart")
    after = wait_for_steps(running, before["steps"])
    assert after["peer"] == before["peer"]


def test_stopping_saves_within_ten_seconds_or_thirty_on_a_busy_machine(running: Container) -> None:
    before = wait_for_steps(running)
    running.output(f"systemctl stop {AGENT}")
    assert running.show(AGENT, "Result") == "success"  # "timeout" after TimeoutStopSec
    assert running.show(AGENT, "ExecMainStatus") == "0"
    stopped = status(running)
    assert stopped["steps"] >= before["steps"]
    running.output(f"systemctl start {AGENT}")
    assert wait_for_steps(running, stopped["steps"])["peer"] == before["peer"]


def test_reloading_reads_the_configuration_and_keeps_the_process(running: Container) -> None:
    pid = running.show(AGENT, "MainPID")
    running.output(f"systemctl reload {AGENT}")
    wait_for(lambda: "configuration read again" in running.journal(AGENT), "the reload")
    wait_for(lambda: is_active(running), "the agent to be ready again")
    assert running.show(AGENT, "MainPID") == pid


def test_a_wrong_configuration_is_said_once_and_not_tried_again(running: Container) -> None:
    running.output(f"systemctl stop {AGENT}")
    file = running.root / "etc/learnae/agent-garden.toml"
    good = file.read_text()
    file.write_text(good.replace("every", "evry"))
    try:
        assert running.run(f"systemctl start {AGENT}").returncode != 0
        assert running.show(AGENT, "ExecMainStatus") == "78"
        restarts = running.show(AGENT, "NRestarts")
        time.sleep(1.0)  # ten times RestartSec
        assert running.show(AGENT, "ActiveState") == "failed"
        assert running.show(AGENT, "NRestarts") == restarts
        assert "did you mean 'every'?" in running.journal(AGENT)
    finally:
        file.write_text(good)


def test_after_a_power_cut_it_comes_back_by_itself_with_its_state(running: Container) -> None:
    before = wait_for_steps(running)
    running.kill()
    running.boot()
    wait_for(lambda: is_active(running), "the agent to start at boot")
    after = wait_for_steps(running, before["steps"])
    assert after["peer"] == before["peer"]
    assert after["problems"] == {}


def as_agent(board: Container) -> str:
    """What to put before a command so that it sees and may do what the agent's process does."""
    pid = board.show(AGENT, "MainPID")
    user, group = (board.output(f"stat -c %{letter} /proc/{pid}") for letter in "ug")
    return f"nsenter --target {pid} --user --mount --net setpriv --reuid {user} --regid {group} --keep-groups"


def test_root_gives_the_service_a_label(running: Container) -> None:
    live = "sed 's/^file = .*/kind = \"bridge\"/' /etc/learnae/agent-garden.toml >/etc/learnae/live.toml"
    running.output(f"{live} && learnae-agent label PEN --config /etc/learnae/live.toml")
    assert json.loads(running.output(f"{as_agent(running)} cat {STATE}/label"))["label"] == "PEN"


def test_a_bridge_serves_agents_and_nobody_else(running: Container) -> None:
    running.output("sed -i '/^socket/d' /etc/learnae/bridge-pump.toml")  # the unit says where
    assert "LEARNAE_BRIDGE=/run/firmware-bridge/garden/bridge.sock" in running.show(AGENT, "Environment")
    running.output(f"systemctl start {BRIDGE}")
    connect = 'import socket; socket.socket(socket.AF_UNIX).connect("/run/firmware-bridge/pump/bridge.sock")'
    nobody = "setpriv --reuid 65534 --regid 65534 --clear-groups"
    assert "PermissionError" in running.run(f"{nobody} python3 -c '{connect}'").stderr
    running.output(f"{as_agent(running)} python3 -c '{connect}'")
    running.output(f"systemctl stop {BRIDGE}")
    assert running.show(BRIDGE, "Result") == "success"


def test_trainer_node_starts_shows_and_stops_its_unit(board: Container) -> None:
    program = "/opt/learnae/bin/trainer-node"
    stopped = board.run(f"{program} status")
    assert (stopped.returncode, stopped.stdout.split()[0]) == (3, "stopped")
    assert board.run(f"{program} start --detach").returncode == 0, board.journal(TRAINER)
    assert is_active(board, TRAINER)
    shown = json.loads(board.output(f"{program} status --json"))
    assert (shown["state"], shown["unit"]) == ("running", "active")
    assert str(shown["process"]) == board.show(TRAINER, "MainPID")
    wait_for(lambda: "trainer: " in board.output(f"{program} logs"), "a line in the log")
    board.output(f"{program} stop")
    assert board.show(TRAINER, "Result") == "success"
    assert board.run(f"{program} status").returncode == 3


class Desk:
    """A member of a swarm by invite that serves in the same container, as root's own."""

    _learnae = "cd /root && LEARNAE_HOME=/root/desk learnae"

    def __init__(self, board: Container) -> None:
        self.board = board
        board.output(f"{self._learnae} swarm create --preset wrist --name club")
        data = "--data /etc/learnae/recording.npz"
        board.output(f"{self._learnae} join club --role agent --name ann {data} --config /root/ann.toml")
        board.output('printf "[lan]\\nserve = \\"127.0.0.1:8733\\"\\n" >>/root/ann.toml')
        run = "learnae-agent run --config /root/ann.toml"
        board.output(f"systemd-run --quiet --unit ann --setenv HOME=/root --setenv LEARNAE_HOME=/root/desk {run}")

    def invite(self) -> str:
        said = self.board.output(f"{self._learnae} invite --role agent --address http://127.0.0.1:8733 --json")
        return str(json.loads(said)["code"])


@pytest.fixture(scope="module")
def desk(board: Container) -> Desk:
    return Desk(board)


def assert_in(board: Container, name: str, code: str) -> None:
    """It is a member, and its code is nowhere any more."""
    state = f"/var/lib/learnae/{name}/peers/{name}"
    wait_for(lambda: status(board, state).get("membership") == "member", f"{name} to be let in")
    for path in (f"/etc/learnae/credentials/agent-{name}/invite-code", f"{state}/invite-code"):
        wait_for(lambda path=path: board.run(f"test -e {path}").returncode == 1, f"{path} to be gone")
    assert code not in board.journal(f"learnae-agent@{name}")


def test_a_board_that_was_given_a_code_asks_by_itself(running: Container, desk: Desk) -> None:
    code = desk.invite()
    running.output(f"echo {code} | learnae-agent install shed --swarm -")
    assert running.output("stat -c %a /etc/learnae/credentials/agent-shed/invite-code") == "600"
    edit(running.root / "etc/learnae/agent-shed.toml")
    running.output("systemctl daemon-reload && systemctl start learnae-agent@shed")
    assert_in(running, "shed", code)
    before = status(running, "/var/lib/learnae/shed/peers/shed")["peer"]
    running.output("systemctl restart learnae-agent@shed")
    wait_for(lambda: status(running, "/var/lib/learnae/shed/peers/shed").get("steps", 0) > 0, "the board to train")
    assert status(running, "/var/lib/learnae/shed/peers/shed")["peer"] == before


def test_one_line_with_a_code_makes_the_service_of_a_board(running: Container, desk: Desk) -> None:
    code = desk.invite()
    line = f"learnae join {code} --role agent --name hut --data /etc/learnae/recording.npz --start --json"
    assert json.loads(running.output(line))["member"] is True
    assert_in(running, "hut", code)
    assert running.output("systemctl is-enabled learnae-agent@hut") == "enabled"
    refused = running.run(f"learnae join {desk.invite()} --role agent --name hut --data /etc/passwd --start")
    assert (refused.returncode, "has another [source]" in refused.stderr) == (78, True)
    refused = running.run(f"learnae join {desk.invite()} --role agent --name den --data /root/x --start")
    assert (refused.returncode, "services see no homes" in refused.stderr) == (78, True)
