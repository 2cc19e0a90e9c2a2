"""The shipped units and examples, as ``learnae-agent install`` writes them: valid, tight, never in the user's way."""

import importlib.util
import os
import stat
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest
from programs import Programs, assert_refused, finish, succeed

from agent.config import AgentConfig
from agent.install import UNITS, Request, wanted
from agent.labels import LabelNames
from agent.sources.factory import opener
from agent.sources.section import SourceSection
from firmware_bridge.config import SOCKET_VARIABLE, BridgeConfig
from learnae.config.loading import load_config
from learnae.config.sections import MqttSection
from learnae.membership.codes.invite_code import InviteCode
from learnae.swarm.directory import create_swarm
from learnae.swarm.features import WindowStatistics
from learnae.swarm.presets import preset
from trainer_node.config import TrainerConfig

PROGRAMS = Path(sysconfig.get_path("scripts"))
UNIT_DIRECTORY = "usr/local/lib/systemd/system"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Everything written for an agent `garden`, a bridge and a trainer."""
    for item in wanted(Request(["garden"], ["pump"], trainer=True), tmp_path / "root", PROGRAMS):
        item.write()
    return tmp_path / "root"


@pytest.mark.engine("systemd-analyze")
@pytest.mark.parametrize("unit", UNITS)
def test_systemd_finds_nothing_wrong(root: Path, unit: str) -> None:
    assert succeed("systemd-analyze", "verify", "--recursive-errors=no", root / UNIT_DIRECTORY / unit).stderr == ""


@pytest.mark.engine("systemd-analyze")
@pytest.mark.parametrize(
    ("unit", "most"),
    [("learnae-agent@.service", 1.5), ("firmware-bridge@.service", 1.5), ("trainer-node.service", 1.7)],
)
def test_exposure(root: Path, unit: str, most: float) -> None:
    command = ("systemd-analyze", "security", "--offline=true", "--no-pager", root / UNIT_DIRECTORY / unit)
    succeed(*command, f"--threshold={round(10 * most)}")  # in tenths
    assert finish(*command, "--threshold=1").returncode != 0


@pytest.mark.parametrize("unit", UNITS)
def test_every_unit_is_watched_bounded_and_does_not_repeat_a_wrong_configuration(root: Path, unit: str) -> None:
    settings = dict(
        line.split("=", 1) for line in (root / UNIT_DIRECTORY / unit).read_text().splitlines() if "=" in line
    )
    assert (settings["Type"], settings["Restart"], settings["RestartPreventExitStatus"]) == ("notify", "always", "78")
    assert (settings["DynamicUser"], settings["StateDirectoryMode"]) == ("yes", "0700")
    assert settings["ExecStart"].startswith(f"{PROGRAMS}/")
    assert {"WatchdogSec", "MemoryMax"} <= settings.keys()


@pytest.mark.parametrize(("name", "kind"), [("agent-garden", AgentConfig), ("trainer", TrainerConfig)])
def test_the_examples_of_peers_are_configurations(root: Path, name: str, kind: type) -> None:
    config: Any = load_config(kind, "", root / f"etc/learnae/{name}.toml", environment={})
    assert config.swarm.id == "/etc/learnae/swarm.cbor"
    assert config.peer.name == name.removeprefix("agent-")


def test_the_example_of_a_bridge_is_a_configuration_and_its_socket_is_where_the_unit_allows_it(root: Path) -> None:
    config = load_config(BridgeConfig, "", root / "etc/learnae/bridge-pump.toml", environment={})
    assert config.bridge.path == Path("/run/firmware-bridge/pump/bridge.sock")
    unit = (root / UNIT_DIRECTORY / "firmware-bridge@.service").read_text()
    assert "RuntimeDirectory=firmware-bridge/%i\n" in unit


def meeting(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a bridge that nothing is said to listens, and an agent that nothing is said to looks."""
    for name in ("LEARNAE_HOME", SOCKET_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    features = WindowStatistics(("a",), 10.0, 10, 5, (0.0,) * 5, (1.0,) * 5)
    source = opener(SourceSection(kind="bridge"), features, LabelNames((), 2), MqttSection())("")
    source.read()
    path = BridgeConfig().bridge.path
    assert f"no bridge at {path}:" in source.state()
    return path


def of_unit(text: str, name: str) -> dict[str, str]:
    """What systemd puts into the environment of the instance ``name``."""
    words = [word for line in text.splitlines() if line.startswith("Environment=") for word in line[12:].split()]
    specifiers = {"%i": name, "%t": "/run", "%S": "/var/lib"}
    for specifier, value in specifiers.items():
        words = [word.replace(specifier, value) for word in words]
    return dict(word.split("=", 1) for word in words)


def test_agent_and_bridge_of_one_name_meet_without_a_word(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bridge, agent = ((root / UNIT_DIRECTORY / unit).read_text() for unit in (UNITS[1], UNITS[0]))
    found = [meeting(of_unit(text, "pump"), monkeypatch) for text in (bridge, agent)]
    assert found == [Path("/run/firmware-bridge/pump/bridge.sock")] * 2
    assert meeting(of_unit(agent, "fan"), monkeypatch) != found[0]


def test_by_hand_they_meet_in_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert meeting({"LEARNAE_HOME": str(tmp_path)}, monkeypatch) == tmp_path / "bridge.sock"
    assert meeting({"LEARNAE_HOME": str(tmp_path), SOCKET_VARIABLE: "/x"}, monkeypatch) == Path("/x")


@pytest.mark.parametrize(
    ("arguments", "configured"),
    [((), {"agent-board.toml"}), (("--trainer",), {"trainer.toml"}), (("a", "b"), {"agent-a.toml", "agent-b.toml"})],
)
def test_only_what_is_asked_for_is_configured(
    programs: Programs, tmp_path: Path, arguments: tuple[str, ...], configured: set[str]
) -> None:
    programs.answer("agent", "install", *arguments, "--root", tmp_path / "root")
    assert {path.name for path in (tmp_path / "root/etc/learnae").glob("*.toml")} == configured


def test_installing_again_changes_nothing(programs: Programs, root: Path) -> None:
    assert set(install(programs, root).values()) == {"same"}


def test_a_changed_configuration_stays_and_a_changed_unit_is_replaced(programs: Programs, root: Path) -> None:
    unit, config = root / UNIT_DIRECTORY / UNITS[0], root / "etc/learnae/agent-garden.toml"
    before = unit.read_text()
    for file in (unit, config):
        file.write_text("# mine\n")
    done = install(programs, root)
    assert (done[str(unit)], done[str(config)]) == ("replace", "keep")
    assert (unit.read_text(), config.read_text()) == (before, "# mine\n")


def test_a_dry_run_writes_nothing(programs: Programs, tmp_path: Path) -> None:
    done = install(programs, tmp_path / "root", "--dry-run")
    assert set(done.values()) == {"create"}
    assert not (tmp_path / "root").exists()


def test_the_swarm_is_where_the_examples_look_and_another_one_does_not_take_its_place(
    programs: Programs, tmp_path: Path
) -> None:
    swarms = [create_swarm(preset("wrist", created=created), tmp_path / f"{created}").directory for created in (0, 1)]
    install(programs, tmp_path / "root", "--swarm", swarms[0])
    copy = tmp_path / "root/etc/learnae/swarm.cbor"
    assert copy.read_bytes() == (swarms[0] / "manifest.cbor").read_bytes()
    done = install(programs, tmp_path / "root", "--swarm", swarms[1] / "manifest.cbor")
    assert done[str(copy)] == "keep"
    assert copy.read_bytes() == (swarms[0] / "manifest.cbor").read_bytes()


CODE = InviteCode(preset("wrist", created=0).swarm, bytes(range(32)), ("mqtts://broker.example",), ("fleet", "se cret"))


@pytest.mark.parametrize("given", ["argument", "standard input"])
def test_an_invite_code_becomes_a_secret_and_a_configuration_and_is_not_repeated(
    programs: Programs, tmp_path: Path, given: str
) -> None:
    root, code = tmp_path / "root", CODE.to_text()
    arguments = ["agent", "install", "garden", "--root", root, "--swarm", code if given == "argument" else "-"]
    done = succeed(
        sys.executable, "-m", *map(str, arguments), input=f"{code}\n", stdin=None, env=programs.environment()
    )
    assert code not in done.stdout + done.stderr
    assert "se cret" not in done.stdout + done.stderr
    secrets = root / "etc/learnae/credentials/agent-garden"
    assert {path.name: path.read_text() for path in secrets.iterdir()} == {
        "invite-code": f"{code}\n", "password": "se cret\n"
    }  # fmt: skip
    assert {stat.S_IMODE(path.stat().st_mode) for path in secrets.iterdir()} == {0o600}
    config = load_config(AgentConfig, "", root / "etc/learnae/agent-garden.toml", environment={})
    assert config.swarm.id == str(CODE.swarm)
    assert (config.mqtt.broker, config.mqtt.user) == ("mqtts://broker.example", "fleet")
    assert Path(config.mqtt.password_file).name == "password"
    unit = (root / UNIT_DIRECTORY / UNITS[0]).read_text()
    assert "ExecStartPost=+/bin/rm -f /etc/learnae/credentials/agent-%i/invite-code\n" in unit


@pytest.mark.parametrize(
    ("addresses", "peers", "said"),
    [
        (("http://192.0.2.7", "http://[2001:db8::1]:8733"), "http://192.0.2.7:80 http://[2001:db8::1]:8733", ""),
        ((), "", "the code names no place where members are met"),
    ],
)
def test_members_that_serve_are_configured_without_a_broker(
    programs: Programs, tmp_path: Path, addresses: tuple[str, ...], peers: str, said: str
) -> None:
    code = InviteCode(CODE.swarm, bytes(32), addresses).to_text()
    done = programs.run("agent", "install", "--trainer", "--root", tmp_path, "--swarm", code)
    assert done.returncode == 0, done.stderr
    assert said in done.stderr
    config = load_config(TrainerConfig, "", tmp_path / "etc/learnae/trainer.toml", environment={})
    assert (config.lan.peers, config.mqtt.broker) == (peers, "")
    assert (tmp_path / "etc/learnae/credentials/trainer/invite-code").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("a", "b", "--swarm", CODE.to_text()), "not one peer that is to use it"),
        (("--bridge", "pump", "--swarm", CODE.to_text()), "not one peer that is to use it"),
        (("a", "--swarm", CODE.to_text()[:-1]), "character"),
    ],
)
def test_a_code_that_cannot_be_used_writes_nothing(
    programs: Programs, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    done = programs.run("agent", "install", *arguments, "--root", tmp_path / "root")
    assert_refused(done, 78, words)
    assert not (tmp_path / "root").exists()


@pytest.mark.parametrize("name", ["../x", "a b", "", "-x", "x/y", "x" * 65])
def test_no_name_leads_out_of_the_directory(programs: Programs, tmp_path: Path, name: str) -> None:
    done = programs.run("agent", "install", "--root", tmp_path / "root", "--", name)
    assert_refused(done, 78, "is no name for a service")
    assert not (tmp_path / "root/etc").exists()


@pytest.mark.parametrize(("place", "warned"), [("/home/me/.venv/bin", True), ("/opt/learnae/bin", False)])
def test_programs_that_no_service_can_see_are_named(
    programs: Programs, tmp_path: Path, place: str, warned: bool
) -> None:
    done = programs.run("agent", "install", "--root", tmp_path / "root", "--programs", place, "--dry-run")
    assert done.returncode == 0
    assert ("services see no homes" in done.stderr) == warned


@pytest.mark.parametrize("mask", [0o077, 0o000, 0o027])
def test_modes_do_not_depend_on_the_umask(programs: Programs, tmp_path: Path, mask: int) -> None:
    swarm = create_swarm(preset("wrist", created=0), tmp_path / "swarm").directory
    before = os.umask(mask)
    try:
        install(programs, tmp_path / "root", "--swarm", swarm)
        assert os.umask(mask) == mask
    finally:
        os.umask(before)
    found = {path: stat.S_IMODE(path.stat().st_mode) for path in [tmp_path / "root", *(tmp_path / "root").rglob("*")]}
    secret = {path for path in found if path.parent.name == "credentials"}
    assert len(secret) == 3
    for path, mode in found.items():
        assert mode == (0o700 if path in secret else 0o755 if path.is_dir() else 0o644), path


@pytest.mark.parametrize(
    ("absent", "services", "said", "refused"),
    [
        ("typer", ["--trainer"], "the unit of the trainer could not start: typer not installed; ", True),
        ("cobs", ["--bridge", "pump"], "the unit of the bridge could not start: cobs not installed; ", True),
        ("paho", ["garden"], "the agent has to do without paho: ", False),
        ("jax", ["--trainer"], "the trainer has to do without jax: ", False),
        ("typer", ["garden"], "", False),
    ],
)
def test_what_a_unit_needs_and_this_environment_lacks_is_said_first(
    programs: Programs,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    absent: str,
    services: list[str],
    said: str,
    refused: bool,
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == absent else found(name))
    done = programs.run("agent", "install", *services, "--root", tmp_path / "root")
    if refused:
        assert_refused(done, 78, said, "pip install")
        assert not (tmp_path / "root").exists()
    else:
        assert done.returncode == 0
        assert done.stderr.startswith(said)
        assert ("do without" in done.stderr) == bool(said)


@pytest.mark.parametrize("place", ["/opt/my programs/bin", "/opt/100%/bin", "/opt/a\nb", '/opt/"x"/bin'])
def test_programs_that_no_unit_can_name_are_refused(programs: Programs, tmp_path: Path, place: str) -> None:
    done = programs.run("agent", "install", "--root", tmp_path / "root", "--programs", place)
    assert_refused(done, 78, "a unit cannot start programs in", "/opt/learnae")


def install(programs: Programs, root: Path, *arguments: object) -> dict[str, str]:
    services = ("garden", "--bridge", "pump", "--trainer")
    return dict(programs.answer("agent", "install", *services, "--root", root, "--programs", PROGRAMS, *arguments))


def test_a_service_joins_by_the_copy_of_the_manifest(programs: Programs, root: Path, tmp_path: Path) -> None:
    manifest = preset("wrist", created=0)
    copy = root / "etc/learnae/swarm.cbor"
    copy.write_bytes(manifest.to_bytes())
    done = programs.answer("learnae", "join", copy, "--role", "agent", "--config", tmp_path / "agent.toml")
    assert done["swarm"] == str(manifest.swarm)
    assert (programs.home / "swarms" / str(manifest.swarm) / "manifest.cbor").is_file()
