"""A swarm of a model that only Keras can train: trainers train it, an agent sends summaries, NumPy refuses by name."""

import json
from pathlib import Path

import numpy as np
import pytest
from programs import Programs, assert_refused, wait_for

from learnae.models.keras_model import import_keras
from learnae.swarm.directory import open_manifest
from learnae.swarm.presets import preset

pytestmark = [pytest.mark.modules("keras", "jax"), pytest.mark.slow]

KERAS = {"KERAS_BACKEND": "jax", "LEARNAE_TRAIN__ENGINE": "auto"}


def save_functional(file: Path) -> None:
    keras = import_keras()
    begin = keras.Input((30,))
    hidden = keras.layers.Dense(16, activation="gelu")(begin)
    end = keras.layers.Dense(7, activation="softmax")(keras.layers.Concatenate()([begin, hidden]))
    keras.Model(begin, end).save(file)


def test_trainers_train_what_agents_cannot(programs: Programs, tmp_path: Path) -> None:
    file, recording, out = tmp_path / "free.keras", tmp_path / "private.npz", tmp_path / "out.keras"
    save_functional(file)
    options = ("--loss", "sparse_categorical_crossentropy", "--features", "wrist")
    made = programs.answer("learnae", "swarm", "create", "--model", file, *options)
    assert made["agents_train"] is False
    assert "'Functional'" in made["only_keras"]
    assert made["start"] == "the weights in the file"
    manifest = open_manifest(Path(made["directory"]))
    assert manifest.features == preset("wrist", 0).features

    rng = np.random.default_rng(0)
    label = np.repeat(np.arange(7), 2000)
    signals = rng.normal(size=(len(label), 6)) + label[:, None] / 3
    np.savez(recording, signal=signals.astype(np.float32), label=label)
    for name, role in (("pump", "trainer"), ("board", "agent")):
        arguments = ("--role", role, "--name", name, "--data", recording, "--config", tmp_path / f"{name}.toml")
        programs.answer("learnae", "join", *arguments)
    refused = programs.run("trainer_node", "start", "--config", tmp_path / "pump.toml")
    refused.stderr = refused.stderr.splitlines(keepends=True)[-1]  # before it, what has been said of the rows
    assert_refused(refused, 78, "only Keras can train this swarm's model", "'Functional'")

    trainer = programs.start("trainer_node", "start", "--config", tmp_path / "pump.toml", environment=KERAS)
    settings = {"LEARNAE_TRAIN__ENGINE": "auto", "LEARNAE_SOURCE__SPEED": "0"}
    agent = programs.start("agent", "run", "--config", tmp_path / "board.toml", environment=settings)
    programs.wait_for_steps("pump", trainer, 100)
    assert programs.status("pump")["engine"] == "jax"

    def both() -> bool:  # a peer that settles says no more, so how many steps it has published is its own affair
        peers = {view["name"]: view for view in programs.answer("learnae", "peers")}
        return set(peers) == {"pump", "board"} and peers["board"]["summary"] and peers["pump"]["steps"]

    wait_for(both, "updates and a summary")
    wait_for(lambda: programs.status("board").get("following") == 1, "the agent to follow the trainer")
    assert "'Functional'" in programs.status("board")["only_summaries"]
    for process in (trainer, agent):
        process.stop()

    rows = rng.normal(size=(50, 30)).astype(np.float32)
    programs.answer("learnae", "export", out)
    said = import_keras().models.load_model(out, compile=False).predict(rows, verbose=0)
    assert said.shape == (50, 7)
    np.testing.assert_allclose(said.sum(axis=1), 1, rtol=1e-5)
    found = programs.answer("learnae", "evaluate", "--data", recording)
    assert sum(map(sum, found["confusion"])) == found["rows"] > 200
    tensors = programs.answer("learnae", "export", tmp_path / "out.safetensors")
    assert tensors["parameters"] == manifest.model.count
    header = (tmp_path / "out.safetensors").read_bytes()
    names = json.loads(header[8 : 8 + int.from_bytes(header[:8], "little")])
    assert sum("kernel" in name for name in names) == 2
