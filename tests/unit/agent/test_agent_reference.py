"""The agent's page says what the program takes: its examples load, and all kinds of sources have one."""

import re
import tomllib
from pathlib import Path

import pytest

from agent.config import AgentConfig
from agent.sources.section import KINDS
from learnae.config.loading import load_config

TEXT = (Path(__file__).parents[3] / "docs" / "agent.md").read_text()
EXAMPLES = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)


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
