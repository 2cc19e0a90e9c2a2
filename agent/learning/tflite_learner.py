"""The agents' learner: a TFLite program that trains, compiled here from the swarm's definition."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.tflite.runtime import open_program
from agent.tflite.training import program
from agent.tflite.training.optimisers import VARIABLES, rate_of
from learnae.basics.overriding import override
from learnae.errors import ConfigurationError, StateError
from learnae.models.batch_learner import BatchLearner, ClippedSum, Predictor, sum_parts
from learnae.privacy.noise.grid import ADDITIONS
from learnae.system.installation import how_to_install
from learnae.weights.codecs import Vector

_SUMMED = ADDITIONS  # rows of which gradients are summed at a time; the last ones are filled up
_MOST = 3e38  # of float32: as good as no bound


class TfliteLearner(BatchLearner):
    """Trains in a TFLite runtime.

    Computes what NumpyLearner computes, and its optimiser state fits that one's, but dropout is
    inactive (learnae.models.layers.Dropout). Raises ModelError or ConfigurationError where the model
    or this machine's runtime cannot do it.
    """

    evaluation_batch = 128  # the last one is filled up

    @override
    def __post_init__(self) -> None:
        self._steps = 0
        clip = self.clips_rows
        self._program = _Program(program.compile_program(self.model, self.loss, self.optimiser, clip), self.batch)
        self._loaded: Vector | None = None  # what the program holds, if it is known here
        self._evaluator: _Program | None = None
        self._summer: _Program | None = None
        self.load(np.zeros(self.model.count, np.float32))
        self._restore({name: np.zeros(self.model.count, np.float32) for name in VARIABLES[self.optimiser.name]})

    @override
    def weights(self) -> Vector:
        if self._loaded is None:
            self._loaded = np.asarray(self._program.call(program.WEIGHTS)["weights"])
        return self._loaded.copy()

    @override
    def load(self, weights: Vector) -> None:
        self._loaded = np.array(weights, np.float32)
        self._program.call(program.LOAD, weights=self._loaded)

    @override
    def step(self, rows: NDArray[Any], targets: NDArray[Any]) -> float:
        bound = self.bound_for(rows, targets) if self.clips_rows else None
        self._loaded = None
        self._steps += 1
        return self._program.step(rows, targets, rate_of(self.optimiser, self._steps), bound)

    @override
    def norms_of(self, rows: NDArray[Any], targets: NDArray[Any]) -> NDArray[np.float64]:
        arrays = self._arrays()  # a step that is taken back: another program would cost a board memory
        self._program.step(rows, targets, 0.0, math.inf)
        norms = self._program.norms()
        self._restore(arrays)
        return norms

    @override
    def clipped_sum(self, rows: NDArray[Any], targets: NDArray[Any], bound: float) -> ClippedSum:
        self.model.check_row_gradients()
        size = self.model.rows_at_once(_SUMMED)
        summer = self._summer or _Program(program.compile_sum(self.model, self.loss), size)
        self._summer = summer
        summer.call(program.LOAD, weights=self.weights())
        return sum_parts(summer.clipped_sum, self.model.count, rows, targets, bound, size)

    def predict(self, weights: Vector, rows: NDArray[Any]) -> NDArray[Any]:
        """Return the output (n, *outputs) of the model of these weights for ``rows`` (n, *input_shape)."""
        predictor, size = self.predictor(weights), self.rows_at_once
        return np.concatenate([predictor(rows[start : start + size]) for start in range(0, len(rows), size)])

    @override
    def predictor(self, weights: Vector) -> Predictor:
        evaluator = self._evaluator or _Program(program.compile_evaluation(self.model))
        self._evaluator = evaluator
        evaluator.call(program.LOAD, weights=np.ascontiguousarray(weights, np.float32))

        def predict(part: NDArray[Any]) -> NDArray[Any]:
            filled = _filled(part.astype(np.float32, copy=False), self.rows_at_once)
            return np.asarray(evaluator.call(program.INFER, rows=filled)["output"][: len(part)])

        return predict

    @override
    def state(self) -> dict[str, NDArray[Any]]:
        """Return the optimiser's arrays, as NumpyLearner names them."""
        return {**self._arrays(), "steps": np.array([self._steps], np.int64)}

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return self._program.call(program.STATE) if VARIABLES[self.optimiser.name] else {}

    @override
    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        shapes = dict.fromkeys(VARIABLES[self.optimiser.name], (self.model.count,))
        if {name: array.shape for name, array in state.items()} != {**shapes, "steps": (1,)}:
            raise StateError("the saved optimiser state does not fit the swarm's optimiser")
        self._steps = int(state["steps"][0])
        self._restore({name: np.ascontiguousarray(state[name], np.float32) for name in shapes})

    def _restore(self, variables: Mapping[str, NDArray[Any]]) -> None:
        if variables:
            self._program.call(program.RESTORE, **variables)


def _filled(part: NDArray[Any], size: int) -> NDArray[Any]:
    """Fill ``part`` (n, ...) up with zeros to ``size`` rows."""
    if len(part) == size:
        return part
    filled = np.zeros((size, *part.shape[1:]), part.dtype)
    filled[: len(part)] = part
    return filled


class _Program:
    """An interpreter of a program; it trains on batches of one size, if ``batch`` is given.

    Steps use set_tensor and invoke, which cost less than a signature runner. A runner must not outlive
    its call: the interpreter refuses to invoke while one holds on to it.

    One interpreter either trains or infers: XNNPACK's workspace is shared by the subgraphs of an interpreter, and in
    tflite-runtime 2.14 one that makes it grow leaves the others with pointers into freed memory.
    """

    def __init__(self, data: bytes, batch: int = 0) -> None:
        self._interpreter = open_program(data)
        self._batch = batch
        if batch:
            self._prepare(batch)

    def _prepare(self, batch: int) -> None:
        try:
            for details in self._interpreter.get_input_details():
                signature = details["shape_signature"].tolist()
                if signature and signature[0] < 0:
                    self._interpreter.resize_tensor_input(details["index"], [batch, *signature[1:]])
            self._interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            raise ConfigurationError(
                f"the TFLite runtime cannot run the model: {error}", how_to_install("agent")
            ) from error
        inputs = {details["name"]: details for details in self._interpreter.get_input_details()}
        self._inputs = {name: details["index"] for name, details in inputs.items()}
        self._rows, self._targets = self._inputs["rows"], self._inputs["targets"]
        self._target_type = inputs["targets"]["dtype"]
        self._outputs = [details["index"] for details in self._interpreter.get_output_details()]
        self._set: dict[str, float] = {}
        self._interpreter.set_tensor(self._inputs["row_weights"], np.full(batch, 1 / batch, np.float32))

    def step(self, rows: NDArray[Any], targets: NDArray[Any], rate: float, bound: float | None = None) -> float:
        """Train on one batch and return its mean loss; a program that clips needs a ``bound``, and then has norms."""
        self._set_number("rate", rate)
        if bound is not None:
            self._set_number("bound", bound)
        return self._invoke(rows, targets)

    def norms(self) -> NDArray[np.float64]:
        """Return the norms (batch,) of the gradients of the rows before."""
        return self._output(1).reshape(-1).astype(np.float64)

    def clipped_sum(self, rows: NDArray[Any], targets: NDArray[Any], bound: float) -> ClippedSum:
        """Sum the gradients of at most a batch of rows."""
        count = len(rows)
        self._set_number("bound", bound)
        self._interpreter.set_tensor(self._inputs["row_weights"], (np.arange(self._batch) < count).astype(np.float32))
        loss = self._invoke(*(_filled(each, self._batch) for each in (rows, targets)))
        return ClippedSum(self._output(2), self.norms()[:count], loss / count)

    def _set_number(self, name: str, value: float) -> None:
        if value != self._set.get(name):
            self._interpreter.set_tensor(self._inputs[name], np.array([min(value, _MOST)], np.float32))
            self._set[name] = value

    def _invoke(self, rows: NDArray[Any], targets: NDArray[Any]) -> float:
        interpreter = self._interpreter
        interpreter.set_tensor(self._rows, rows)
        interpreter.set_tensor(self._targets, targets.astype(self._target_type, copy=False))
        interpreter.invoke()
        return float(self._output(0)[0])

    def _output(self, number: int) -> NDArray[Any]:
        return np.asarray(self._interpreter.get_tensor(self._outputs[number]))

    def call(self, signature: str, **inputs: NDArray[Any]) -> dict[str, Any]:
        """Run another signature than ``train``."""
        assert signature != program.TRAIN
        return dict(self._interpreter.get_signature_runner(signature)(**inputs))
