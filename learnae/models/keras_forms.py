"""Configurations of Keras 2 and 3, and of tf.keras, in the one form that swarms carry.

Only what is certain is translated. A manifest holds the result, so peers need not know the other forms; what names
a class that is not Keras' own is refused before anything is left out of it.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from learnae.errors import ModelError
from learnae.models.graph import chain
from learnae.models.keras_config import check_own

_MAX_LAYERS = 1024
_MAX_DEPTH = 32
_ROOTS = ("keras", "tf_keras", "tensorflow.keras", "tensorflow.python.keras", "tf.keras", "keras_core")
_PLACES = (
    "layers", "initializers", "regularizers", "constraints", "models", "engine", "activations", "mixed_precision",
    "dtype_policies",
)  # fmt: skip
_MODULES = {"Sequential": "keras", "Functional": "keras.src.models.functional"}  # as Keras 3 writes them
_RENAMED = {
    "Model": "Functional",
    "BatchNormalizationV1": "BatchNormalization",
    "BatchNormalizationV2": "BatchNormalization",
    "Convolution1D": "Conv1D",
    "MaxPool1D": "MaxPooling1D",
    "AvgPool1D": "AveragePooling1D",
    "GlobalMaxPool1D": "GlobalMaxPooling1D",
    "GlobalAvgPool1D": "GlobalAveragePooling1D",
    "UnifiedLSTM": "LSTM",
    "UnifiedGRU": "GRU",
}
_POLICIES = ("Policy", "PolicyV1", "DTypePolicy", "FloatDTypePolicy")
_TYPES = ("float32", "float16", "bfloat16", "float64", "mixed_float16", "mixed_bfloat16")
_INPUT_TYPES = (*_TYPES, "int32", "int64", "int16", "int8", "uint8", "bool", "string")
# what no longer exists in Keras 3, and what it was where it did nothing
_GONE: dict[str, tuple[Any, ...]] = {
    "time_major": (False,),
    "ragged": (False,),
    "sparse": (False,),
    "optional": (False,),
    "renorm": (False,),
    "renorm_clipping": (None, {}),
    "renorm_momentum": (None, 0.99),
    "fused": (None, True, False),  # how it is computed, not what
    "virtual_batch_size": (None,),
    "quantization_config": (None,),
    "implementation": (0, 1, 2),
}
_KERAS_1 = {"init", "inner_init", "W_regularizer", "b_regularizer", "nb_filter", "filter_length", "border_mode"}
_SCALED = {  # VarianceScaling of Keras before 2.2.5: (scale, mode, distribution)
    (1.0, "fan_avg", "uniform"): "GlorotUniform",
    (2.0, "fan_in", "uniform"): "HeUniform",
    (1.0, "fan_in", "uniform"): "LecunUniform",
}
_SHORT = {"zero": "Zeros", "one": "Ones"}
Config = dict[str, Any]


def in_own_form(given: object) -> Config:
    """Return the configuration of a model, in whatever form a version of Keras wrote it; raises ModelError."""
    parsed = _parsed(given)
    _check_depth(parsed)
    model = _model(parsed, "the model", 0)
    if str(parsed.get("keras_version", "3")).startswith(("1", "2")):
        for index, layer in enumerate(model["config"]["layers"]):
            _check_functions(layer["config"], f"layer {index} ({layer['class_name']})")
    if model["class_name"] == "Sequential":
        return model
    inner = model["config"]
    found = chain(inner["layers"], inner.get("input_layers"), inner.get("output_layers"))
    if found is None:
        return model
    layers = [{name: layer[name] for name in ("module", "class_name", "config")} for layer in found]
    named = {"name": inner["name"]} if "name" in inner else {}
    return {"module": "keras", "class_name": "Sequential", "config": {**named, "layers": layers}}


def _check_depth(given: object) -> None:
    """Raise ModelError for what nests deeper than this and that Keras writes: errors could not even show it."""
    values = [given]
    for _ in range(2 * _MAX_DEPTH):
        inner = [value for value in values if isinstance(value, (Mapping, list, tuple))]
        if not inner:
            return
        values = [each for value in inner for each in (value.values() if isinstance(value, Mapping) else value)]
    raise ModelError("the model's configuration nests too deep", f"at most {2 * _MAX_DEPTH} levels are read")


def _check_functions(options: object, thing: str) -> None:
    """Raise ModelError for a function whose name means another one since Keras 3."""
    if isinstance(options, Mapping):
        for name, value in options.items():
            if value == "hard_sigmoid":
                raise ModelError(f"{thing}.{name} hard_sigmoid of Keras 2 is not Keras 3's", "use sigmoid")
            _check_functions(value, f"{thing}.{name}")


def _parsed(given: object) -> Mapping[str, Any]:
    """Return the map in a configuration that is perhaps JSON in a JSON string."""
    for _ in range(2):
        if isinstance(given, (str, bytes)):
            try:
                given = json.loads(given)
            except (ValueError, RecursionError) as error:
                raise ModelError(f"the model is text, and no JSON: {given!r:.40}", "give model.to_json()") from error
    if not isinstance(given, Mapping):
        raise ModelError(f"the model is {given!r:.60}", "it must be a map with class_name and config")
    return given


def _model(model: Mapping[str, Any], thing: str, depth: int) -> Config:
    kind = _kind(model, thing)
    if kind not in ("Sequential", "Functional"):
        raise ModelError(f"model class {kind!r}", "only Sequential and Functional models with layers are trained")
    inner = model.get("config")
    inner = {"layers": inner} if isinstance(inner, (list, tuple)) else inner  # before Keras 2.2.3
    layers = inner.get("layers") if isinstance(inner, Mapping) else None
    if not isinstance(inner, Mapping) or not isinstance(layers, (list, tuple)) or not 1 <= len(layers) <= _MAX_LAYERS:
        raise ModelError(f"{thing}.config.layers: {layers!r:.60}", f"it must be a list of 1 to {_MAX_LAYERS} layers")
    read = [_layer(layer, f"layer {index}", depth + 1) for index, layer in enumerate(layers)]
    kept = {
        name: inner[name] for name in ("name", "input_layers", "output_layers", "build_input_shape") if name in inner
    }
    if twice := [name for name, count in Counter(_names(read)).items() if count > 1]:
        raise ModelError(f"{thing} has several layers of the name {twice[0]!r:.40}", "name every layer once")
    if kind == "Sequential":
        read = _with_input(read)
    return {"module": _MODULES[kind], "class_name": kind, "config": {**kept, "layers": read}, "registered_name": kind}


def _names(layers: list[Config]) -> Iterator[str]:
    said = (layer.get("name") or layer["config"].get("name") for layer in layers)
    return (name for name in said if isinstance(name, str))


def _with_input(layers: list[Config]) -> list[Config]:
    """Say the input's shape once, in an InputLayer of its own."""
    shapes = [(layer, layer["config"].pop("batch_shape", None)) for layer in layers]
    said = [(layer, shape) for layer, shape in shapes if shape is not None]
    if not said:
        return layers
    (first, shape), *others = said
    if first is not layers[0]:
        raise ModelError(f"layer {_index(layers, first)}.batch_shape {shape}", "the first layer says the input's shape")
    for layer, other in others:  # Keras 2 writes it in the first layer, too, where that could have said it
        same = len(other) == len(shape) and all(one in (None, size) for one, size in zip(other, shape, strict=True))
        if layer is not layers[1] or not same:
            raise ModelError(f"layer {_index(layers, layer)}.batch_shape {other}", f"the input's is {shape}")
    rest = layers[1:] if first["class_name"] == "InputLayer" else layers
    return [
        {
            "module": "keras.layers",
            "class_name": "InputLayer",
            "config": {**_name_of(first), "batch_shape": shape},
        },
        *rest,
    ]


def _index(layers: list[Config], layer: Config) -> int:
    return next(index for index, each in enumerate(layers) if each is layer)


def _name_of(first: Config) -> Config:
    return (
        {"name": first["config"]["name"]} if first["class_name"] == "InputLayer" and "name" in first["config"] else {}
    )


def _layer(layer: object, thing: str, depth: int, module: str = "keras.layers") -> Config:
    if depth > _MAX_DEPTH:
        raise ModelError(f"{thing} nests too deep", f"at most {_MAX_DEPTH} levels are read")
    if not isinstance(layer, Mapping):
        raise ModelError(f"{thing} is {layer!r:.60}", "it must be a map with class_name and config")
    kind = _kind(layer, thing)
    nodes = {name: layer[name] for name in ("name", "inbound_nodes", "shared_object_id") if name in layer}
    if kind in ("Sequential", "Functional"):
        return {**_model(layer, thing, depth), **nodes}
    config = layer.get("config")
    if not isinstance(config, Mapping):
        raise ModelError(f"{thing} ({kind}).config is {config!r:.60}", "it must be a map")
    named = config.get("name", layer.get("name"))
    said = f"{thing} ({kind}{f' {named!r:.40}' if named is not None else ''})"
    if old := sorted(_KERAS_1 & config.keys()):
        raise ModelError(f"{said} has options of Keras 1: {', '.join(old)}", "load and save it with Keras 2")
    return {"module": module, "class_name": kind, "config": _options(kind, config, said, depth), **nodes}


def _options(kind: str, config: Mapping[str, Any], thing: str, depth: int) -> Config:
    """Return a layer's options, by Keras 3's names and in its forms."""
    result: Config = {}
    for name, value in config.items():
        if name == "dtype":
            _check_type(value, thing, _INPUT_TYPES if kind == "InputLayer" else _TYPES)
        elif name == "input_length":  # of an Embedding: the input's shape says it
            continue
        elif name in _GONE:
            if not any(type(value) is type(plain) and value == plain for plain in _GONE[name]):
                raise ModelError(f"{thing}.{name} {value!r:.60} is not supported", "leave it out of the model")
        elif name in ("batch_input_shape", "batch_shape"):
            if value is not None and not isinstance(value, (list, tuple)):
                raise ModelError(f"{thing}.{name} {value!r:.60}", "it must be a list: null for the batch, then sizes")
            if value is not None and result.setdefault("batch_shape", value) != value:
                raise ModelError(f"{thing}.{name} {value!r:.60}", f"it says {result['batch_shape']} elsewhere")
        elif name.endswith("_initializer"):
            result[name] = _initialiser(value, f"{thing}.{name}")
        elif name == "activation" or name.endswith("_activation"):
            result[name] = _activation(value, f"{thing}.{name}")
        elif name == "axis" and kind == "BatchNormalization" and isinstance(value, (list, tuple)) and len(value) == 1:
            result[name] = value[0]
        else:
            place = {"regularizer": "keras.regularizers", "constraint": "keras.constraints"}
            result[name] = _part(
                value, f"{thing}.{name}", depth + 1, place.get(name.rpartition("_")[2], "keras.layers")
            )
    return result


def _part(value: object, thing: str, depth: int, module: str = "keras.layers") -> Any:
    """Return any other option; what it wraps is a layer, too."""
    if depth > _MAX_DEPTH:
        raise ModelError(f"{thing} nests too deep", f"at most {_MAX_DEPTH} levels are read")
    if isinstance(value, (list, tuple)):
        return [_part(item, thing, depth + 1, module) for item in value]
    if isinstance(value, Mapping):
        if "class_name" in value and "config" in value:
            return _layer(value, thing, depth + 1, module)
        return {name: _part(item, f"{thing}.{name}", depth + 1) for name, item in value.items()}
    return value


def _kind(value: Mapping[str, Any], thing: str) -> str:
    """Return the class of Keras 3 that ``value`` names; raises ModelError for one that is not Keras' own."""
    kind, module, registered = value.get("class_name"), value.get("module"), value.get("registered_name")
    if not isinstance(kind, str) or not kind.isidentifier():
        raise ModelError(f"{thing}.class_name is {kind!r:.60}", "it must be the name of a class of Keras")
    if _is_module(module):
        module = None
    check_own({"class_name": kind, "module": module, "registered_name": registered}, thing)
    return _RENAMED.get(kind, kind)


def _is_module(module: object) -> bool:
    """Return True for a module in which a version of Keras keeps its own classes."""
    if not isinstance(module, str):
        return module is None
    root = next((root for root in _ROOTS if f"{module}.".startswith(f"{root}.")), None)
    if root is None:
        return False
    parts = [part for part in module.removeprefix(root).split(".") if part not in ("", "src", "api", "_v2", "keras")]
    return not parts or parts[0] in _PLACES


def _check_type(value: object, thing: str, known: tuple[str, ...]) -> None:
    """Raise ModelError for a type that weights have not been trained in; all peers exchange float32."""
    name = value
    if isinstance(value, Mapping):
        policy, inner = _kind(value, f"{thing}.dtype"), value.get("config")
        name = inner.get("name") if policy in _POLICIES and isinstance(inner, Mapping) else policy
    if name is not None and name not in known:
        raise ModelError(f"{thing}.dtype {name!r:.60} is not supported", f"use one of {', '.join(_TYPES)}")


def _initialiser(value: object, thing: str) -> Any:
    """Return an initialiser as a map with Keras' class name, or None."""
    if isinstance(value, str):
        words = value if "_" in value or value.islower() else ""
        camel = "".join(word.capitalize() for word in words.split("_")) or value
        return _initialiser_of(_SHORT.get(value, camel), {})
    if not isinstance(value, Mapping):
        return value
    kind, config = _kind(value, thing), value.get("config", {})
    if not isinstance(config, Mapping):
        raise ModelError(f"{thing}.config is {config!r:.60}", "it must be a map")
    options = {name: item for name, item in config.items() if name != "dtype"}
    if kind == "VarianceScaling":
        shape = tuple(options.get(name) for name in ("scale", "mode", "distribution"))
        plain = next((name for scaled, name in _SCALED.items() if scaled == shape), None)
        if plain:
            return _initialiser_of(plain, {})
    return _initialiser_of(kind, options)


def _initialiser_of(kind: str, options: Config) -> Config:
    return {"module": "keras.initializers", "class_name": kind, "config": options}


def _activation(value: object, thing: str) -> Any:
    """Return an activation by its name, as Keras 3 writes its own; any other stays a map, for Keras to read."""
    if value is None:
        return "linear"
    if isinstance(value, Mapping) and value.get("class_name") == "function":
        module, registered = value.get("module"), value.get("registered_name")
        name = value.get("config")
        known = module in ("builtins", None) or _is_module(module)
        if not known or not isinstance(name, str) or registered not in (None, "function", name):
            raise ModelError(f"{thing} {module or 'keras'}.{name} is not Keras' own", "use Keras' own activations")
        return name
    return _part(value, thing, 0)
