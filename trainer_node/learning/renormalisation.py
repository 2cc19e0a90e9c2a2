"""Keras' BatchNormalization, trained as learnae.models.layers.normalisation trains it."""

from functools import cache
from typing import Any

from learnae.models.keras_model import import_keras
from learnae.models.layers.normalisation import MAX_SHIFT, MAX_STRETCH


def renormalise(model: Any) -> Any:
    """Let all layers of ``model`` that are Keras' BatchNormalization train by batch renormalisation; return it."""
    plain = import_keras().layers.BatchNormalization
    for layer in model._flatten_layers():
        if type(layer) is plain:
            layer.__class__ = _renormalising()
    return model


@cache
def _renormalising() -> Any:
    keras = import_keras()
    ops, stop = keras.ops, keras.ops.stop_gradient
    plain: Any = keras.layers.BatchNormalization

    class BatchRenormalization(plain):  # type: ignore[misc]
        """Stretches and shifts what the batch's statistics give to where the moving ones have it."""

        def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
            """Return the output; in training, move the moving statistics."""
            if not training or not self.trainable or getattr(self, "renorm", False):
                return super().call(inputs, training=training, mask=mask)
            inputs = ops.cast(inputs, "float32")
            mean, variance = self._moments(inputs, mask)
            pace, away = 1 - self.momentum, stop(mean) - self.moving_mean
            beyond = (1 - pace) * ops.square(away)
            to_mean = self.moving_mean + pace * away
            to_variance = self.moving_variance + pace * (stop(variance) - self.moving_variance + beyond)
            self.moving_mean.assign(to_mean)
            self.moving_variance.assign(to_variance)
            inverse = ops.rsqrt(ops.maximum(to_variance, 0) + self.epsilon)
            stretch = ops.minimum(ops.sqrt(stop(variance) + self.epsilon) * inverse, MAX_STRETCH)
            shift = ops.clip((stop(mean) - to_mean) * inverse, -MAX_SHIFT, MAX_SHIFT)
            scale = self.gamma * stretch if self.scale else stretch
            offset = self.gamma * shift if self.scale else shift
            offset = offset + self.beta if self.center else offset
            output = ops.batch_normalization(inputs, mean, variance, self.axis, offset, scale, self.epsilon)
            return ops.cast(output, self.compute_dtype)

    return BatchRenormalization
