"""TFLite programs: what they are made of, inference files, memory, and the agent's choice of a learner."""

import builtins
import json
import logging
import os
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_configs import define, dense, layer, sequential
from learner_models import BODIES, FLATTEN, OPTIMISERS, RUNTIMES, SEQUENCE, VECTOR, conv, output, require, task
from programs import succeed

from learnae.models.dataset import Dataset
from learnae.models.definition import ModelDefinition
from learnae.models.layers import Layer
from learnae.models.reference.numpy_learner import NumpyLearner
from learnae.models.reference.numpy_model import predict
from learnae.swarm.manifest import Manifest
from learnae.swarm.model_card import CARD_FILE, card
from learnae.swarm.presets import preset

require(*RUNTIMES)
require("flatbuffers")

from agent.cli import main  # noqa: E402
from agent.learning.engine_choice import build_learner  # noqa: E402
from agent.learning.tflite_learner import TfliteLearner  # noqa: E402
from agent.tflite.inference.export import inference_program  # noqa: E402
from agent.tflite.runtime import open_program  # noqa: E402
from agent.tflite.training.program import compile_program, compile_sum  # noqa: E402
from learnae.errors import ConfigurationError, ModelError  # noqa: E402
from learnae.peer.state import PeerState  # noqa: E402
from learnae.swarm.directory import create_swarm  # noqa: E402
from learnae.system.installation import how_to_install  # noqa: E402
from learnae.system.paths import STATE_FILE  # noqa: E402
from learnae.system.service import EXIT_CONFIGURATION  # noqa: E402


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_a_program_has_these_signatures_and_the_same_bytes_every_time(optimiser: str) -> None:
    job = task("batch-norm-conv", "huber")
    data = compile_program(job.model, job.loss, OPTIMISERS[optimiser])
    assert data == compile_program(job.model, job.loss, OPTIMISERS[optimiser])
    assert data[4:8] == b"TFL3"
    signatures = open_program(data).get_signature_list()
    assert sorted(signatures["train"]["inputs"]) == ["rate", "row_weights", "rows", "targets"]
    assert signatures["infer"] == {"inputs": ["rows"], "outputs": ["output"]}
    variables = {"sgd": [], "momentum": ["velocity"], "adam": ["mean", "square"]}[optimiser]
    assert set(signatures) == {"train", "infer", "load", "weights"} | ({"restore", "state"} if variables else set())
    assert sorted(signatures.get("state", {"outputs": []})["outputs"]) == variables


def test_only_a_program_that_clips_has_a_bound() -> None:
    job = task("dense-relu", "huber")
    clipping = open_program(compile_program(job.model, job.loss, OPTIMISERS["sgd"], clip=True)).get_signature_list()
    assert sorted(clipping["train"]["inputs"]) == ["bound", "rate", "row_weights", "rows", "targets"]
    assert clipping["train"]["outputs"] == ["loss", "norms"]
    summing = open_program(compile_sum(job.model, job.loss)).get_signature_list()
    assert set(summing) == {"clipped_sum", "load"}
    assert summing["clipped_sum"]["outputs"] == ["gradient", "loss", "norms"]


def test_no_input_is_a_scalar() -> None:
    job = task("dense-relu", "mean_squared_error")
    interpreter = open_program(compile_program(job.model, job.loss, OPTIMISERS["adam"]))
    assert {len(details["shape"]) for details in interpreter.get_input_details()} == {1, 2}


def test_constant_data_are_aligned() -> None:
    weights = np.arange(8 * 4, dtype=np.float32)
    model = ModelDefinition.from_config(
        {"class_name": "Sequential", "config": {"layers": [
            {"class_name": "Dense", "config": {"units": 4, "use_bias": False, "batch_shape": [None, 8]}}]}}
    )  # fmt: skip
    data = inference_program(model, weights)
    assert data.index(weights.reshape(8, 4).T.tobytes()) % 16 == 0


@pytest.mark.parametrize("body", BODIES)
def test_inference_files_say_what_the_model_says(body: str) -> None:
    job, rng = task(body, "sparse_categorical_crossentropy"), np.random.default_rng(0)
    weights = job.model.initial(1) + rng.normal(size=job.model.count).astype(np.float32) * 0.05
    rows, _ = job.batch(rng, 33)
    wanted = predict(job.model, weights.astype(np.float64), rows)
    for int8, tolerance in ((False, 2e-6), (True, 0.05)):
        data = inference_program(job.model, weights, int8)
        for count in (len(rows), 1):
            assert output(data, rows[:count]) == pytest.approx(wanted[:count], abs=tolerance)


@pytest.mark.parametrize("before", [dense(6), conv(6, 3), dense(6, "relu")])
def test_batch_normalisation_takes_no_operator_of_its_own_after_a_linear_layer(before: dict[str, Any]) -> None:
    after = [layer("BatchNormalization"), FLATTEN, dense(2)]
    shape = VECTOR if before["class_name"] == "Dense" else SEQUENCE
    model = define(before, *after, shape=shape)
    weights = np.random.default_rng(0).uniform(0.5, 1, model.count).astype(np.float32)
    rows = np.random.default_rng(1).normal(size=(9, *shape)).astype(np.float32)
    interpreter = open_program(data := inference_program(model, weights))
    assert output(data, rows) == pytest.approx(predict(model, weights.astype(np.float64), rows), abs=1e-5)
    vectors = sum(details["shape"].tolist() == [6] for details in interpreter.get_tensor_details())
    assert vectors == (3 if before["config"].get("activation") == "relu" else 1)  # bias, scale, shift


@pytest.mark.parametrize("name", ["wrist", "wrist-cnn", "hepmass"])
def test_int8_files_are_much_smaller_and_nearly_as_good(name: str) -> None:
    manifest = preset(name, 0)
    weights = manifest.definition.initial(1)
    exact, small = (inference_program(manifest.model, weights, int8) for int8 in (False, True))
    assert len(small) < len(exact) / 2
    rows = np.random.default_rng(0).normal(size=(200, *manifest.model.input_shape)).astype(np.float32)
    outputs = [output(data, rows) for data in (exact, small)]
    assert np.abs(outputs[0] - outputs[1]).max() < 0.05
    if outputs[0].shape[1] > 1:
        assert (outputs[0].argmax(axis=1) == outputs[1].argmax(axis=1)).mean() > 0.95


def test_an_agent_exports_its_own_estimate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = preset("wrist", 1)
    weights = manifest.definition.initial(3)
    config = tmp_path / "agent.toml"
    config.write_text(
        f"[peer]\nstate = {json.dumps(str(tmp_path / 'me'))}\n\n"
        f"[swarm]\nid = {json.dumps(str(create_swarm(manifest, tmp_path / 'swarm').directory))}\n"
    )
    arguments = ["--config", str(config), "--json"]

    def run(file: str, *more: str) -> int:
        with pytest.raises(SystemExit) as left:
            main(["export", str(tmp_path / file), *arguments, *more])
        return int(left.value.code or 0)

    assert run("model.tflite") == EXIT_CONFIGURATION  # it has not run yet, nor has anybody here
    assert "start a peer first" in capsys.readouterr().err
    counts = (0,) * 9
    state = PeerState(manifest.swarm, b"message", None, *counts, weights * 0, None, weights)
    (tmp_path / "me").mkdir()
    (tmp_path / "me" / STATE_FILE).write_bytes(state.to_bytes())
    assert run("model.onnx") == EXIT_CONFIGURATION
    assert ".tflite" in capsys.readouterr().err

    def said(file: str, *more: str) -> tuple[str, str, str]:
        assert run(file, *more) == 0
        report = json.loads(capsys.readouterr().out)
        assert report["bytes"] == (tmp_path / file).stat().st_size
        with zipfile.ZipFile(tmp_path / file) as archive:
            assert json.loads(archive.read(CARD_FILE)) == card(manifest)
        assert report["input"] == card(manifest)["input"]
        return report["quantisation"], report["weights"], report["activations"]

    assert run("model.tflite", "--weights-only") == EXIT_CONFIGURATION
    assert "add --int8" in capsys.readouterr().err
    assert said("model.tflite") == ("none", "float32", "float32")
    assert said("ranges.tflite", "--int8") == ("dynamic-range", "int8", "float32")  # nothing to calibrate with
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "r.npz", time=np.arange(900) / 50, signal=rng.normal(size=(900, 6)), label=np.zeros(900, int))
    with config.open("a") as file:
        file.write(f"\n[source]\nfile = {json.dumps(str(tmp_path / 'r.npz'))}\n")
    assert said("integers.tflite", "--int8") == ("full-integer", "int8", "int8")
    assert said("weights.tflite", "--int8", "--weights-only") == ("dynamic-range", "int8", "float32")
    assert (tmp_path / "weights.tflite").read_bytes() == (tmp_path / "ranges.tflite").read_bytes()
    rows = np.random.default_rng(0).normal(size=(5, 30)).astype(np.float32)
    said_of_rows = output((tmp_path / "model.tflite").read_bytes(), rows)
    assert said_of_rows == pytest.approx(predict(manifest.model, weights, rows), abs=1e-6)


def test_an_int8_file_that_is_larger_than_the_float_one_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = sequential(dense(4, "relu"), dense(1, "sigmoid"), shape=(2,))
    manifest = Manifest("tiny", config, "binary_crossentropy")
    weights = manifest.definition.initial(3)
    (tmp_path / "me").mkdir()
    state = PeerState(manifest.swarm, b"message", None, *(0,) * 9, weights, None, weights)
    (tmp_path / "me" / STATE_FILE).write_bytes(state.to_bytes())
    swarm = create_swarm(manifest, tmp_path / "swarm").directory
    file = tmp_path / "agent.toml"
    file.write_text(f'[peer]\nstate = "{tmp_path / "me"}"\n[swarm]\nid = "{swarm}"\n')

    def said(*more: str) -> dict[str, Any]:
        with pytest.raises(SystemExit) as left:
            main(["export", str(tmp_path / "model.tflite"), "--config", str(file), "--json", *more])
        assert not left.value.code
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found

    exact, small = said(), said("--int8")
    larger = small["bytes"] - exact["bytes"]
    assert larger > 0
    assert small["size"].startswith(f"{larger} bytes more than in float32")
    assert "size" not in exact


class Unknown(Layer):
    """A layer that nobody has written a program for."""


def test_a_layer_without_a_program_is_refused_by_name() -> None:
    job = task("none", "mean_squared_error")
    model = ModelDefinition((5,), (3,), (Unknown(), *job.model.layers), job.model.count)
    with pytest.raises(ModelError, match="Unknown"):
        compile_program(model, job.loss, OPTIMISERS["sgd"])


def test_a_program_that_is_damaged_is_an_error_with_a_remedy() -> None:
    with pytest.raises(ConfigurationError, match="pip install"):
        open_program(b"not a program")


def test_agents_train_with_tflite_and_without_it_say_why_not(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    manifest = preset("wrist-cnn", 0)
    data = Dataset(manifest.model, manifest.objective)
    assert isinstance(build_learner(manifest, data, np.random.default_rng(0)), TfliteLearner)
    assert not caplog.records
    real = builtins.__import__
    modules = ("flatbuffers", *RUNTIMES)

    def refuse(name: str, *arguments: Any) -> Any:
        if name.partition(".")[0] in modules:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *arguments)

    for name in list(sys.modules):
        if name.partition(".")[0] in modules or name.startswith(("agent.tflite", "agent.learning.tflite_learner")):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", refuse)
    assert isinstance(build_learner(manifest, data, np.random.default_rng(0)), NumpyLearner)
    (record,) = caplog.records
    assert "flatbuffers is not installed" in record.getMessage()
    assert how_to_install("agent") in record.getMessage()


@pytest.mark.parametrize(
    ("name", "engine", "kind"),
    [("wrist", "auto", NumpyLearner), ("wrist", "tflite", TfliteLearner), ("wrist-cnn", "auto", TfliteLearner)],
)
def test_private_agents_train_with_numpy_but_convolutions(name: str, engine: str, kind: type) -> None:
    manifest = preset(name, 0)
    data, rng = Dataset(manifest.model, manifest.objective), np.random.default_rng(0)
    assert isinstance(build_learner(manifest, data, rng, engine, is_private=True), kind)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/statm")
def test_calls_leave_nothing_in_memory() -> None:
    manifest = preset("hepmass", 0)
    arguments = (manifest.model, manifest.objective, manifest.optimiser)
    learner = TfliteLearner(*arguments, Dataset(*arguments[:2]), 32, np.random.default_rng(0))
    rows = np.zeros((1, 27), np.float32)

    def pages_after(calls: int) -> int:
        for _ in range(calls):
            learner.predict(learner.weights(), rows)
        return int(Path("/proc/self/statm").read_text().split()[1])

    begun = pages_after(100)
    assert pages_after(500) - begun < 250  # 1 MB; the runtime would lose 3 kB in each of 1500 calls


_MEMORY = """
import importlib, resource, sys
import numpy as np
import dataclasses, numpy.random, numpy.typing, cryptography.exceptions, cryptography.hazmat.primitives.serialization
import cryptography.hazmat.primitives.asymmetric.ed25519, cbor2, sqlite3, argparse, tomllib
import logging, json, ssl, flatbuffers
try:
    import paho.mqtt.client
except ImportError:
    pass
for name in ("tflite_runtime.interpreter", "ai_edge_litert.interpreter"):
    try:
        importlib.import_module(name)
        break
    except ImportError:
        pass

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()

before = resident()
from agent.learning.tflite_learner import TfliteLearner
from learnae.models.dataset import Dataset
from learnae.privacy.clipping import NormClip
from learnae.swarm.presets import preset
manifest = preset("hepmass", 0)
data, rng = Dataset(manifest.model, manifest.objective, 10_000), np.random.default_rng(0)
for start in range(0, 10_000, 500):
    data.add(rng.normal(size=(500, 27)).astype(np.float32), rng.integers(0, 2, 500))
data.add(rng.normal(size=(1000, 27)).astype(np.float32), rng.integers(0, 2, 1000), holdout=True)
learner = TfliteLearner(manifest.model, manifest.objective, manifest.optimiser, data, 32, rng, NormClip())
learner.load(manifest.definition.initial(0))
for _ in range(20):
    learner.train(26)
    learner.evaluate(learner.weights())
print(resident() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/statm")
def test_training_takes_at_most_11_megabytes_above_the_imports() -> None:
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": root, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    said = succeed(sys.executable, "-c", _MEMORY, env=environment, cwd=root).stdout
    assert int(said.splitlines()[-1]) <= 11_000_000
