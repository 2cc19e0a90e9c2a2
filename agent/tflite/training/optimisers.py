"""Optimisers over one flat vector, as in learnae.models.optimisers; their state is in variables."""

import math

from agent.tflite import schema
from agent.tflite.graph import Tensor
from agent.tflite.operations import Operations
from learnae.models.optimisers import OptimiserPolicy

VARIABLES = {"sgd": (), "momentum": ("velocity",), "adam": ("mean", "square")}


def rate_of(policy: OptimiserPolicy, step: int) -> float:
    """Return the learning rate of step 1, 2, ...: an input of the program, as Adam's depends on the step."""
    if policy.name != "adam":
        return policy.learning_rate
    return policy.learning_rate * math.sqrt(1 - policy.beta_2**step) / (1 - policy.beta_1**step)


def updated(ops: Operations, policy: OptimiserPolicy, weights: Tensor, gradient: Tensor, rate: Tensor) -> Tensor:
    """Compute the weights (count,) after one step; assigns the optimiser's variables. ``rate`` (1,)."""
    if policy.name == "sgd":
        return ops.subtract(weights, ops.multiply(gradient, rate))
    if policy.name == "momentum":
        kept = ops.multiply(ops.read("velocity", weights.shape[0]), policy.momentum)
        velocity = ops.subtract(kept, ops.multiply(gradient, rate))
        ops.assign("velocity", velocity)
        return ops.add(weights, velocity)
    mean = _towards(ops, "mean", gradient, 1 - policy.beta_1)
    square = _towards(ops, "square", ops.unary(schema.SQUARE, gradient), 1 - policy.beta_2)
    root = ops.add(ops.unary(schema.SQRT, square), policy.epsilon)
    return ops.subtract(weights, ops.divide(ops.multiply(mean, rate), root))


def _towards(ops: Operations, name: str, target: Tensor, share: float) -> Tensor:
    """Move a variable towards ``target``."""
    before = ops.read(name, target.shape[0])
    after = ops.add(before, ops.multiply(ops.subtract(target, before), share))
    ops.assign(name, after)
    return after
