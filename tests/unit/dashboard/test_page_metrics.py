"""/metrics: what Prometheus reads of a peer, checked by Prometheus' own tool."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from learnae.basics.headline import STATES
from learnae.dashboard.metrics import exposition

EXAMPLES = Path(__file__).parents[3] / "examples/monitoring"
STATUS: dict[str, Any] = {
    "name": 'pump "1"\\\n', "swarm": "bafy", "software": "0.1.0", "role": "agent", "engine": "numpy",
    "time": 1_700_000_000_123, "steps": 26, "accuracy": 0.5, "loss": float("inf"), "r2": 0.25, "mae": 0.125,
    "training_loss": float("nan"),
    "personal": {"score": 0.75}, "peers": 3, "following": 2, "muted": {"a": "why"}, "messages": 12, "bytes_out": 100,
    "bytes_in": 200, "problems": {"FrameError": 2, "LimitError": 1}, "training_rows": 300, "holdout_rows": 100,
    "training_seconds": 1.5, "privacy": {"epsilon": 3.5, "releases": 9}, "samples": 400,
    "buffer": {"bytes": 4096, "readings": 8}, "inference": {"count": 7, "score": 0.5, "threshold": 0.75},
    "resources": {"temperature": 41.5},
}  # fmt: skip
BARE = {
    **dict.fromkeys(("accuracy", "loss", "training_loss", "privacy")), "name": "pump", "swarm": "bafy", "software": "1",
    "role": "trainer", "time": 0, "steps": 0, "peers": 0, "following": 0, "messages": 0, "bytes_out": 0, "bytes_in": 0,
    "problems": {}, "holdout_rows": 0,
}  # fmt: skip


def names(text: str) -> set[str]:
    return set(re.findall(r"^(learnae_\w+)\{", text, re.MULTILINE))


@pytest.mark.engine("promtool")
@pytest.mark.parametrize("status", [STATUS, BARE])
def test_prometheus_own_tool_finds_nothing_to_object_to(status: dict[str, Any]) -> None:
    text = exposition(status, "learning")
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_values_are_as_they_are_and_labels_are_escaped() -> None:
    lines = exposition(STATUS, "learning").splitlines()
    who = r'peer="pump \"1\"\\\n",swarm="bafy"'
    assert f"learnae_accuracy_ratio{{{who}}} 0.5" in lines
    assert f"learnae_loss{{{who}}} +Inf" in lines
    assert f"learnae_training_loss{{{who}}} NaN" in lines
    assert f'learnae_traffic_bytes_total{{{who},direction="in"}} 200' in lines
    assert f'learnae_state{{{who},state="learning"}} 1' in lines
    assert f'learnae_problems_total{{{who},problem="FrameError"}} 2' in lines
    assert f"learnae_status_timestamp_seconds{{{who}}} 1700000000.123" in lines
    assert sum(line.startswith("learnae_state{") for line in lines) == len(STATES)


def test_what_is_not_known_is_left_out_and_no_other_peer_is_named() -> None:
    assert "learnae_accuracy_ratio" not in names(exposition(BARE, "alone"))
    many = {**STATUS, "muted": {f"peer {number}": "why" for number in range(1000)}}
    assert len(exposition(many, "learning")) < len(exposition(STATUS, "learning")) + 10


def test_the_grafana_dashboard_asks_for_what_is_put_out() -> None:
    known = names(exposition(STATUS, "learning"))
    panels = json.loads((EXAMPLES / "grafana.json").read_text())["panels"]
    asked = {
        name for panel in panels for target in panel["targets"] for name in re.findall(r"learnae_\w+", target["expr"])
    }
    assert len(asked) > 10
    assert asked <= known
    assert {
        name for line in exposition(STATUS, "x").splitlines() if line.startswith("# TYPE") for name in [line.split()[2]]
    } == known
