"""docs/first-swarm.md, typed line by line on three machines: a network of two, and a broker for the third."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from mosquitto import Mosquitto
from networks import Network
from programs import Child, Programs, finish, wait_for

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "first-swarm.md").read_text()
BLOCK = re.compile(r"^```(sh)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
WHERE = re.compile("on the (workstation|Pi|third machine)", re.IGNORECASE)
LOOKS = {"trainer-node status", "learnae members", "learnae peers"}  # may be typed until they show what is awaited
BROKER_PORT = 18833

pytestmark = [
    pytest.mark.slow,
    pytest.mark.engine("ip"),
    pytest.mark.engine("mosquitto"),
    pytest.mark.modules("spake2"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root makes network namespaces"),
]


@dataclass
class Step:
    """What is typed where, and what the page says is seen then."""

    machine: str
    text: str
    seen: str = ""


def steps() -> Iterator[Step]:
    found: list[Step] = []
    end, machine = 0, ""
    for block in BLOCK.finditer(PAGE):
        machine = ([machine, *WHERE.findall(PAGE[end : block.start()])])[-1]
        if block[1]:
            found.append(Step(machine, block[2]))
        else:
            found[-1].seen += block[2]
        end = block.end()
    return iter(found)


def is_seen(wanted: str, said: str) -> bool:
    """Whether each line is there, with anything in place of …"""
    patterns = [re.compile(".*".join(map(re.escape, line.split("…")))) for line in wanted.splitlines()]
    return all(any(map(pattern.search, said.splitlines())) for pattern in patterns)


class Desks:
    """The three machines, and who types there."""

    def __init__(self, root: Path, network: Network) -> None:
        self.root, self.code = root, ""
        self.running: list[Child] = []
        self.machines = {
            "workstation": network.machine(0, 1), "Pi": network.machine(0), "third machine": network.machine(1),
        }  # fmt: skip
        self.programs: dict[str, Programs] = {}
        for name in self.machines:
            (root / name).mkdir()
            self.programs[name] = Programs(root / name)
            self.programs[name].config = root / name / ".config"

    def type(self, step: Step) -> str:
        """Type all lines of a step; return what was seen."""
        if "<<" in step.text:
            document, step.text = step.text.split("\nEND\n")
            subprocess.run(
                ["bash", "-e", "-c", f"{document}\nEND".replace("broker.local", f"10.77.1.1:{BROKER_PORT}")],
                env={**os.environ, "HOME": str(self.root / step.machine)}, check=True,
            )  # fmt: skip
        return "".join(self._line(step.machine, line) for line in step.text.splitlines())

    def _line(self, where: str, line: str) -> str:
        program, *words = line.split()
        programs, machine = self.programs[where], self.machines[where]
        words = [self.code if re.fullmatch(r"\d+-\w+-\w+|LRN1…", word) else word for word in words]
        if program == "python3":
            return finish(sys.executable, ROOT / words[0], cwd=self.root / where).stdout
        module = {"learnae": "learnae", "learnae-agent": "agent", "trainer-node": "trainer_node"}[program]
        with machine:
            if line in ("learnae invite --spoken", "learnae-agent run"):
                self.running.append(programs.start(module, *words, pause=None))
                if "invite" not in line:
                    return ""
                code, empty, told = (self.running[-1].line() for _ in range(3))
                self.code = code.strip()
                return code + empty + told
            share = {} if where == "Pi" else {"LEARNAE_TRAIN__SHARE": "0.1"}
            done = programs.run(module, *words, environment=share)
        assert done.returncode == 0, f"{line}: {done.stderr}"
        if found := re.search("^LRN1[0-9A-Z]+", done.stdout, re.MULTILINE):
            self.code = found[0]
        return done.stdout + done.stderr

    def look(self, step: Step) -> bool:
        """Whether what is typed shows what it is to show; it is typed no more than twice a second."""
        time.sleep(0.5)
        return is_seen(step.seen, self.type(step))

    def pi_has_heard_the_third(self) -> bool:
        """Whether a message of attic's, who reaches the broker alone, is on the Pi, which reaches the workstation."""
        time.sleep(0.5)
        attic = self.programs["third machine"].status("attic").get("peer")
        return attic in {message["author"] for message in self.programs["Pi"].answer("learnae", "log")}

    def agent_says(self, wanted: str) -> bool:
        """Whether the agent that runs has said so."""
        return is_seen(wanted, self.running[-1].log)

    def close(self) -> None:
        for programs in self.programs.values():
            programs.run("trainer_node", "stop")
            programs.__exit__()


@pytest.fixture
def desks(tmp_path: Path) -> Iterator[Desks]:
    with ExitStack() as stack:
        made = Desks(tmp_path, stack.enter_context(Network(2)))
        listener = f"listener {BROKER_PORT} 10.77.1.1\nallow_anonymous true"
        broker = Mosquitto(tmp_path / "broker", extra=listener)  # here: other tests' ports are not seen from a machine
        with made.machines["workstation"]:
            stack.enter_context(broker)
        stack.callback(made.close)
        yield made


def test_every_line_of_the_page_does_what_the_page_says(desks: Desks) -> None:
    typed = list(steps())
    assert {step.machine for step in typed} == set(desks.machines)
    for step in typed:
        if set(step.text.splitlines()) <= LOOKS:
            wait_for(partial(desks.look, step), f"what {step.text} shows", 90)
            continue
        said = desks.type(step)
        if step.text == "learnae-agent run\n":
            wait_for(partial(desks.agent_says, step.seen), "the agent to go on", 90)
        else:
            assert is_seen(step.seen, said), f"{step.text}\n{said}"
        if step.text.startswith("python3"):
            for place, name in (("Pi", "two.npz"), ("third machine", "three.npz")):
                shutil.copy(desks.root / step.machine / name, desks.root / place)
        if "--role agent" in step.text:
            assert desks.running[-1].wait(60) == 0
            assert "is a member" in desks.running[-1].communicate()[0]
        if "--name attic" in step.text:
            wait_for(desks.pi_has_heard_the_third, "the Pi to hear the third machine", 90)
