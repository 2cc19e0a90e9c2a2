"""The agents' learner: a TFLite program that trains, compiled here from the swarm's definition."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.tflite.runtime import open_program
from agent.tflite.training import program
from agent.tflite.training.optimisers import VARIABLES, rate_of
from learnae.errors import ConfigurationError, StateError
from learnae.models.batch_learner import BatchLearner, Predictor
from learnae.overriding import override
from learnae.system.installation import how_to_install
from learnae.weights.codecs import Vector


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
        self._program = _Program(program.compile_program(self.model, self.loss, self.optimiser), self.batch)
        self._evaluator: _Program | None = None
        self.load(np.zeros(self.model.count, np.float32))
        self._restore({name: np.zeros(self.model.count, np.float32) for name in VARIABLES[self.optimiser.name]})

    @override
    def weights(self) -> Vector:
        return np.asarray(self._program.call(program.WEIGHTS)["weights"])

    @override
    def load(self, weights: Vector) -> None:
        self._program.call(program.LOAD, weights=np.ascontiguousarray(weights, np.float32))

    @override
    def step(self, rows: NDArray[Any], targets: NDArray[Any]) -> float:
        self._steps += 1
        return self._program.step(rows, targets, rate_of(self.optimiser, self._steps))

    def predict(self, weights: Vector, rows: NDArray[Any]) -> NDArray[Any]:
        """Return the output (n, *outputs) of the model of these weights for ``rows`` (n, *input_shape)."""
        predictor, size = self.predictor(weights), self.evaluation_batch
        return np.concatenate([predictor(rows[start : start + size]) for start in range(0, len(rows), size)])

    @override
    def predictor(self, weights: Vector) -> Predictor:
        evaluator = self._evaluator or _Program(program.compile_evaluation(self.model))
        self._evaluator = evaluator
        evaluator.call(program.LOAD, weights=np.ascontiguousarray(weights, np.float32))

        def predict(part: NDArray[Any]) -> NDArray[Any]:
            filled = np.zeros((self.evaluation_batch, *part.shape[1:]), np.float32)
            filled[: len(part)] = part
            return np.asarray(evaluator.call(program.INFER, rows=filled)["output"][: len(part)])

        return predict

    @override
    def state(self) -> dict[str, NDArray[Any]]:
        """Return the optimiser's arrays, as NumpyLearner names them."""
        arrays = self._program.call(program.STATE) if VARIABLES[self.optimiser.name] else {}
        return {**arrays, "steps": np.array([self._steps], np.int64)}

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


class _Program:
    """An interpreter of a program; it trains on batches of one size, if ``batch`` is given.

    Steps use set_tensor and invoke, which cost less than a signature runner. A runner must not outlive
    its call: the interpreter refuses to invoke while one holds on to it.

    One interpreter either trains or infers: XNNPACK's workspace is shared by the subgraphs of an interpreter, and in
    tflite-runtime 2.14 one that makes it grow leaves the others with pointers into freed memory.
    """

    def __init__(self, data: bytes, batch: int = 0) -> None:
        self._interpreter = open_program(data)
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
        self._rows, self._targets, self._rate = (inputs[name]["index"] for name in ("rows", "targets", "rate"))
        self._target_type = inputs["targets"]["dtype"]
        self._loss = self._interpreter.get_output_details()[0]["index"]
        self._set_rate = -1.0
        self._interpreter.set_tensor(inputs["row_weights"]["index"], np.full(batch, 1 / batch, np.float32))

    def step(self, rows: NDArray[Any], targets: NDArray[Any], rate: float) -> float:
        """Train on one batch and return its mean loss."""
        interpreter = self._interpreter
        if rate != self._set_rate:
            interpreter.set_tensor(self._rate, np.array([rate], np.float32))
            self._set_rate = rate
        interpreter.set_tensor(self._rows, rows)
        interpreter.set_tensor(self._targets, targets.astype(self._target_type, copy=False))
        interpreter.invoke()
        return float(interpreter.get_tensor(self._loss)[0])

    def call(self, signature: str, **inputs: NDArray[Any]) -> dict[str, Any]:
        """Run another signature than ``train``."""
        assert signature != program.TRAIN
        return dict(self._interpreter.get_signature_runner(signature)(**inputs))
