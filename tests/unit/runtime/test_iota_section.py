"""``[iota]``: what is refused, where commands find it, and what connecting makes of it."""

import argparse
import json
import os
from pathlib import Path

import pytest
from builders import tiny_manifest
from hostile_http import hostile_server, says
from iri_node import IriNode

from agent.config import AgentConfig
from learnae.adapters.iota import node as iota_client
from learnae.adapters.iota.node import POW
from learnae.adapters.iota.proof_of_work import MAX_MWM
from learnae.adapters.iota.pyota import INSTALL_PYOTA
from learnae.cli.commands.look import doctor as doctor_module
from learnae.cli.commands.look.doctor import doctor
from learnae.config.loading import find_section, load_config
from learnae.config.sections import ExchangeSection, GatewaySection, IotaSection, LanSection, MqttSection
from learnae.errors import ConfigurationError
from learnae.runtime.link_set import LinkSet
from learnae.runtime.links.connect import connect
from learnae.runtime.workspace import Workspace
from learnae.swarm.directory import create_swarm
from learnae.system.installation import how_to_install
from trainer_node.config import TrainerConfig

URL = "http://127.0.0.1:14265"


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("LEARNAE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("LEARNAE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr(doctor_module, "try_parts", lambda names: dict.fromkeys(names, ""))  # seconds of JAX each time


def write(tmp_path: Path, role: str, text: str) -> None:
    path = tmp_path / "config" / "learnae" / f"{role}.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("node", "127.0.0.1:14265"),
        ("pow", "cloud"),
        ("mwm", -1),
        ("mwm", MAX_MWM + 1),
        ("poll", 0.0),
        ("poll", 601.0),
        ("every", 0.0),
        ("every", float("nan")),
        ("coordinator", "A" * 80),
        ("coordinator", "a" * 81),
        ("events", "127.0.0.1:5556"),
    ],
)
def test_values_that_cannot_be_are_named(key, value):
    with pytest.raises(ConfigurationError, match=rf"iota\.{key}"):
        IotaSection(**{key: value})


def test_the_section_knows_the_clients_words():
    for word in POW:
        assert IotaSection(pow=word).pow == word
    assert IotaSection(mwm=MAX_MWM).mwm == MAX_MWM


@pytest.mark.parametrize(("role", "kind"), [("agent", AgentConfig), ("trainer", TrainerConfig)])
def test_both_roles_have_it(tmp_path, role, kind):
    write(tmp_path, role, f'[iota]\nnode = "{URL}"\npoll = 2\n')
    config = load_config(kind, role, environment={})
    assert (config.iota.node, config.iota.poll) == (URL, 2.0)


def test_commands_find_it_in_any_roles_file(tmp_path, monkeypatch):
    assert find_section(IotaSection, "iota") == IotaSection()
    write(tmp_path, "agent", '[peer]\nname = "a"\n[source]\nfile = "x"\n[iota]\nnode = "http://agents"\nmwm = 5\n')
    assert find_section(IotaSection, "iota").node == "http://agents"
    write(tmp_path, "trainer", '[data]\nfile = "x"\n[iota]\nnode = "http://trainers"\n')
    found = find_section(IotaSection, "iota")
    assert (found.node, found.mwm) == ("http://trainers", 5)
    monkeypatch.setenv("LEARNAE_IOTA__NODE", URL)
    monkeypatch.setenv("LEARNAE_PEER__NAME", "somebody")
    assert find_section(IotaSection, "iota").node == URL
    write(tmp_path, "trainer", "[iota]\nnod = 5\n")
    with pytest.raises(ConfigurationError, match="did you mean 'node'"):
        find_section(IotaSection, "iota")


# -- connect


def connected(tmp_path: Path, iota: IotaSection) -> LinkSet:
    workspace = Workspace(create_swarm(tiny_manifest()), tmp_path / "peer")
    return connect(workspace, MqttSection(), GatewaySection(), ExchangeSection(), iota, LanSection())


def test_nothing_is_loaded_or_linked_without_a_node(tmp_path, monkeypatch):
    monkeypatch.setattr(iota_client, "load", lambda: pytest.fail("pyota was loaded"))
    links = connected(tmp_path, IotaSection())
    assert "iota" not in links.gossips


def test_a_node_that_is_away_makes_nobody_wait_and_is_a_line_in_the_status(tmp_path):
    section = IotaSection(node="http://127.0.0.1:1")
    links = connected(tmp_path, section)
    assert links.status()["iota"].startswith(("connecting", "away: IOTA node at http://127.0.0.1:1"))
    links.close()
    assert links.gossips["iota"].state() == "closed"


def test_without_pyota_both_lines_are_said(tmp_path, monkeypatch):
    def missing(*_):
        raise ConfigurationError("pyota is not installed", INSTALL_PYOTA)

    monkeypatch.setattr(iota_client, "load", missing)
    with pytest.raises(ConfigurationError, match="no-deps pyota"):
        connected(tmp_path, IotaSection(node=URL))


def test_without_pyzmq_events_are_the_users_mistake(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "zmq", None)
    section = IotaSection(node="http://127.0.0.1:1", events="tcp://127.0.0.1:1")
    with pytest.raises(ConfigurationError, match="pip install pyzmq"):
        connected(tmp_path, section)


# -- doctor


def examine(capsys) -> tuple[int, dict[str, dict[str, str]]]:
    status = doctor(argparse.Namespace(json=True))
    return status, {finding["thing"]: finding for finding in json.loads(capsys.readouterr().out)}


def test_doctor_says_both_lines_where_pyota_is_missing(capsys, monkeypatch):
    import importlib.metadata

    real = importlib.metadata.version

    def version(name: str) -> str:
        if name == "pyota":
            raise importlib.metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    status, found = examine(capsys)
    assert (status, found["pyota"]["state"]) == (0, "missing")
    assert found["pyota"]["remedy"] == f"{how_to_install('iota')} && {INSTALL_PYOTA}"
    assert "IOTA node" not in found, "none is configured"


def test_doctor_looks_at_the_configured_node(tmp_path, capsys, monkeypatch):
    with IriNode(tmp_path / "node") as node:
        monkeypatch.setenv("LEARNAE_IOTA__NODE", node.url)
        status, found = examine(capsys)
        assert (status, found["IOTA node"]["state"]) == (0, "ok")
        assert f"{node.url}, LOOPBACK 1.0, milestone" in found["IOTA node"]["detail"]
        assert f"magnitude {node.mwm}" in found["IOTA node"]["detail"]
        node.lagging = True
        status, found = examine(capsys)
        assert (status, found["IOTA node"]["state"]) == (1, "broken")
        assert "milestone" in found["IOTA node"]["detail"]
    status, found = examine(capsys)
    assert (status, found["IOTA node"]["state"]) == (1, "broken")
    assert node.url in found["IOTA node"]["detail"]


@pytest.mark.parametrize(
    ("version", "takes_data"),
    [("0.5.6", True), ("0.5.6-rc1", True), ("0.5.10", False), ("0.10.0", False), ("1.2.4", False)],
)
def test_a_hornet_that_takes_no_data_is_named_by_its_version(capsys, monkeypatch, version, takes_data):
    said = {"appName": "HORNET", "appVersion": version, "isSynced": True, "time": 1}
    said |= {"latestMilestoneIndex": 7, "latestSolidSubtangleMilestoneIndex": 7}
    with hostile_server(says(json.dumps(said).encode())) as server:
        monkeypatch.setenv("LEARNAE_IOTA__NODE", server.url)
        monkeypatch.setenv("LEARNAE_IOTA__MWM", "9")
        finding = examine(capsys)[1]["IOTA node"]
    assert finding["state"] == ("ok" if takes_data else "broken")
    assert f"HORNET {version}" in finding["detail"]
    assert takes_data or "0.5.6" in finding["detail"]
