"""Two trainers of one swarm whose tables have the same columns, in the same order or in another one."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from programs import Programs, assert_refused, wait_for

from learnae.models.reference.numpy_model import predict
from learnae.peer.state import PeerState
from learnae.swarm.directory import open_manifest
from learnae.swarm.presets import dense_config

STEPS = 500


def draw(seed: int) -> tuple[Any, Any]:
    """Is u greater than v? Who takes one for the other learns the opposite."""
    rows = np.random.default_rng(seed).normal(size=(2, 400))
    return rows, rows[0] > rows[1]


def write_table(path: Path, order: str, seed: int) -> Path:
    """Write what is drawn, and a column that the swarm does not name."""
    (u, v), label = draw(seed)
    columns = {"u": u, "v": v, "room": np.full(400, seed), "label": label}
    table = np.column_stack([columns[name] for name in order.split(",")])
    np.savetxt(path, table, delimiter=",", header=order, comments="", fmt="%.9g")
    return path


@pytest.mark.parametrize("order", ["u,v,label", "room,v,label,u"])
def test_trainers_learn_together_whatever_the_order_of_their_columns(
    programs: Programs, tmp_path: Path, order: str
) -> None:
    (tmp_path / "pump.json").write_text(json.dumps(dense_config(2, (4,), 1, "sigmoid")))
    of_each = {"left": ("u,v,label", 1), "right": (order, 2)}
    tables = {name: write_table(tmp_path / f"{name}.csv", *words) for name, words in of_each.items()}
    create = ("--model", "pump.json", "--loss", "binary_crossentropy", "--columns", "left.csv")
    made = programs.answer("learnae", "swarm", "create", *create)
    assert made["columns"] == ["u", "v"]
    trainers = {}
    for name, file in tables.items():
        config = tmp_path / f"{name}.toml"
        programs.answer("learnae", "join", "--name", name, "--data", file, "--config", config)
        trainers[name] = programs.start("trainer_node", "start", "--config", config)

    def have_published() -> bool:
        peers = programs.answer("learnae", "peers")
        return len(peers) == 2 and min(peer["steps"] for peer in peers) > STEPS

    for name, process in trainers.items():
        programs.wait_for_steps(name, process, STEPS)
    wait_for(have_published, "both to publish")
    wait_for(lambda: all(programs.status(name)["following"] == 1 for name in trainers), "both to follow each other")
    logs = {name: process.stop() for name, process in trainers.items()}
    said = "right.csv: columns that the swarm does not name are left out: room"
    assert logs["right"].count(said) == ("room" in order)
    (rows, label), definition = draw(3), open_manifest(Path(made["directory"])).definition
    for name in trainers:  # each is right about its own rows, whatever it takes u for: these are of neither
        weights = PeerState.read(programs.home / "peers" / name / "state").weights
        found = predict(definition, weights, rows.T.astype(np.float32))[:, 0] > 0.5
        assert np.mean(found == label) > 0.8, name


def test_a_table_without_a_column_of_the_swarms_is_refused(programs: Programs, tmp_path: Path) -> None:
    (tmp_path / "pump.json").write_text(json.dumps(dense_config(2, (), 1, "sigmoid")))
    made = ("--model", "pump.json", "--loss", "binary_crossentropy", "--columns", "u, w")
    programs.answer("learnae", "swarm", "create", *made)
    file = write_table(tmp_path / "pump.csv", "u,v,label", 1)
    programs.answer("learnae", "join", "--data", file)
    refused = programs.run("trainer_node", "start")
    assert_refused(refused, 78, f"{file} has no column w; besides the swarm's it has v", "as the swarm does: u, w")
