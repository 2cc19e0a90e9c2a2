"""The commands of docs/ipfs.md, run as they are written there; only ports differ, and everything stays on loopback."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from daemon import HOST, free_port
from programs import PATIENCE, Programs, finish, succeed, wait_for

from agent.config import AgentConfig
from demo.people import write_private_file
from learnae.config.loading import load_config

pytestmark = [pytest.mark.engine("ipfs"), pytest.mark.modules("ipfshttpclient"), pytest.mark.slow]
ROOT = Path(__file__).parents[3]
DOCUMENT = (ROOT / "docs" / "ipfs.md").read_text()
CODE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

_IPFS = """#!/bin/sh
set -e
if [ "$1" = init ]; then
    "{ipfs}" "$@" --profile=test
    "{ipfs}" config Addresses.API /ip4/{host}/tcp/{api}
    "{ipfs}" config --json Addresses.Swarm '["/ip4/{host}/tcp/{swarm}"]'
else
    exec "{ipfs}" "$@"
fi
"""


def code(heading: str, language: str = "sh") -> list[str]:
    """The blocks of one section, in order."""
    (section,) = [part for part in DOCUMENT.split("\n## ") if part.startswith(heading + "\n")]
    return [text for kind, text in CODE.findall(section) if kind == language]


class Workstation:
    """A home on this machine, with programs and ports of its own."""

    def __init__(self, directory: Path, person: int) -> None:
        self.home = directory / "home"
        self.home.mkdir(parents=True)
        self.api, self.swarm_port = free_port(), free_port()
        programs = directory / "bin"
        programs.mkdir()
        ipfs = shutil.which("ipfs")
        self._write(programs / "ipfs", _IPFS.format(ipfs=ipfs, host=HOST, api=self.api, swarm=self.swarm_port))
        for name, module in (("learnae", "learnae"), ("trainer-node", "trainer_node")):
            self._write(programs / name, f'#!/bin/sh\nexec "{sys.executable}" -m {module} "$@"\n')
        write_private_file(person, directory / "private.npz")
        self.programs = Programs(directory)
        self.environment = self.programs.environment(
            HOME=str(self.home),
            DATA=str(directory / "private.npz"),
            IPFS_TELEMETRY="off",
            LEARNAE_PUBLISH__EVERY="0.2",
            LEARNAE_TRAIN__SHARE="0.2",
            PATH=f"{programs}:{os.environ['PATH']}",
            IPFS_PATH=str(self.home / ".ipfs"),
        )
        self.started: list[subprocess.Popen[bytes]] = []

    def run(self, script: str, **variables: str) -> str:
        """What the commands print; all must succeed."""
        environment = {**self.environment, **variables}
        return succeed("bash", "-euo", "pipefail", "-c", self._own(script), env=environment, cwd=self.home).stdout

    def start(self, command: str) -> None:
        """Run it in the background until the end."""
        log = self.home / "daemon.log"
        with log.open("wb") as file:
            words = ["bash", "-c", f"exec env {self._own(command)}"]
            self.started += [subprocess.Popen(words, env=self.environment, cwd=self.home, stdout=file, stderr=file)]
        wait_for(lambda: "Daemon is ready" in log.read_text(), f"the daemon: {log.read_text()}")
        assert "private network" in log.read_text()

    def end(self) -> None:
        """Nothing that was started goes on."""
        finish("trainer-node", "stop", env=self.environment)
        for process in self.started:
            process.kill()
            process.wait()

    def _own(self, text: str) -> str:
        return text.replace("/tcp/5001", f"/tcp/{self.api}")

    @staticmethod
    def _write(path: Path, text: str) -> None:
        path.write_text(text)
        path.chmod(0o755)


@pytest.fixture
def workstations(tmp_path: Path) -> Iterator[tuple[Workstation, Workstation]]:
    both = Workstation(tmp_path / "one", 1), Workstation(tmp_path / "other", 2)
    yield both
    for workstation in both:
        workstation.end()


def test_the_commands_of_the_document_work(workstations: tuple[Workstation, Workstation]) -> None:
    one, other = workstations
    make_key, initialise, daemon, address = code("A private swarm of daemons")
    one.run(make_key)
    shutil.copy(one.home / "swarm.key", other.home / "swarm.key")
    for workstation in workstations:
        workstation.run(initialise)
        workstation.start(daemon)

    (first,) = code("The first trainer")
    said = one.run(first)
    assert "cannot be reached" not in said
    assert "private: swarm.key" in said
    swarm = json.loads(one.run("learnae blocks --list --json"))
    found = next(block["cid"] for block in swarm if block["what"] == "manifest")

    (every_other,) = code("Every other trainer")
    other.run(every_other, SWARM=found, OTHER=one.run(address).split()[0])

    def everybody() -> bool:
        return all(len(each.programs.answer("learnae", "peers")) == 2 for each in workstations)

    wait_for(everybody, "both to know both", 2 * PATIENCE)
    newest, commands = code("Looking")
    node = one.run(newest)
    assert json.loads(node[node.index("{") :])["swarm"] == {"/": found}
    said = one.run(commands)
    assert f"learnae {found}" in said
    assert re.search(r"checked +[1-9]", said)
    assert re.search(r"deleted +0", said)


def test_the_boards_configuration_is_one(tmp_path: Path) -> None:
    (text,) = code("A board", "toml")
    (tmp_path / "agent.toml").write_text(text)
    config = load_config(AgentConfig, "agent", tmp_path / "agent.toml", environment={})
    assert config.ipfs.gateway_urls == [tomllib.loads(text)["ipfs"]["gateways"]]
