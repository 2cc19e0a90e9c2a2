"""Training in NumPy with nothing around it: what steps cost that no swarm, no file and no other peer has a part in.

The same steps as a trainer takes: a batch drawn at random, forward, back, each row's gradient clipped, Adam. Written
out for this one network, with buffers that are used again.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

_WIDTH, _BATCH = 64, 64
_RATE, _BETA_1, _BETA_2, _EPSILON = 1e-3, 0.9, 0.999, 1e-7
_TIMES, _DECILE, _WITHIN = 4.0, 0.9, 1 - 1e-5  # of clipping, as learnae.privacy.clipping.NormClip has it


def cpu_seconds(rows: Array, targets: Array, steps: int, seed: int) -> float:
    """Return the processor seconds of ``steps`` on ``rows`` (n, inputs) float32 and ``targets`` (n,) of 0 and 1."""
    rng, net = np.random.default_rng(seed), Net(rows.shape[1], seed)
    labels = targets.astype(np.float32)[:, None]
    begun = time.process_time()
    for _ in range(steps):
        chosen = rng.integers(0, len(rows), _BATCH)
        net.step(rows[chosen], labels[chosen])
    return time.process_time() - begun


class Net:
    """An inputs-64-64-1 network with one flat vector of weights, and Adam's two moments."""

    def __init__(self, inputs: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        shapes = [(inputs, _WIDTH), (_WIDTH,), (_WIDTH, _WIDTH), (_WIDTH,), (_WIDTH, 1), (1,)]
        count = sum(int(np.prod(shape)) for shape in shapes)
        self.weights, self.gradient, self.mean, self.square, self.work = np.zeros((5, count), np.float32)
        self.k1, self.b1, self.k2, self.b2, self.k3, self.b3 = _views(self.weights, shapes)
        self.g1, self.c1, self.g2, self.c2, self.g3, self.c3 = _views(self.gradient, shapes)
        for kernel in (self.k1, self.k2, self.k3):
            bound = np.sqrt(6 / sum(kernel.shape))
            kernel[:] = rng.uniform(-bound, bound, kernel.shape)
        self.steps, self.usual = 0, np.inf

    def step(self, x: Array, y: Array) -> float:
        """Take one step on rows (n, inputs) and labels (n, 1); return the loss before it."""
        h1 = np.maximum(x @ self.k1 + self.b1, 0)
        h2 = np.maximum(h1 @ self.k2 + self.b2, 0)
        out = 1 / (1 + np.exp(-np.clip(h2 @ self.k3 + self.b3, -60, 60)))
        clipped = np.clip(out, 1e-7, 1 - 1e-7)
        loss = -float(np.mean(y * np.log(clipped) + (1 - y) * np.log(1 - clipped)))
        f3 = out - y
        f2 = (f3 @ self.k3.T) * (h2 > 0)
        f1 = (f2 @ self.k2.T) * (h1 > 0)
        norms = np.sqrt(
            _length(f3) * (_length(h2) + 1) + _length(f2) * (_length(h1) + 1) + _length(f1) * (_length(x) + 1)
        )
        if np.isinf(self.usual):  # nothing is learnt yet
            rank = int(_DECILE * (len(norms) - 1))
            self.usual = float(np.partition(norms, rank)[rank])
        share = (np.minimum(1, _WITHIN * _TIMES * self.usual / np.maximum(norms, 1e-30)) / len(x)).astype(np.float32)[
            :, None
        ]
        for kernel, bias, entered, flow in (
            (self.g1, self.c1, x, f1), (self.g2, self.c2, h1, f2), (self.g3, self.c3, h2, f3),
        ):  # fmt: skip
            left = flow * share
            np.matmul(entered.T, left, out=kernel)
            np.sum(left, axis=0, out=bias)
        self._adam()
        return loss

    def _adam(self) -> None:
        self.steps += 1
        work, rate = self.work, _RATE * np.sqrt(1 - _BETA_2**self.steps) / (1 - _BETA_1**self.steps)
        np.subtract(self.gradient, self.mean, out=work)
        work *= np.float32(1 - _BETA_1)
        self.mean += work
        np.multiply(self.gradient, self.gradient, out=work)
        work -= self.square
        work *= np.float32(1 - _BETA_2)
        self.square += work
        np.sqrt(self.square, out=work)
        work += np.float32(_EPSILON)
        np.divide(self.mean, work, out=work)
        work *= np.float32(rate)
        self.weights -= work


def _length(value: Array) -> Array:
    return np.einsum("ni,ni->n", value, value)


def _views(vector: Array, shapes: list[tuple[int, ...]]) -> list[Array]:
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])
    return [part.reshape(shape) for part, shape in zip(np.split(vector, ends[:-1]), shapes, strict=True)]
