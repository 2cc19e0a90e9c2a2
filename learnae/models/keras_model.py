"""A Keras configuration as a Keras model on JAX. It comes from another peer: it is checked first.

Keras' own deserialisation imports whatever module a configuration names, ``Lambda`` runs code that
it carries, and some layers read files. So only classes that ``keras.layers`` and its companions
publish are let through, and weights get memory only after they have been counted.
"""

import copy
import importlib
import inspect
import math
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from learnae.errors import ConfigurationError, ModelError
from learnae.models.layers import parts_of
from learnae.models.layers.normalisation import as_used, moments_among
from learnae.models.outline import Outline, check_count
from learnae.system.installation import how_to_install, is_installed
from learnae.system.signals import abrupt
from learnae.weights.codecs import Vector
from learnae.weights.merge import NO_MOMENTS, Moments

PRECISIONS = ("float32", "mixed_bfloat16")

_MODULES = ("keras.layers", "keras.initializers", "keras.regularizers", "keras.constraints")
# each with the modules that Keras itself writes for it
_OTHERS = {
    "Sequential": ("keras", "keras.models"),
    "Functional": ("keras.src.models.functional", "keras.models"),
    "DTypePolicy": ("keras",),
    "__keras_tensor__": (),  # the wires between the layers of a functional model
}
_USED = ("module", "class_name", "registered_name", "config")
_MODELS = ("Sequential", "Functional")
# carry or load code, or wrap another framework's
_REFUSED = ("Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer", "Layer", "Wrapper")
_PREPROCESSING = "keras.src.layers.preprocessing."  # reads vocabularies from files, needs TensorFlow
_PLAIN = ("Rescaling", "Normalization")  # of these, those that only compute
_LINEAR = "learnae>Sequential"  # what builds a Sequential model here
_SHOWN = 200  # characters of what Keras says is wrong
_MAX_DEPTH = 32  # a configuration from Keras nests to about ten
_MAX_LAYERS = 1024


def absent_of_keras() -> list[str]:
    """Name what is not installed of Keras and JAX; import nothing."""
    return [name for name in ("keras", "jax") if not is_installed(name)]


def import_keras() -> Any:
    """Return Keras on JAX; raises ConfigurationError if it cannot be imported in this process."""
    if sys.modules.get("keras") is None:
        os.environ["KERAS_BACKEND"] = "jax"
        # JAX would take three quarters of a GPU's memory at once, on a machine that people work on
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    try:
        with abrupt():
            keras: Any = importlib.import_module("keras")
            importlib.import_module("jax")
    # a JAX that needs another NumPy raises AttributeError, one that needs another jaxlib RuntimeError
    except (ImportError, AttributeError, RuntimeError, SystemError, TypeError, ValueError) as error:
        why = f"Keras and JAX cannot be imported with NumPy {np.__version__}: {error}"
        raise ConfigurationError(why, how_to_install("trainer")) from error
    if keras.backend.backend() != "jax":
        raise ConfigurationError(f"Keras runs on {keras.backend.backend()} here", "set KERAS_BACKEND=jax")
    return keras


def build_model(config: Mapping[str, Any], precision: str = "float32") -> Any:
    """Build the Keras model of ``config`` (``json.loads(model.to_json())``); raises ModelError.

    ``precision`` is one of PRECISIONS: mixed_bfloat16 computes in bfloat16 and keeps weights, the
    last layer and its output in float32.
    """
    keras = import_keras()
    typed = _checked(keras, config, precision)
    try:
        with keras.StatelessScope(initialize_variables=False):  # weights have shapes here and no values
            check_count(_deserialised(keras, typed).count_params())
    finally:
        keras.backend.clear_session(free_memory=False)  # else Keras gives them values later
    return _deserialised(keras, typed)


def outline_of(model: Any) -> Outline:
    """Return what peers without Keras must know of a Keras model; raises ModelError for one that no dataset fits."""
    shapes = []
    for name, tensors in (("input", model.inputs), ("output", model.outputs)):
        if len(tensors) != 1:
            raise ModelError(f"the model has {len(tensors)} {name}s", "rows have one, and so have targets")
        shape = tuple(tensors[0].shape[1:])
        if not shape or any(size is None for size in shape):
            raise ModelError(f"the model's {name} has the shape {shape}", "give every size but the batch's")
        shapes.append(shape)
    return Outline(shapes[0], shapes[1], model.count_params(), _final_activation(model))


def moments_of(model: Any) -> Moments:
    """Return which weights of a Keras model are moving statistics."""
    return moments_among((weight.name, math.prod(weight.shape)) for weight in model.weights)


def moments_in(config: Mapping[str, Any]) -> Moments:
    """Return which weights of a model that only Keras builds are moving statistics; none where Keras is absent."""
    if "BatchNormalization" not in str(config) or absent_of_keras():
        return NO_MOMENTS
    return moments_of(build_model(config))


def weights_in(path: Path) -> Vector:
    """Read the weights (count,) in a .keras file whose configuration has been checked; raises ModelError."""
    keras = import_keras()
    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:
        raise ModelError(f"cannot read the weights in {path}: {error}", "save the model again") from error
    return flat(model.get_weights())


def flat(arrays: list[Any]) -> Vector:
    """Join Keras' list of weights to one float32 vector (count,)."""
    return np.concatenate([np.zeros(0, np.float32), *(np.asarray(array, np.float32).ravel() for array in arrays)])


def set_flat(model: Any, vector: Vector) -> None:
    """Give ``model`` the weights of ``vector`` (count,), as learners use them."""
    parts = parts_of(vector, (weight.shape for weight in model.weights))
    model.set_weights([as_used(weight.name, part) for weight, part in zip(model.weights, parts, strict=True)])


def _checked(keras: Any, config: Mapping[str, Any], precision: str) -> dict[str, Any]:
    """Return the configuration to build from: only Keras' own layers, in the types of ``precision``.

    What else a saved file has, such as how the model was compiled, is not used.
    """
    if not isinstance(config, Mapping):
        raise ModelError(f"the model is {config!r:.60}", "it must be a map with class_name and config")
    _check(keras, {key: value for key, value in config.items() if key in _USED}, 0)
    kind, inner = config.get("class_name"), config.get("config")
    layers = inner.get("layers") if isinstance(inner, Mapping) else None
    if kind not in _MODELS or not isinstance(layers, (list, tuple)) or not 1 <= len(layers) <= _MAX_LAYERS:
        raise ModelError(f"model class {kind!r}", f"only {' and '.join(_MODELS)} models with layers are trained")
    assert isinstance(inner, Mapping)
    ends = str(inner.get("output_layers", "")) if kind == "Functional" else ""
    typed = []
    for layer in layers:
        name = layer.get("name") if isinstance(layer, Mapping) else None
        is_end = layer is layers[-1] if kind == "Sequential" else repr(name) in ends
        typed.append(_with_dtype(layer, "float32" if is_end else precision))
    whole = {"name": "model", **inner, "layers": typed}
    return {"module": _OTHERS[str(kind)][0], "class_name": kind, "config": whole, "registered_name": kind}


def _deserialised(keras: Any, config: dict[str, Any]) -> Any:
    own = {_LINEAR: _linear(keras)}
    try:
        # it eats what it reads
        model = keras.saving.deserialize_keras_object(_marked(copy.deepcopy(config)), own, safe_mode=True)
    except Exception as error:
        problem = " ".join(str(error).rpartition("Exception encountered: ")[2].split())[:_SHOWN]
        where = _first_that_fails(keras, config)
        raise ModelError(
            f"Keras cannot build the model{where}: {problem}", "use Keras' own layers and functions"
        ) from error
    if not model.built:
        raise ModelError("the model's input shape is unknown", "begin with keras.Input(shape=...)")
    return model


def _marked(value: Any) -> Any:
    """Return a configuration whose Sequential models, also inner ones, are built by ``_linear``.

    But for those of old files, whose layers name no module: Keras reads them in a way of their own.
    """
    if isinstance(value, (list, tuple)):
        return [_marked(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    marked = {key: _marked(item) for key, item in value.items()}
    inner = value.get("config") if value.get("class_name") == "Sequential" else None
    is_new = isinstance(inner, Mapping) and all("module" in layer for layer in inner.get("layers", ()))
    return {**marked, "registered_name": _LINEAR} if is_new else marked


def _linear(keras: Any) -> Any:
    """Return what builds a Sequential model once: Keras' own builds all its layers anew with each that it adds."""

    class Linear:
        @classmethod
        def from_config(cls, config: Mapping[str, Any]) -> Any:
            layers = [keras.saving.deserialize_keras_object(layer) for layer in config["layers"]]
            model = keras.Sequential(layers, name=config["name"])
            if not model.built and config.get("build_input_shape"):
                model.build(config["build_input_shape"])
            return model

    return Linear


def _first_that_fails(keras: Any, config: dict[str, Any]) -> str:
    """Name the layer that Keras cannot build by itself; empty if it can build each."""
    for index, layer in enumerate(config["config"]["layers"]):
        try:
            keras.saving.deserialize_keras_object(copy.deepcopy(layer), safe_mode=True)
        except (TypeError, ValueError):
            return f", layer {index} ({layer['class_name']})"
    return ""


def _final_activation(model: Any) -> str:
    """Name the activation that is computed last; linear where that is none."""
    last = model.layers[-1] if type(model).__name__ == "Sequential" else model.outputs[0]._keras_history.operation
    activation = getattr(last, "activation", None)
    if activation is not None:
        return str(getattr(activation, "__name__", "unknown"))
    return {"Softmax": "softmax", "ReLU": "relu"}.get(type(last).__name__, "linear")


def _with_dtype(layer: Any, dtype: str) -> dict[str, Any]:
    """Set the layer's type: all peers exchange float32, whatever type the author's model had."""
    if not isinstance(layer, Mapping) or not isinstance(layer.get("config"), Mapping):
        raise ModelError(f"a layer is {layer!r:.60}", "it must be a map with class_name and config")
    name = "float32" if layer.get("class_name") == "InputLayer" else dtype
    return {**layer, "config": {**layer["config"], "dtype": name}}


def _check(keras: Any, value: object, depth: int) -> None:
    """Raise ModelError if ``value`` names anything but Keras' own layers and their parts."""
    if depth > _MAX_DEPTH:
        raise ModelError("the model's configuration nests too deep", f"at most {_MAX_DEPTH} levels are read")
    if isinstance(value, Mapping):
        if "class_name" in value:
            _check_class(keras, value)
        if value.get("stateful") is True:
            raise ModelError("a layer is stateful", "rows are drawn at random: no state leads from one to the next")
        for item in value.values():
            _check(keras, item, depth + 1)
    elif isinstance(value, (list, tuple)):
        for item in value:
            _check(keras, item, depth + 1)


def _check_class(keras: Any, value: Mapping[str, Any]) -> None:
    name, module, registered = value["class_name"], value.get("module"), value.get("registered_name")
    if not isinstance(name, str) or name in _REFUSED or registered not in (None, name):
        raise _not_allowed(module, name)
    if name in _OTHERS and (module is None or module in _OTHERS[name]):
        return
    if module is not None and module not in _MODULES:
        raise _not_allowed(module, name)
    places = [module] if module else _MODULES
    found = [getattr(getattr(keras, place.removeprefix("keras.")), name, None) for place in places]
    classes = [item for item in found if inspect.isclass(item)]
    if not classes:
        raise ModelError(f"Keras has no layer or initializer {name!r}", "check the model's configuration")
    if name not in _PLAIN and any(item.__module__.startswith(_PREPROCESSING) for item in classes):
        raise _not_allowed(module, name)


def _not_allowed(module: object, name: object) -> ModelError:
    return ModelError(f"{module or 'keras'}.{name} is not allowed in a model", "use Keras' own layers")
