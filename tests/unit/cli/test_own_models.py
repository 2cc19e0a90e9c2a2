"""How good the models are that serve one machine each: seen where these machines are, and nowhere else."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_output import VIEW, drawn

from learnae.cli import output
from learnae.cli.commands.look.peers import peer_fields, swarm_table
from learnae.cli.swarm_choice import observe
from learnae.runtime.observer import Observer
from learnae.swarm.directory import create_swarm
from learnae.swarm.presets import preset

VIEWS = [replace(VIEW, peer=letter * 52, name=name, shown=name) for letter, name in (("a", "ann"), ("b", "ben"))]
TUNED = {"model": "tuned", "score": 0.875, "common": 0.5, "rows": 40}
COMMON = {"model": "common", "score": 0.75, "common": 0.75, "rows": 40}


@pytest.fixture
def observer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Observer:
    monkeypatch.setenv("LEARNAE_HOME", str(tmp_path))
    monkeypatch.setattr(output.console, "width", 200)
    return observe(create_swarm(preset("wrist", 1), tmp_path / "swarms" / "it").directory)


def say(home: Path, observer: Observer, *personal: Any, swarm: str = "") -> None:
    for view, said in zip(VIEWS, personal, strict=False):
        status = home / "peers" / view.name / "status.json"
        status.parent.mkdir(parents=True, exist_ok=True)
        fields = {"peer": view.peer, "name": view.name, "swarm": swarm or str(observer.swarm), "personal": said}
        status.write_text(json.dumps(fields))


def test_each_is_shown_with_which_it_is_and_the_worst_is_named(tmp_path: Path, observer: Observer) -> None:
    say(tmp_path, observer, TUNED, COMMON)
    said = " ".join(drawn(swarm_table(observer, VIEWS)).replace("│", " ").split())
    for words in ("0.875 tuned", "0.750 common", "own models here: worst 0.750 (ben), best less worst 0.125"):
        assert words in said
    assert [fields["personal"] for fields in peer_fields(observer, VIEWS)] == [TUNED, COMMON]


@pytest.mark.parametrize("said", [None, [1], {"model": "common", "score": None}, {"score": "0.5"}])
def test_what_says_nothing_is_passed_over(tmp_path: Path, observer: Observer, said: object) -> None:
    say(tmp_path, observer, said)
    assert "own" not in drawn(swarm_table(observer, VIEWS))
    say(tmp_path, observer, TUNED, said)
    shown = drawn(swarm_table(observer, VIEWS))
    assert "tuned" in shown
    assert "worst" not in shown, "one alone is no worst"


def test_another_swarms_are_not_taken_for_this_ones(tmp_path: Path, observer: Observer) -> None:
    say(tmp_path, observer, TUNED, COMMON, swarm="bafyother")
    assert "tuned" not in drawn(swarm_table(observer, VIEWS))
    assert [fields["personal"] for fields in peer_fields(observer, VIEWS)] == [None, None]
