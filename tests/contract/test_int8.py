"""Full-integer inference files: what is int8 in them, how near to float they are, and what else they must survive."""

import functools
from collections import Counter
from importlib import resources
from typing import Any

import numpy as np
import pytest
from keras_configs import define, dense, layer
from learner_models import BODIES, RUNTIMES, VECTOR, output, require, task
from numpy.typing import NDArray

from learnae.models.dataset import Dataset
from learnae.models.definition import ModelDefinition
from learnae.models.reference.numpy_model import predict
from learnae.samples.recordings import shipped_recording
from learnae.samples.windows import Windower
from learnae.swarm.manifest import Manifest
from learnae.swarm.presets import demo_data, dense_config, preset

require(*RUNTIMES)
require("flatbuffers")

from agent.learning.tflite_learner import TfliteLearner  # noqa: E402
from agent.tflite.inference.export import inference_program  # noqa: E402
from agent.tflite.runtime import open_program  # noqa: E402
from learnae.errors import ModelError  # noqa: E402
from learnae.samples.windows import add_windows  # noqa: E402

Array = NDArray[Any]


def types(data: bytes) -> Counter[str]:
    """How many tensors of which type a file has."""
    return Counter(np.dtype(details["dtype"]).name for details in open_program(data).get_tensor_details())


@functools.cache
def everybody(name: str) -> tuple[Manifest, Dataset]:
    """The wrist recordings of all people."""
    manifest = preset(name, 0)
    dataset = Dataset(manifest.model, manifest.objective)
    assert manifest.features is not None
    with resources.as_file(demo_data()) as path:
        for person in range(1, 9):
            windows = Windower(manifest.features).push(shipped_recording(path, person).split_by_time(0.3))
            add_windows(dataset, manifest, manifest.features.extract(windows.values), windows)
    return manifest, dataset


def trained(name: str, seed: int) -> Array:
    manifest, dataset = everybody(name)
    rng = np.random.default_rng(seed)
    learner = TfliteLearner(manifest.definition, manifest.objective, manifest.optimiser, dataset, 32, rng)
    learner.load(manifest.definition.initial(seed))
    learner.train(2000)
    return learner.weights()


@pytest.mark.parametrize("name", ["wrist", "wrist-cnn"])
def test_int8_is_as_accurate_as_float_on_the_wrist_data_within_a_point(name: str) -> None:
    manifest, dataset = everybody(name)
    rows, targets = dataset.holdout.rows, dataset.holdout.targets
    own = dataset.train.rows[:: len(dataset.train) // 400]
    found = []
    for seed in range(2):
        weights = trained(name, seed)
        files = [inference_program(manifest.definition, weights, int8, own) for int8 in (False, True)]
        floats, integers = (output(data, rows) for data in files)
        found.append([(outputs.argmax(axis=1) == targets).mean() for outputs in (floats, integers)])
        assert (floats.argmax(axis=1) == integers.argmax(axis=1)).mean() > 0.97
        assert np.abs(floats - integers).mean() < 0.004
    accuracy = np.mean(found, axis=0)
    assert accuracy[0] > 0.88
    assert accuracy[1] > accuracy[0] - 0.01


@pytest.mark.parametrize("name", ["wrist", "wrist-cnn", "hepmass"])
def test_all_but_the_edges_is_int8(name: str) -> None:
    manifest = preset(name, 0)
    rows = np.random.default_rng(0).normal(size=(50, *manifest.model.input_shape)).astype(np.float32)
    data = inference_program(manifest.definition, manifest.definition.initial(1), True, rows)
    interpreter = open_program(data)
    found = {details["index"]: details for details in interpreter.get_tensor_details()}
    floats = [details["shape_signature"].tolist() for details in found.values() if details["dtype"] is np.float32]
    edge = [-1, *manifest.model.output_shape]
    assert floats == [[-1, *manifest.model.input_shape], edge, edge]  # rows, what the last activation sees, output
    assert {types(data)[name] > 0 for name in ("int8", "int32")} == {True}
    for details in found.values():
        if details["dtype"] is np.int8:
            assert (details["quantization_parameters"]["scales"] > 0).all()
    assert interpreter.get_input_details()[0]["dtype"] is np.float32


def test_without_rows_activations_stay_float() -> None:
    manifest = preset("wrist", 0)
    weights = manifest.definition.initial(1)
    plain = inference_program(manifest.definition, weights, True)
    assert inference_program(manifest.definition, weights, True, np.zeros((0, 30), np.float32)) == plain
    assert types(plain)["int8"] == 3  # kernels


def test_a_file_is_about_a_quarter_where_weights_are_most_of_it() -> None:
    model = ModelDefinition.from_config(dense_config(64, (256, 128), 8, "softmax"))
    rows = np.random.default_rng(0).normal(size=(20, 64)).astype(np.float32)
    exact, small = (inference_program(model, model.initial(0), int8, rows) for int8 in (False, True))
    assert len(small) < 0.29 * len(exact)


@pytest.mark.parametrize("body", BODIES)
def test_int8_files_say_nearly_what_the_model_says(body: str) -> None:
    job, rng = task(body, "mean_squared_error"), np.random.default_rng(0)
    weights = job.model.initial(1) + rng.normal(size=job.model.count).astype(np.float32) * 0.05
    rows, _ = job.batch(rng, 400)
    wanted = predict(job.model, weights.astype(np.float64), rows)
    data = inference_program(job.model, weights, True, rows)
    spread = wanted.max() - wanted.min()
    assert np.abs(output(data, rows) - wanted).mean() < 0.012 * spread
    assert output(data, rows[:1]) == pytest.approx(output(data, rows)[:1], abs=0.02 * spread)


def test_layers_without_an_int8_kernel_stay_float_between() -> None:
    model = define(dense(8, "relu"), layer("LayerNormalization"), dense(6, "tanh"), dense(2), shape=VECTOR)
    rows = np.random.default_rng(0).normal(size=(300, *VECTOR)).astype(np.float32)
    data = inference_program(model, model.initial(3), True, rows)
    assert types(data)["int8"] >= 3 + 6  # three kernels; inputs and outputs of three layers
    assert output(data, rows) == pytest.approx(predict(model, model.initial(3), rows), abs=0.15)


@pytest.mark.parametrize(("kernel", "bias"), [(0.0, 3.0), (1e-12, 1e-3), (1e-12, 0.0), (1e-3, 1e6), (1e4, 0.0), (0, 0)])
@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("body", ["dense-relu", "conv-valid"])
def test_kernels_and_biases_of_any_size_make_a_file_that_runs(body: str, kernel: float, bias: float) -> None:
    """One filter is far from the others: dead, tiny, huge; steps must stay what runtimes take."""
    job, rng = task(body, "mean_squared_error"), np.random.default_rng(0)
    weights = job.model.initial(1)
    first = job.model.split(weights)[0]
    first[0][..., 0] *= kernel
    first[1][0] = bias
    rows, _ = job.batch(rng, 100)
    wanted = predict(job.model, weights.astype(np.float64), rows)
    for own in (rows, None):
        found = output(inference_program(job.model, weights, True, own), rows)
        assert np.abs(found - wanted).mean() <= 0.02 * np.abs(wanted).max() + 1e-6


def int8_steps(data: bytes) -> dict[tuple[int, ...], float]:
    details = [each for each in open_program(data).get_tensor_details() if each["dtype"] is np.int8]
    return {tuple(each["shape_signature"]): each["quantization"][0] for each in details}


def test_a_layer_that_is_never_active_makes_a_file_that_runs() -> None:
    """Its output has no range, and its kernel's steps are far greater than those of nothing."""
    model = define(dense(3, "relu"), dense(1), shape=(2,))
    weights = np.array([1e3] * 6 + [-1e6] * 3 + [1, 2, 3] + [0.5], np.float32)
    rows = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)
    data = inference_program(model, weights, True, rows)
    assert output(data, rows) == pytest.approx(np.full((50, 1), 0.5), abs=0.01)
    steps = int8_steps(data)
    assert steps[-1, 2] * steps[3, 2] / steps[-1, 3] < 256  # the most that XNNPACK takes


def test_an_outlier_among_the_rows_makes_no_step_coarse_and_what_is_out_of_range_saturates() -> None:
    model = define(dense(1, "relu", use_bias=False), dense(1, use_bias=False), shape=(2,))
    rows = np.random.default_rng(0).uniform(-1, 1, (4000, 2)).astype(np.float32)
    rows[7] = 1000
    data = inference_program(model, np.ones(3, np.float32), True, rows)
    assert int8_steps(data)[-1, 2] == pytest.approx(2 / 255, rel=0.05)
    assert output(data, rows[7:8]).item() < 10  # not wrapped round to nothing, nor 2000
    assert output(data, rows[7:8]).item() > 1.5


def test_weights_that_are_not_finite_are_refused() -> None:
    manifest = preset("wrist", 0)
    rows = np.ones((3, 30), np.float32)
    for value in (np.nan, np.inf, 3e38):
        with pytest.raises(ModelError, match="finite"):
            inference_program(manifest.definition, np.full(manifest.model.count, value, np.float32), True, rows)
