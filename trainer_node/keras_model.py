"""From a Keras configuration to a Keras model on JAX. The configuration is a stranger's: it is checked first.

Keras' own deserialisation imports whatever module a configuration names, and ``Lambda`` runs code
that it carries. So only classes that ``keras.layers`` and its companions publish are let through.
"""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Mapping
from typing import Any

from learnae.errors import ConfigurationError, ModelError

INSTALL = "pip install 'learnae[trainer]'"
PRECISIONS = ("float32", "mixed_bfloat16")

_MODULES = ("keras.layers", "keras.initializers", "keras.regularizers", "keras.constraints")
_TOP = ("Sequential", "DTypePolicy")  # of the module "keras" itself
# carry or load code, or wrap another framework's
_REFUSED = ("Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer", "Layer", "Wrapper")
_MAX_DEPTH = 32  # a configuration from Keras nests to about ten


def import_keras() -> Any:
    """Keras on JAX; raises ConfigurationError if that cannot be had in this process."""
    loaded = sys.modules.get("keras")
    if loaded is None:
        os.environ["KERAS_BACKEND"] = "jax"
        # JAX would take three quarters of a GPU's memory at once, on a machine that people work on
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    try:
        keras: Any = importlib.import_module("keras")
        importlib.import_module("jax")
    except ImportError as error:
        raise ConfigurationError(f"Keras and JAX cannot be imported: {error}", INSTALL) from error
    if keras.backend.backend() != "jax":
        raise ConfigurationError(f"Keras runs on {keras.backend.backend()} here", "set KERAS_BACKEND=jax")
    return keras


def build_model(config: Mapping[str, Any], precision: str = "float32") -> Any:
    """A built keras.Sequential of ``config`` (``json.loads(model.to_json())``); raises ModelError.

    ``precision`` is one of PRECISIONS: mixed_bfloat16 computes in bfloat16 and keeps weights, the
    last layer and its output in float32.
    """
    keras = import_keras()
    _check(keras, config, 0)
    inner = config.get("config")
    layers = inner.get("layers") if isinstance(inner, Mapping) else None
    if config.get("class_name") != "Sequential" or not isinstance(layers, (list, tuple)) or not layers:
        raise ModelError(f"model class {config.get('class_name')!r}", "only Sequential models with layers are trained")
    assert isinstance(inner, Mapping)
    typed = [_with_dtype(layer, precision if layer is not layers[-1] else "float32") for layer in layers]
    try:
        model = keras.Sequential.from_config({"name": "model", **inner, "layers": typed})
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ModelError(f"Keras cannot build the model: {error}", "create it with model.to_json()") from error
    if not model.built:
        raise ModelError("the model's input shape is unknown", "begin with keras.Input(shape=...)")
    return model


def _with_dtype(layer: Any, dtype: str) -> dict[str, Any]:
    """All peers exchange float32, whatever type the author's model had."""
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
        for item in value.values():
            _check(keras, item, depth + 1)
    elif isinstance(value, (list, tuple)):
        for item in value:
            _check(keras, item, depth + 1)


def _check_class(keras: Any, value: Mapping[str, Any]) -> None:
    name, module, registered = value["class_name"], value.get("module"), value.get("registered_name")
    known = module is None or module in _MODULES or (module == "keras" and name in _TOP)
    if not isinstance(name, str) or not known or name in _REFUSED or registered not in (None, name):
        raise ModelError(f"{module or 'keras'}.{name} is not allowed in a model", "use Keras' own layers")
    if name in _TOP:
        return
    places = [module] if module else _MODULES
    found = [getattr(getattr(keras, place.removeprefix("keras.")), name, None) for place in places]
    if not any(inspect.isclass(item) for item in found):
        raise ModelError(f"Keras has no layer or initializer {name!r}", "check the model's configuration")
