"""What a swarm's definition asks for though it tells rows is refused at joining and at the start, or accepted."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path

import numpy as np
import pytest
from programs import Programs, assert_refused

from learnae.adapters.local.block_store import LocalBlockStore
from learnae.ipld.cid import RAW
from learnae.models.optimisers import OptimiserPolicy
from learnae.swarm.directory import create_swarm
from learnae.swarm.features import RawWindow
from learnae.swarm.initial_weights import start_blocks, start_links
from learnae.swarm.manifest import Manifest, TrainingPolicy
from learnae.swarm.presets import dense_config
from learnae.weights.frames import FramePolicy

ALL = ("exact_frames", "raw_windows", "foreign_start")


def hostile_manifest() -> tuple[Manifest, list[bytes]]:
    """Each update is one window, of which dW / db is computed exactly; under weights that its author has chosen."""
    config = dense_config(600, (16,), 7, "softmax")
    config["config"]["layers"][0]["config"]["batch_shape"] = [None, 100, 6]
    config["config"]["layers"].insert(1, {"module": "keras.layers", "class_name": "Flatten", "config": {}})
    features = RawWindow(tuple("abcdef"), 50.0, 100, 50, (0.0,) * 6, (1.0,) * 6)
    plain = Manifest("gift", config, "sparse_categorical_crossentropy", features=features)
    blocks = start_blocks(plain.definition.initial(1))
    manifest = Manifest(
        "gift", config, "sparse_categorical_crossentropy", features=features, training=TrainingPolicy(1, 1),
        optimiser=OptimiserPolicy("sgd", 1e-3), codec=FramePolicy("f32", "f16"), start=start_links(blocks),
    )  # fmt: skip
    return manifest, blocks


@pytest.fixture
def gift(programs: Programs, tmp_path: Path) -> str:
    """A swarm that came from elsewhere, as its author's whole directory, with what tells of its making."""
    manifest, blocks = hostile_manifest()
    swarm = create_swarm(manifest, tmp_path / "theirs").directory
    store = LocalBlockStore(swarm)
    for block in blocks:
        store.put(RAW, block)
    store.close()
    (swarm / "created").mkdir()
    (swarm / "created" / str(manifest.swarm)).touch()
    rows = np.random.default_rng(0).normal(size=(2000, 6)).astype(np.float32)
    np.savez(tmp_path / "mine.npz", signal=rows, label=np.repeat(np.arange(5), 400))
    return str(swarm)


def test_a_swarm_that_wants_what_tells_rows_is_joined_only_if_that_is_accepted(
    programs: Programs, gift: str, tmp_path: Path
) -> None:
    join = ("learnae", "join", gift, "--data", "mine.npz")
    refused = programs.run(*join)
    assert_refused(refused, 78, "f16 and f32", "raw windows", "starting weights", f"--accept {','.join(ALL)}")
    config = programs.config / "learnae" / "trainer.toml"
    assert not config.exists()
    some = programs.run(*join, "--accept", "exact_frames")
    assert_refused(some, 78, "--accept raw_windows,foreign_start", "privacy.raw_windows = true")
    assert_refused(programs.run(*join, "--accept", "all"), 78, "--accept all", ", ".join(ALL))
    accepted = programs.run(*join, "--accept", " ".join(ALL).replace(" ", ", "))
    assert accepted.returncode == 0, accepted.stderr
    assert tomllib.loads(config.read_text())["privacy"] == dict.fromkeys(ALL, True)

    config.write_text(config.read_text().split("[privacy]")[0] + "[privacy]\nraw_windows = true\n")
    for program in ("trainer_node", "agent"):
        verb = "start" if program == "trainer_node" else "run"
        text = config.read_text() if program == "trainer_node" else config.read_text().replace("[data]", "[source]")
        (tmp_path / "own.toml").write_text(text)
        done = programs.run(program, verb, "--config", tmp_path / "own.toml")
        assert_refused(done, 78, "--accept exact_frames,foreign_start", "privacy.exact_frames = true")


def test_who_made_a_swarm_has_accepted_it(programs: Programs, tmp_path: Path, gift: str) -> None:
    """Also a model that normalises first, whose frames are exact."""
    import json

    normal = [
        {"module": "keras.layers", "class_name": "InputLayer", "config": {"batch_shape": [None, 6]}},
        {"module": "keras.layers", "class_name": "BatchNormalization", "config": {}},
        {"module": "keras.layers", "class_name": "Dense", "config": {"units": 5, "activation": "softmax"}},
    ]
    model = {"module": "keras", "class_name": "Sequential", "config": {"name": "own", "layers": normal}}
    (tmp_path / "own.json").write_text(json.dumps(model))
    loss = ("--loss", "sparse_categorical_crossentropy")
    made = programs.answer("learnae", "swarm", "create", "--model", "own.json", *loss, "--membership", "open")
    rows = np.random.default_rng(0).normal(size=(200, 6)).astype(np.float32)
    np.savez(tmp_path / "rows.npz", rows=rows, label=np.repeat(np.arange(5), 40))
    programs.answer("learnae", "join", made["swarm"], "--json")
    copy = tmp_path / "elsewhere"
    shutil.copytree(programs.home / "swarms" / made["swarm"], copy)
    with Programs(tmp_path / "bob") as bob:
        bob.root.mkdir(exist_ok=True)
        refused = bob.run("learnae", "join", copy / "manifest.cbor")
        assert_refused(refused, 78, "f32", "--accept exact_frames")
