"""The whole program: signatures train, infer, load, weights, and restore and state of the optimiser.

``load`` and ``restore`` come before anything else: a variable that was never assigned is an error in
one runtime and garbage in another. All weights are one variable (count,), so that an optimiser's
step is a handful of operators whatever the number of layers. Use one interpreter to train and
another to infer (agent.learning.tflite_learner says why).
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from agent.tflite import schema
from agent.tflite.graph import ANY, Graph, Tensor
from agent.tflite.operations import Operations
from agent.tflite.training.gradients import Tape
from agent.tflite.training.layers import Pass, apply, matrix_shape
from agent.tflite.training.losses import loss_and_flow, target_input
from agent.tflite.training.optimisers import VARIABLES, updated
from agent.tflite.writer import write
from learnae.models.definition import ModelDefinition
from learnae.models.layers import Activation
from learnae.models.losses import Loss
from learnae.models.optimisers import OptimiserPolicy
from learnae.privacy.clipping import TINY, WITHIN

TRAIN, INFER, LOAD, WEIGHTS, RESTORE, STATE = "train", "infer", "load", "weights", "restore", "state"
CLIPPED_SUM = "clipped_sum"
_WEIGHTS_VARIABLE = "weights"


def compile_program(model: ModelDefinition, loss: Loss, optimiser: OptimiserPolicy, clip: bool = False) -> bytes:
    """Write a .tflite file that trains ``model``; raises ModelError for a layer that has no program.

    With ``clip`` no row's gradient is longer than an input says; the model then mixes no rows.

    Signatures, with n any number of rows:

    - train: rows (n, *input), targets (n, *output) or (n,) int32, row_weights (n,) that sum to 1,
      rate (1,), with ``clip`` bound (1,) -> loss (1,) before the step, with ``clip`` norms (n, 1) of rows' gradients
    - infer: rows (n, *input) -> output (n, *output)
    - load: weights (count,); weights: -> weights (count,)
    - restore and state, unless the optimiser has none: its arrays (count,) by name
    """
    graphs = [
        _train(model, loss, optimiser, clip),
        _infer(model),
        _assign(LOAD, {_WEIGHTS_VARIABLE: model.count}),
        _read(WEIGHTS, {_WEIGHTS_VARIABLE: model.count}),
    ]
    variables = dict.fromkeys(VARIABLES[optimiser.name], model.count)
    if variables:
        graphs += [_assign(RESTORE, variables), _read(STATE, variables)]
    return write(graphs)


def compile_evaluation(model: ModelDefinition) -> bytes:
    """Write a smaller file with the signatures infer and load only."""
    return write([_infer(model), _assign(LOAD, {_WEIGHTS_VARIABLE: model.count})])


def compile_sum(model: ModelDefinition, loss: Loss) -> bytes:
    """Write a file with the signature load, and clipped_sum, which trains nothing.

    clipped_sum: rows, targets, row_weights (n,), bound (1,) -> loss (1,), norms (n, 1) of the gradients of rows' own
    losses, gradient (count,): the sum of these with ``row_weights``, none of them longer than ``bound``.
    """
    graph = Graph(CLIPPED_SUM)
    found = _differentiate(graph, model, loss, clip=True)
    graph.output("gradient", found.gradient)
    return write([graph, _assign(LOAD, {_WEIGHTS_VARIABLE: model.count})])


class _Differential(NamedTuple):
    weights: Tensor  # (count,), as are the others
    gradient: Tensor
    moves: Tensor | None  # what a step adds to moving statistics


def _train(model: ModelDefinition, loss: Loss, optimiser: OptimiserPolicy, clip: bool) -> Graph:
    graph = Graph(TRAIN)
    rate = graph.input("rate", (1,))
    found, ops = _differentiate(graph, model, loss, clip), Operations(graph)
    after = updated(ops, optimiser, found.weights, found.gradient, rate)
    ops.assign(_WEIGHTS_VARIABLE, after if found.moves is None else ops.add(after, found.moves))
    return graph


def _differentiate(graph: Graph, model: ModelDefinition, loss: Loss, clip: bool) -> _Differential:
    """Write both passes, with their inputs, and the outputs loss and norms."""
    ops = Operations(graph)
    rows = graph.input("rows", (ANY, *model.input_shape))
    targets = graph.input("targets", *target_input(loss, model.output_shape))
    row_weights = ops.reshape(graph.input("row_weights", (ANY,)), (ANY, 1))
    bound = graph.input("bound", (1,)) if clip else None

    def shares(squares: Tensor) -> Tensor:
        assert bound is not None
        norms = ops.unary(schema.SQRT, squares)
        graph.output("norms", norms)
        return ops.multiply(
            ops.minimum(ops.divide(ops.multiply(bound, WITHIN), ops.maximum(norms, TINY)), 1.0), row_weights
        )

    tape = Tape(ops)
    flat = ops.read(_WEIGHTS_VARIABLE, model.count)
    arrays, trained = _unpack(ops, model, flat, tape)
    run = Pass(tape, row_weights)
    fused = isinstance(model.layers[-1], Activation)  # the loss computes that one
    layers = model.layers[:-1] if fused else model.layers
    logits = apply(layers, arrays, rows, run)
    value, flow = loss_and_flow(ops, loss, logits, targets, row_weights, each=clip)
    graph.output("loss", value)
    found = tape.gradients(logits, flow, trained, shares if clip else None)
    slopes = dict(zip((tensor.index for tensor in trained), found, strict=True))
    everything = [tensor for each in arrays for tensor in each]
    moves = {tensor.index: move for tensor, move in run.moves}
    return _Differential(flat, _pack(ops, everything, slopes), _pack(ops, everything, moves) if moves else None)


def _infer(model: ModelDefinition) -> Graph:
    graph = Graph(INFER)
    ops = Operations(graph)
    rows = graph.input("rows", (ANY, *model.input_shape))
    arrays, _ = _unpack(ops, model, ops.read(_WEIGHTS_VARIABLE, model.count), None)
    graph.output("output", apply(model.layers, arrays, rows, Pass(Tape(ops))))
    return graph


def _unpack(
    ops: Operations, model: ModelDefinition, flat: Tensor, tape: Tape | None
) -> tuple[list[list[Tensor]], list[Tensor]]:
    """Cut the vector into each layer's arrays; ``tape`` watches those that a gradient trains."""
    sizes = [math.prod(shape) for layer in model.layers for shape in layer.shapes]
    parts = iter(ops.split(flat, sizes))
    arrays: list[list[Tensor]] = []
    trained = []
    for layer in model.layers:
        own = []
        for name, shape in zip(layer.names, layer.shapes, strict=True):
            tensor = ops.reshape(next(parts), matrix_shape(layer, shape))
            if tape is not None and not name.startswith("moving_"):
                trained.append(tape.watch(tensor))
            own.append(tensor)
        arrays.append(own)
    return arrays, trained


def _pack(ops: Operations, arrays: Sequence[Tensor], values: Mapping[int, Tensor]) -> Tensor:
    """Join the value of each array to one vector, zeros where there is none."""
    parts = []
    for array in arrays:
        size = math.prod(array.shape)
        value = values.get(array.index)
        parts.append(ops.graph.constant(np.zeros(size)) if value is None else ops.reshape(value, (size,)))
    return ops.join(parts)


def _assign(name: str, variables: Mapping[str, int]) -> Graph:
    graph = Graph(name)
    ops = Operations(graph)
    for variable, count in variables.items():
        ops.assign(variable, graph.input(variable, (count,)))
    return graph


def _read(name: str, variables: Mapping[str, int]) -> Graph:
    graph = Graph(name)
    ops = Operations(graph)
    for variable, count in variables.items():
        graph.output(variable, ops.read(variable, count))
    return graph
