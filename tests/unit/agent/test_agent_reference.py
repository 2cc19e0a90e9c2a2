"""The agent's reference says what the program takes: its examples load, and no key is left out or made up."""

import dataclasses
import re
import tomllib
from pathlib import Path

import pytest

from agent.config import AgentConfig, AgentTrainSection, BufferSection, InferenceSection, ResourcesSection
from agent.sources.section import _KEYS, KINDS, SourceSection
from learnae.config.loading import load_config

TEXT = (Path(__file__).parents[3] / "docs" / "agent.md").read_text()
EXAMPLES = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in TEXT.splitlines() if line.startswith("| `")]


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_loads(tmp_path: Path, example: str) -> None:
    (tmp_path / "agent.toml").write_text(example)
    config = load_config(AgentConfig, "agent", tmp_path / "agent.toml", environment={})
    if "source" in tomllib.loads(example) or "sources" in tomllib.loads(example):
        for section in config.all_sources().values():
            if section.kind == "mqtt":
                section.mqtt(config.mqtt)
                assert all(section.topic_of(channel)[0] for channel in section.channels)


def test_all_kinds_of_sources_have_an_example() -> None:
    kinds = set()
    for example in EXAMPLES:
        read = tomllib.loads(example)
        for source in [read.get("source", {"kind": "replay"}), *read.get("sources", {}).values()]:
            kinds.add(source.get("kind", "replay"))
    assert kinds == set(KINDS)


@pytest.mark.parametrize(
    "section", [SourceSection, BufferSection, ResourcesSection, InferenceSection, AgentTrainSection]
)
def test_every_key_is_in_a_table_with_its_default(section: type) -> None:
    for field in dataclasses.fields(section):
        rows = [row for row in ROWS if f"`{field.name}`" in row[0]]
        assert rows, f"{field.name} is not in the reference"
        default = field.default if field.default is not dataclasses.MISSING else {}
        if default != "" and field.name not in ("user", "password_file", "ca_file"):
            written = str(default).lower() if isinstance(default, bool) else default
            assert any(f"`{written}`" in row for row in rows), f"{field.name}: {default!r} is not what it says"


def test_every_documented_key_of_a_source_is_for_the_kinds_that_take_it() -> None:
    for row in ROWS:
        for name in re.findall(r"`(\w+)`", row[0]):
            if name in _KEYS and len(row) == 4:
                kinds = set(KINDS) - {"replay"} if row[1] == "all but replay" else set(row[1].split(", "))
                assert kinds <= set(_KEYS[name]), name
