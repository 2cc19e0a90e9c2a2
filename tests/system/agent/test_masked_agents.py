"""Five agents that do not train, by invite: of their rows the total alone is seen."""

import numpy as np
import pytest
from nightly import how_many
from programs import Programs, wait_for

NAMES = ("ann", "ben", "cho", "dee", "eva")

pytestmark = pytest.mark.skipif(not how_many(0, 1), reason="takes more than a minute: make nightly")


def test_agents_sum_their_rows_and_none_of_them_is_seen_alone(programs: Programs) -> None:
    programs.answer("learnae", "swarm", "create", "--preset", "wrist", "--summaries", "masked")
    data = programs.root / "private.npz"
    np.savez(data, signal=np.random.default_rng(0).normal(size=(12_000, 6)).astype(np.float32))
    settings = {"LEARNAE_TRAIN__ENGINE": "none", "LEARNAE_SOURCE__SPEED": "0"}
    for name in NAMES:
        config = programs.root / f"{name}.toml"
        programs.answer("learnae", "join", "--role", "agent", "--name", name, "--data", data, "--config", config)
        programs.start("agent", "run", "--config", config, environment=settings)
    told = wait_for(lambda: programs.answer("learnae", "summary")["peers"], "a total", 300)
    assert [peer["name"] for peer in told] == ["total of 5 members"]
    every = 5 * 0.75 * (12_000 // 50 - 1)  # a quarter is held out; who was asked early had read less
    assert 0.4 * every < told[0]["rows"] < 1.2 * every
    wait_for(lambda: programs.status("ann")["sums"]["state"] == "done", "a total at a member")
    kinds = {message["body"]["kind"] for message in programs.answer("learnae", "log", "-n", 1000)}
    assert kinds == {"join", "mask-ready", "masked", "mask-open"}
    assert "total of 5 members" in programs.run("learnae", "summary").stdout
    refused = programs.run("learnae", "summary", "ann")
    assert (refused.returncode, "masks summaries" in refused.stderr) == (78, True)
