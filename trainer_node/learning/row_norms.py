"""The norms of rows' gradients, in the pass that gives a batch's (ghost norms: Li et al. 2022, 2110.05679).

A layer's gradient of one row follows from what entered and what flows back. Each layer with weights tells the squares
of its rows' gradients to a tap (n,) of zeros, which enters nothing: they are the tap's own gradient.
"""

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from learnae.models.keras_model import import_keras
from learnae.models.layers import Sliding

MOST_VALUES = 1 << 22  # of gradients of rows that are in memory at once
Squares = Callable[[Any, Any], Any]  # what entered (n, ...), what flows back (n, ...) -> (n,)


class Tap:
    """Lets the layers of one model, all of learnae.models.definition, tell the norms of rows' gradients."""

    def __init__(self, model: Any) -> None:
        self._jax: Any = importlib.import_module("jax")
        self._value: Any = None
        keras = import_keras()
        kinds = {
            keras.layers.Dense: self._dense,
            keras.layers.Conv1D: self._convolution,
            keras.layers.LayerNormalization: self._normalisation,
        }
        for layer in model.layers:
            if layer.trainable_variables:
                layer.__class__ = kinds[type(layer)](type(layer))

    @contextmanager
    def on(self, value: Any) -> Iterator[None]:
        """Let the layers tell ``value`` (n,); elsewhere they compute as Keras' own."""
        self._value = value
        try:
            yield
        finally:
            self._value = None

    def _tell(self, squares: Squares, entered: Any, output: Any) -> Any:
        """Return ``output`` as it is; the tap gets ``squares`` of what entered and what flows back."""
        jax = self._jax

        def through(output: Any, _entered: Any, _tap: Any) -> Any:
            return output

        def remembered(output: Any, entered: Any, _tap: Any) -> tuple[Any, Any]:
            return output, entered

        def back(entered: Any, flow: Any) -> Any:
            found = squares(*(each.astype(jax.numpy.float32) for each in (entered, flow)))
            return flow, jax.numpy.zeros_like(entered), found

        told = jax.custom_vjp(through)
        told.defvjp(remembered, back)
        return told(output, jax.lax.stop_gradient(entered), self._value)

    def _dense(self, plain: Any) -> Any:
        tap, ops = self, import_keras().ops

        class Dense(plain):  # type: ignore[misc]
            def call(self, inputs: Any, training: bool | None = None) -> Any:
                if tap._value is None:
                    return super().call(inputs, training=training)
                output = ops.matmul(inputs, self.kernel)
                output = output if self.bias is None else ops.add(output, self.bias)
                squares = lambda x, flow: _squares(flow) * (_squares(x) + (self.bias is not None))  # noqa: E731
                return self.activation(tap._tell(squares, inputs, output))

        return Dense

    def _convolution(self, plain: Any) -> Any:
        tap = self

        class Conv1D(plain):  # type: ignore[misc]
            def call(self, inputs: Any) -> Any:
                if tap._value is None:
                    return super().call(inputs)
                sliding = Sliding(inputs.shape[1], self.kernel_size[0], self.strides[0], self.padding)
                output = self.convolution_op(inputs, self.kernel)
                output = output + self.bias if self.use_bias else output
                squares = lambda x, flow: tap._of_windows(sliding, self.use_bias, x, flow)  # noqa: E731
                return self.activation(tap._tell(squares, inputs, output))

        return Conv1D

    def _normalisation(self, plain: Any) -> Any:
        tap, ops = self, import_keras().ops

        class LayerNormalization(plain):  # type: ignore[misc]
            def call(self, inputs: Any) -> Any:
                if tap._value is None:
                    return super().call(inputs)
                normalised = ops.layer_normalization(inputs, None, None, self.axis, self.epsilon)
                output = normalised if self.gamma is None else normalised * self.gamma
                output = output if self.beta is None else output + self.beta

                def squares(x: Any, flow: Any) -> Any:
                    over_time = tuple(range(1, x.ndim - 1))
                    of_beta = 0 if self.beta is None else _squares(flow.sum(over_time))
                    return of_beta if self.gamma is None else of_beta + _squares((flow * x).sum(over_time))

                return tap._tell(squares, normalised, output)

        return LayerNormalization

    def _of_windows(self, sliding: Sliding, bias: bool, x: Any, flow: Any) -> Any:
        """Multiply each row's windows with what flows back to them, as many rows at once as there is memory for."""
        jax = self._jax
        padded = jax.numpy.pad(x, ((0, 0), (sliding.left, sliding.right), (0, 0)))

        def of_row(pair: Any) -> Any:
            row, back = pair
            windows = row[sliding.positions + sliding.left].reshape(sliding.count, -1)
            found = ((windows.T @ back) ** 2).sum()
            return found + (back.sum(0) ** 2).sum() if bias else found

        size = sliding.size * x.shape[2] * flow.shape[2]
        if size * len(x) <= MOST_VALUES:
            return jax.vmap(of_row)((padded, flow))
        return jax.lax.map(of_row, (padded, flow), batch_size=max(1, MOST_VALUES // size))


def _squares(value: Any) -> Any:
    """Sum the squares of each row's values: (n, ...) -> (n,)."""
    return (value**2).reshape(len(value), -1).sum(1)
