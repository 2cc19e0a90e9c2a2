"""An agent that does not train, as its owner and the others see it."""

import signal
from typing import Any

import numpy as np
import pytest
from programs import Programs, wait_for

NOISE = 3.06  # rows: epsilon 8 of 3 groups of 27 columns, delta 1e-5


def test_an_agent_without_training_says_so_and_sends_summaries(programs: Programs) -> None:
    programs.answer("learnae", "swarm", "create", "--preset", "wrist")
    data = programs.root / "private.npz"
    signals = np.random.default_rng(0).normal(size=(12_000, 6)).astype(np.float32)
    np.savez(data, signal=signals)  # no labels
    programs.answer("learnae", "join", "--role", "agent", "--name", "board", "--data", data)
    settings = {"LEARNAE_TRAIN__ENGINE": "none", "LEARNAE_SOURCE__SPEED": "0"}
    agent = programs.start("agent", "run", environment=settings)

    def said() -> dict[str, Any] | None:
        log = programs.answer("learnae", "log")
        found = [message["body"] for message in log if message["body"]["kind"] == "summary"]
        return found[0] if found else None

    summary = wait_for(said, "a summary")
    windows = 0.75 * (12_000 // 50 - 1)  # the rest is held out
    assert (summary["columns"], summary["groups"], summary["form"]) == (30, 8, "diagonal")
    assert abs(summary["rows"] - windows) < 60
    told = programs.answer("learnae", "summary", "board")
    (peer,) = told["peers"]
    assert (peer["name"], peer["release"], peer["epsilon"], peer["delta"]) == ("board", 1, 8.0, 1e-5)
    (group,) = peer["classes"]
    assert group["class"] == "unknown"
    assert abs(group["rows"] - windows) < 30
    assert len(group["mean"]) == len(group["spread"]) == 30
    assert len(told["together"]["scale"]) == 30
    shown = programs.run("learnae", "summary").stdout
    assert "board" in shown
    assert "7 more with too few rows" in shown
    labelled = programs.root / "labelled.npz"
    twice = np.concatenate([signals, signals])  # 55 rows of a class: beside them the noise is small
    np.savez(labelled, signal=twice, label=np.repeat(np.arange(6), 4000))
    ((would,), *_) = programs.answer("learnae", "summary", "--data", labelled).values()
    assert (would["name"], would["epsilon"], len(would["classes"])) == ("labelled.npz", 8.0, 6)
    refused = programs.run("learnae", "summary", "pump")
    assert (refused.returncode, "no summary of 'pump'" in refused.stderr) == (78, True)
    (view,) = programs.answer("learnae", "peers")
    assert (view["summary"], view["steps"], view["samples"]) == (True, 0, summary["rows"])
    shown = programs.run("learnae", "log").stdout
    assert f"~{summary['rows']} rows, 30 columns" in shown
    assert wait_for(lambda: programs.status("board"), "a status")["only_summaries"] == 'train.engine is "none"'
    agent.send_signal(signal.SIGTERM)
    _, log = agent.communicate(timeout=60)
    assert agent.returncode == 0
    assert log.count('this agent does not train, it sends summaries: train.engine is "none"') == 1
    assert 'summaries only: train.engine is "none"' in log


@pytest.mark.parametrize(("sharing", "part"), [("each", 1.0), ("masked", (1 / 6) ** 0.5)])
def test_a_preview_shows_the_noise_of_what_would_be_said_and_of_all_rows(
    programs: Programs, sharing: str, part: float
) -> None:
    """In a sum of eight two may leave theirs out: each adds a sixth of the variance."""
    programs.answer("learnae", "swarm", "create", "--preset", "hepmass", "--summaries", sharing)
    data, few = programs.root / "private.npz", programs.root / "few.npz"
    rng = np.random.default_rng(0)
    for path, count in ((data, 9000), (few, 30)):
        np.savez(path, x=rng.normal(size=(count, 27)).astype(np.float32), y=np.arange(count) % 2)
    would = programs.answer("learnae", "summary", "--data", data)
    (peer,) = would["peers"]
    assert peer["rows_noise"] / part == pytest.approx(NOISE, rel=0.01)
    assert [group["rows"] for group in peer["classes"]] == pytest.approx([4500, 4500], abs=6 * NOISE)
    assert bool(would["notes"]) == (sharing == "masked")
    said = " ".join(programs.run("learnae", "summary", "--data", few).stdout.split())
    assert "about 100 must be there, and few.npz has 30" in said
    assert ("total of 5 to 16 members" in said) == (sharing == "masked")
