"""An agent that does not train, as its owner and the others see it."""

import signal
from typing import Any

import numpy as np
from programs import Programs, wait_for


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
    np.savez(labelled, signal=signals, label=np.repeat(np.arange(6), 2000))
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
    assert "only summaries" in log
