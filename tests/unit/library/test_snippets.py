"""What pages quote is so: commands exist, snippets load, messages are said; keys and variables are complete."""

import argparse
import ast
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from agent.cli import _parser as agent_parser
from agent.config import AgentConfig
from firmware_bridge.cli import _parser as bridge_parser
from firmware_bridge.config import BridgeConfig
from learnae.cli.commands.swarm.definition import Definition
from learnae.cli.main import _parser as learnae_parser
from learnae.config.loading import given_values, load_config
from learnae.errors import ConfigurationError
from learnae.simulation.scenario_file import ScenarioFile
from trainer_node.cli import app
from trainer_node.config import TrainerConfig

ROOT = Path(__file__).parents[3]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
PACKAGES = ("learnae", "agent", "trainer_node", "firmware_bridge")
SOURCES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
PROGRAMS = ("learnae", "learnae-agent", "trainer-node", "firmware-bridge")
TABLE = "docs/environment.md"


def fenced(*languages: str) -> Iterator[Any]:
    for page in PAGES:
        for number, (language, text) in enumerate(FENCE.findall(page.read_text())):
            if language in languages:
                yield pytest.param(text, id=f"{page.relative_to(ROOT)}-{number}")


# -- commands


def flags_of_parser(parser: argparse.ArgumentParser, words: list[str]) -> set[str] | None:
    """The flags of the command that ``words`` begin with; None if there is no such verb."""
    found = {flag for action in parser._actions for flag in action.option_strings}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            verb = next((word for word in words if not word.startswith("-")), None)
            if verb is None:
                return found
            below = action.choices.get(verb)
            inner = flags_of_parser(below, words[words.index(verb) + 1 :]) if below else None
            return None if inner is None else found | inner
    return found


def flags_of_typer(words: list[str]) -> set[str] | None:
    group: Any = typer.main.get_command(app)
    verb = next((word for word in words if not word.startswith("-")), None)
    commands = [group]
    if verb is not None:
        if verb not in group.commands:
            return None
        commands.append(group.commands[verb])
    return {flag for command in commands for item in command.params for flag in (*item.opts, "--help")}


def flags_of(program: str, words: list[str]) -> set[str] | None:
    if program == "trainer-node":
        return flags_of_typer(words)
    parser = {"learnae": learnae_parser, "learnae-agent": agent_parser, "firmware-bridge": bridge_parser}[program]
    return flags_of_parser(parser(), words)


def commands_of(text: str) -> Iterator[list[str]]:
    """The calls of our programs in shell text: what is before a comment, a pipe or the next command."""
    for line in text.splitlines():
        for part in re.split(r"\s#\s|\|\||&&|[|;&]|\$\(| {2,}", line.strip()):
            words = part.replace("'", " ").replace('"', " ").replace("`", " ").strip(" ()").split()
            while words and (re.fullmatch(r"[A-Z_]+=\S*", words[0]) or words[0] == "sudo"):
                words = words[1:]
            if words and words[0].rpartition("/")[2] in PROGRAMS:
                yield [words[0].rpartition("/")[2], *words[1:]]


def commands() -> Iterator[Any]:
    for page in PAGES:
        text = page.read_text()
        quoted = [code for code in re.findall(r"`([^`\n]+)`", FENCE.sub("", text)) if code.split()[0] in PROGRAMS]
        blocks = [block for language, block in FENCE.findall(text) if language in ("", "sh")]
        found = {tuple(words) for part in (*blocks, *quoted) for words in commands_of(part) if len(words) > 1}
        yield pytest.param(sorted(found), id=str(page.relative_to(ROOT)))


@pytest.mark.parametrize("found", list(commands()))
def test_every_command_of_a_page_exists_with_its_flags(found: list[tuple[str, ...]]) -> None:
    for program, *words in found:
        flags = flags_of(program, words)
        verbs = re.split(r"[|,]", words[0])  # list|check|run
        assert flags is not None or all(flags_of(program, [verb]) is not None for verb in verbs), (program, words)
        for word in words:
            flag = re.match(r"--?[a-z][a-z-]*", word)
            assert flag is None or flags is None or flag[0] in flags, (program, words, word)


def test_the_test_itself_finds_what_is_not_there() -> None:
    assert list(commands_of("sudo learnae blocks --fsck | cat")) == [["learnae", "blocks", "--fsck"]]
    assert flags_of("learnae", ["swarm", "destroy"]) is None
    assert flags_of("trainer-node", ["begin"]) is None
    assert "--gc" not in (flags_of("learnae", ["peers"]) or ())


@pytest.mark.parametrize("text", list(fenced("sh")))
def test_shell_is_shell(text: str) -> None:
    done = subprocess.run(["sh", "-n"], input=text, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


# -- other languages


def test_no_snippet_is_of_a_language_that_is_not_checked() -> None:
    known = {"", "sh", "toml", "python", "json", "c"}
    assert {language for page in PAGES for language, _ in FENCE.findall(page.read_text())} <= known


@pytest.mark.parametrize("text", list(fenced("toml")))
def test_toml_is_a_configuration(text: str, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(text)
    said = []
    kinds = {"agent": AgentConfig, "trainer": TrainerConfig, "bridge": BridgeConfig, "simulation": ScenarioFile}
    for role, kind in kinds.items():
        try:
            load_config(kind, role, tmp_path / "c.toml", environment={})
            return
        except ConfigurationError as error:
            said.append(str(error))
    try:
        assert given_values(Definition, tmp_path / "c.toml", {})
    except ConfigurationError as error:
        pytest.fail("\n".join([*said, str(error)]))


@pytest.mark.parametrize("text", list(fenced("python")))
def test_python_compiles(text: str) -> None:
    compile(text, "page", "exec")


@pytest.mark.parametrize("text", list(fenced("json")))
def test_json_is_json(text: str) -> None:
    assert json.loads(text)


# -- variables, messages


def names_read(path: Path) -> set[str]:
    """The environment variables that a file reads or sets."""
    text = path.read_text(errors="replace")
    found = set(re.findall(r"\bLEARNAE_[A-Z]+(?:_[A-Z0-9]+)*\b(?!_)", text))
    if path.suffix == ".py" or text.startswith("#!/usr/bin/env python"):
        names = (
            r"(?:environ(?:ment)?(?: if \w+ is None else \w+)?\)?(?:\.get|\.setdefault|\.pop)?|getenv|path_from)[\[(]"
        )
        found |= set(re.findall(names + r"\"([A-Z][A-Z_]+)\"", text))
        found |= set(re.findall(r"\"([A-Z][A-Z_]+)\" in os\.environ", text))
    else:
        found |= set(re.findall(r"\$\{(XDG_[A-Z_]+):-", text))
    return found


def test_the_table_of_variables_is_complete_and_has_no_other() -> None:
    files = [*SOURCES, *(ROOT / "bench").rglob("*.py"), *(ROOT / "scripts").iterdir(), ROOT / "tests" / "conftest.py",
             *(ROOT / "tests" / "rigs").glob("*.py"), *(ROOT / "systemd").rglob("*.service")]  # fmt: skip
    read = set().union(*(names_read(path) for path in files if path.is_file()))
    table = set(re.findall(r"^\| `(\w+)` \|", (ROOT / TABLE).read_text(), re.MULTILINE))
    placeholders = {name for name in read if name.startswith("LEARNAE_SECTION") or name.startswith("LEARNAE_FIELD")}
    usual = {"PATH", "PYTHONPATH", "IPFS_PATH", "IPFS_TELEMETRY", "MAKEFLAGS"}  # of the shell and of other programs
    assert read - placeholders - usual <= table
    by_others = {"LEARNAE_SECTION__KEY", "HOME", "CUDA_VISIBLE_DEVICES"}
    assert table - by_others <= read | {"COO_SEED", "TF_CPP_MIN_LOG_LEVEL", "OMP_NUM_THREADS"}


def literals(path: Path) -> str:
    """All text that a module may say: adjacent literals as Python joins them, with a mark for what is filled in."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.JoinedStr):
            found.append("".join(str(part.value) if isinstance(part, ast.Constant) else "\0" for part in node.values))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.append(re.sub(r"%[\d.,]*[sdg]", "\0", node.value))
    return "\n".join(found)


MESSAGES = re.compile(r"^\| (?:message|what you see) \|.*\n\|[-| ]+\n((?:\|.*\n)+)", re.MULTILINE)


@pytest.mark.parametrize(("page", "least"), [("troubleshooting", 20), ("first-swarm", 6), ("lan", 12)])
def test_every_message_that_a_page_explains_is_said(page: str, least: int) -> None:
    said = [literals(path) for path in SOURCES]
    tables = "".join(MESSAGES.findall((ROOT / "docs" / f"{page}.md").read_text()))
    rows = re.findall(r"^\| `([^`]+)`", tables, re.MULTILINE)
    assert len(rows) > least
    for message in rows:
        parts = [part.strip(" ;'") for part in re.split("…", message)]
        assert any(all(part in text for part in parts) for text in said), message
        assert max(map(len, parts)) > 6, f"{message} says too little"
