"""A board finds its own features: an agent trains the convolutional preset on raw windows."""

import math
from pathlib import Path
from typing import Any

import pytest
from programs import PATIENCE, Programs, wait_for

from demo.people import write_private_file

CHANCE = 1 / 7  # of as many exercises
GUESSED = math.log(7)  # loss, in nats


@pytest.mark.slow
@pytest.mark.modules("ai_edge_litert")
def test_an_agent_trains_the_convolutional_preset_with_tflite_and_gets_better(
    programs: Programs, tmp_path: Path
) -> None:
    programs.answer("learnae", "swarm", "create", "--preset", "wrist-cnn")
    write_private_file(1, tmp_path / "person.npz")
    programs.answer("learnae", "join", "--role", "agent", "--data", tmp_path / "person.npz")
    agent = programs.start(
        "agent", "run", environment={"LEARNAE_SOURCE__SPEED": "0", "LEARNAE_TRAIN__ENGINE": "tflite"}
    )
    first = programs.wait_for_steps("agent", agent)
    assert first["engine"] == "tflite"

    def better() -> dict[str, Any] | None:
        said = programs.status("agent")
        has_trained = said["steps"] > first["steps"]
        return said if has_trained and said["accuracy"] > 5 * CHANCE and said["loss"] < GUESSED / 2 else None

    said = wait_for(better, "an accuracy of 71 % on held-out windows", 6 * PATIENCE)
    assert said["training_rows"] > 300
    assert said["skipped_rows"] == 0
