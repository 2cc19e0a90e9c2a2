"""One layer's Keras configuration as layers of models.layers; what is not known is refused by name."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from learnae.errors import ModelError
from learnae.ipld.fields import Fields
from learnae.models import layers
from learnae.models.layers import MAX_UNITS, Shape
from learnae.models.layers.dense import INITIALISERS
from learnae.models.layers.over_time import PADDINGS

_MAX_RANK = 4
_MAX_VALUES = 1 << 24  # of one example inside a layer: 64 MiB of float32; few parameters can ask for far more
_MAX_STRIDE = 2  # of a convolution: what every learner here implements and tests

# options that must be absent, or as Keras sets them by default
_PLAIN: dict[str, tuple[Any, ...]] = {
    "trainable": (True,),
    **dict.fromkeys([f"{part}_regularizer" for part in ("kernel", "bias", "activity", "beta", "gamma")], (None,)),
    **dict.fromkeys([f"{part}_constraint" for part in ("kernel", "bias", "beta", "gamma")], (None,)),
    **dict.fromkeys(["lora_rank", "noise_shape"], (None,)),
    "data_format": (None, "channels_last"),
    "dilation_rate": (None, 1, [1], (1,)),
    "groups": (None, 1),
    **dict.fromkeys(["keepdims", "synchronized", "rms_scaling", "renorm"], (None, False)),
    **dict.fromkeys(["virtual_batch_size", "max_value"], (None,)),
    **dict.fromkeys(["negative_slope", "threshold"], (None, 0.0, 0)),  # other programs write 0 for 0.0
}
_CONSTANTS = {
    "bias_initializer": "Zeros",
    "beta_initializer": "Zeros",
    "gamma_initializer": "Ones",
    "moving_mean_initializer": "Zeros",
    "moving_variance_initializer": "Ones",
}
_DTYPE = "float32"
_COMMON = ("name", "dtype", "batch_shape", "batch_input_shape", "seed")
_NORMALISATION = ("axis", "epsilon", "scale", "center")
_KERNEL = ("use_bias", "kernel_initializer", "activation")
_OPTIONS: dict[str, tuple[str, ...]] = {
    "Dense": ("units", *_KERNEL),
    "Activation": ("activation",),
    "Conv1D": ("filters", "kernel_size", "strides", "padding", *_KERNEL),
    "MaxPooling1D": ("pool_size", "strides", "padding"),
    "Reshape": ("target_shape",),
    "Dropout": ("rate",),
    "BatchNormalization": ("momentum", *_NORMALISATION),
    "LayerNormalization": _NORMALISATION,
}
_MODULES = (None, "keras", "keras.layers", "keras.models", "keras.initializers")  # where Keras 3 says its classes are

Read = tuple[list[layers.Layer], Shape]


def read_layer(kind: str, config: Fields, shape: Shape) -> Read:
    """Return the layers that Keras' layer ``kind`` becomes, and the shape of their output; raises ModelError."""
    if kind not in _READERS:
        raise ModelError(f"layer {kind!r} is not supported", f"use {', '.join(_READERS)}")
    _check_plain(config)
    known = {*_COMMON, *_PLAIN, *_CONSTANTS, *_OPTIONS.get(kind, ())}
    for name in config:
        value = config.value(name)
        if name not in known and value is not None and value is not False:
            raise ModelError(f"{config.thing}.{name} {str(value)[:60]} is not known of {kind}", "leave it out")
    return _READERS[kind](config, shape)


def _check_plain(config: Fields) -> None:
    for name, plain in _PLAIN.items():
        value = config.value(name, plain[0])
        if not any(type(value) is type(each) and value == each for each in plain):
            raise ModelError(f"{config.thing}.{name} {str(value)[:60]} is not supported", "remove it from the model")
    for name, wanted in _CONSTANTS.items():
        value = _class_name(config.value(name, None), f"{config.thing}.{name}")
        if value is not None and str(value).lower() != wanted.lower():
            raise ModelError(f"{config.thing}.{name} {str(value)[:60]!r} is not supported", f"use {wanted}")
    dtype = config.value("dtype", None)
    is_policy = isinstance(dtype, Mapping) and isinstance(dtype.get("config"), Mapping)
    name = dtype["config"].get("name") if is_policy else dtype
    if name not in (None, _DTYPE):
        raise ModelError(f"{config.thing}.dtype {str(name)[:60]!r} is not supported", f"use {_DTYPE}")


def check_own(value: Any, thing: str) -> None:
    """Raise ModelError if what the map ``value`` names as a class is not Keras' own, whatever it is called."""
    kind, module, registered = (value.get(name) for name in ("class_name", "module", "registered_name"))
    if module not in _MODULES or registered not in (None, kind):
        own = registered if registered not in (None, kind) else f"{module}.{kind}"
        raise ModelError(f"{thing}: {str(own)[:60]} is not Keras' own", "use Keras' own layers")


def _class_name(value: object, thing: str) -> object:
    """Return the name of an object, which Keras writes as that or as a map with ``class_name``."""
    if not isinstance(value, Mapping):
        return value
    check_own(value, thing)
    return value.get("class_name")


def _dense(config: Fields, shape: Shape) -> Read:
    if len(shape) != 1:
        raise ModelError(f"{config.thing}: Dense on a shape of {shape}", "put Flatten before it")
    layer = layers.Dense(
        inputs=shape[0],
        units=config.integer("units", 1, MAX_UNITS),
        bias=config.boolean("use_bias", True),
        initialiser=_initialiser(config),
    )
    return [layer, *_activation_of(config, "linear")], (layer.units,)


def _conv1d(config: Fields, shape: Shape) -> Read:
    length, channels = _sequence(config, "Conv1D", shape)
    stride = _single(config, "strides", 1)
    if stride > _MAX_STRIDE:
        raise ModelError(f"{config.thing}.strides {stride} is not supported", "use 1 or 2")
    layer = layers.Conv1D(
        sliding=_sliding(config, length, _single(config, "kernel_size"), stride),
        channels=channels,
        filters=config.integer("filters", 1, MAX_UNITS),
        bias=config.boolean("use_bias", True),
        initialiser=_initialiser(config),
    )
    sliding = layer.sliding
    if sliding.count * max(layer.filters, sliding.size * channels) > _MAX_VALUES:
        raise ModelError(f"{config.thing}: a convolution of more than {_MAX_VALUES} values", "make it smaller")
    return [layer, *_activation_of(config, "linear")], (sliding.count, layer.filters)


def _max_pooling1d(config: Fields, shape: Shape) -> Read:
    length, channels = _sequence(config, "MaxPooling1D", shape)
    size = _single(config, "pool_size", 2)
    sliding = _sliding(config, length, size, _single(config, "strides", size))
    if sliding.count * size * channels > _MAX_VALUES:
        raise ModelError(f"{config.thing}: pooling over more than {_MAX_VALUES} values", "make its windows shorter")
    return [layers.MaxPooling1D(sliding)], (sliding.count, channels)


def _sliding(config: Fields, length: int, size: int, stride: int) -> layers.Sliding:
    padding = config.choice("padding", PADDINGS, "valid")
    if size > length:
        raise ModelError(f"{config.thing}: a window of {size} over {length} positions", "make it shorter")
    return layers.Sliding(length, size, stride, padding)


def _batch_normalization(config: Fields, shape: Shape) -> Read:
    layer = layers.BatchNormalization(**_normalisation(config, shape), momentum=config.number("momentum", 0, 1, 0.99))
    return [layer], shape


def _normalisation(config: Fields, shape: Shape) -> dict[str, Any]:
    """Return the options of both; raises ModelError unless they normalise the last axis."""
    axis = config.value("axis", -1)
    if isinstance(axis, (list, tuple)) and len(axis) == 1:
        axis = axis[0]
    if isinstance(axis, bool) or not isinstance(axis, int) or axis not in (-1, len(shape)):
        raise ModelError(f"{config.thing}.axis {str(axis)[:60]} is not supported", "normalise the last axis, -1")
    return {
        "size": shape[-1],
        "epsilon": config.number("epsilon", 1e-12, 1, 1e-3),
        "scale": config.boolean("scale", True),
        "centre": config.boolean("center", True),
    }


def _activation_of(config: Fields, *otherwise: str) -> list[layers.Layer]:
    function = config.choice("activation", layers.ACTIVATIONS, *otherwise)
    return [] if function == "linear" else [layers.Activation(function)]


def _reshape(config: Fields, shape: Shape) -> Read:
    target = config.value("target_shape")
    if not isinstance(target, (list, tuple)) or not 1 <= len(target) <= _MAX_RANK:
        raise config.error("target_shape", target, f"a list of 1 to {_MAX_RANK} sizes")
    if not all(isinstance(size, int) and not isinstance(size, bool) and size >= -1 and size != 0 for size in target):
        raise config.error("target_shape", target, "sizes from 1, at most one of them -1")
    free = sum(size == -1 for size in target)
    known = math.prod(size for size in target if size != -1)
    if free > 1 or math.prod(shape) % known or (not free and known != math.prod(shape)):
        raise config.error("target_shape", target, f"a shape of {math.prod(shape)} values, at most one size -1")
    sizes = tuple(math.prod(shape) // known if size == -1 else size for size in target)
    return [layers.Reshape(sizes)], sizes


def _dropout(config: Fields, shape: Shape) -> Read:
    rate = config.number("rate", 0, 1)
    if rate >= 1:
        raise config.error("rate", rate, "below 1")
    return [layers.Dropout(rate)], shape


def _sequence(config: Fields, kind: str, shape: Shape) -> tuple[int, int]:
    """Return (length, channels) of the input."""
    if len(shape) != 2:
        raise ModelError(f"{config.thing}: {kind} on a shape of {shape}", "it needs (length, channels)")
    return shape[0], shape[1]


def _single(config: Fields, name: str, default: int | None = None) -> int:
    """Return a whole number, which Keras writes alone or as a list of one; null stands for the default."""
    value = config.value(name, default) if default is not None else config.value(name)
    if isinstance(value, (list, tuple)) and len(value) == 1:
        value = value[0]
    if value is None and default is not None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_UNITS:
        raise config.error(name, value, f"an integer from 1 to {MAX_UNITS}")
    return value


def _initialiser(config: Fields) -> str:
    name = _class_name(config.value("kernel_initializer", "GlorotUniform"), f"{config.thing}.kernel_initializer")
    if not isinstance(name, str) or name not in INITIALISERS:
        raise ModelError(f"{config.thing}.kernel_initializer {str(name)[:60]!r}", f"use {', '.join(INITIALISERS)}")
    return name


_READERS: dict[str, Callable[[Fields, Shape], Read]] = {
    "Dense": _dense,
    "Activation": lambda config, shape: (_activation_of(config), shape),
    "ReLU": lambda _, shape: ([layers.Activation("relu")], shape),
    "Conv1D": _conv1d,
    "MaxPooling1D": _max_pooling1d,
    "GlobalAveragePooling1D": lambda config, shape: (
        [layers.GlobalAveragePooling1D()],
        (_sequence(config, "GlobalAveragePooling1D", shape)[1],),
    ),
    "Flatten": lambda _, shape: ([layers.Flatten()], (math.prod(shape),)),
    "Reshape": _reshape,
    "Dropout": _dropout,
    "BatchNormalization": _batch_normalization,
    "LayerNormalization": lambda config, shape: ([layers.LayerNormalization(**_normalisation(config, shape))], shape),
}
