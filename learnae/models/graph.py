"""Which layer of a Keras configuration is fed by which: chains, and what takes a row as it is."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_PASSING = (
    "InputLayer",
    "Identity",
    "Reshape",
    "Flatten",
    "Permute",
    "RepeatVector",
    "Masking",
    "Cropping1D",
    "Dropout",
)
_NORMALISING = ("BatchNormalization", "Normalization")
_MODELS = ("Sequential", "Functional")
_MAX_DEPTH = 32
Layer = Mapping[str, Any]


def entrance(config: Layer) -> list[Layer]:
    """Return the layers of a model (Keras' configuration, perhaps unchecked) that work on a row's own values first."""
    layers = _layers(config)
    if config.get("class_name") == "Sequential":
        first = next((layer for layer in layers if layer.get("class_name") not in _PASSING), None)
        return _inside(first) if first else []
    following: dict[str, list[Layer]] = {}
    for layer in layers:
        for source in sources(layer):
            following.setdefault(source, []).append(layer)
    waiting = [_name(layer) for layer in layers if layer.get("class_name") == "InputLayer"]
    found: list[Layer] = []
    while waiting:
        for layer in following.pop(waiting.pop(), []):
            if layer.get("class_name") in _PASSING:
                waiting.append(_name(layer))
            else:
                found += _inside(layer)
    return found


def _layers(config: Layer) -> list[Layer]:
    inner = config.get("config")
    layers = inner.get("layers") if isinstance(inner, Mapping) else None
    return [layer for layer in layers if isinstance(layer, Mapping)] if isinstance(layers, (list, tuple)) else []


def _option(layer: Layer, name: str) -> Any:
    config = layer.get("config")
    return config.get(name) if isinstance(config, Mapping) else None


def _inside(layer: Layer) -> list[Layer]:
    """Return what is first in a layer that is a model, or that wraps another one."""
    if layer.get("class_name") in _MODELS:
        return entrance(layer)
    wrapped = _option(layer, "layer")
    return _inside(wrapped) if isinstance(wrapped, Mapping) else [layer]


def normalises_rows(config: Layer) -> bool:
    """Return True if nothing in a checked model sees a row before it is normalised."""
    first = entrance(config)
    return bool(first) and all(layer.get("class_name") in _NORMALISING for layer in first)


def token_count(config: Layer) -> int | None:
    """Return how many tokens, from 0, a row's values may be: those that an Embedding looks up; None without one."""
    sizes = [_option(layer, "input_dim") for layer in entrance(config) if layer.get("class_name") == "Embedding"]
    return min((size for size in sizes if isinstance(size, int)), default=None)


def chain(layers: Sequence[Layer], first: object, last: object) -> list[Layer] | None:
    """Return the layers of a functional model from ``first`` to ``last`` (as Keras names its input and output).

    Returns None unless each has one source, which feeds nothing else, and none is called twice or with options.
    """
    by_source: dict[str, Layer] = {}
    for layer in layers:
        nodes = layer.get("inbound_nodes", [])
        if layer.get("class_name") == "InputLayer" and not nodes:
            continue
        fed_by = sources(layer)
        if (
            not isinstance(nodes, (list, tuple))
            or len(nodes) != 1
            or len(fed_by) != 1
            or fed_by[0] in by_source
            or _has_options(nodes)
        ):
            return None
        by_source[fed_by[0]] = layer
    starts, ends = list(_tensors(first)), list(_tensors(last))
    found = [layer for layer in layers if [_name(layer)] == starts]
    while found and (following := by_source.pop(_name(found[-1]), None)) is not None:
        found.append(following)
    return found if len(found) == len(layers) and [_name(found[-1])] == ends else None


def sources(layer: Layer) -> list[str]:
    """Return the names of the layers whose outputs ``layer`` takes, in order."""
    return list(_tensors(layer.get("inbound_nodes", [])))


def _name(layer: Layer) -> str:
    return str(layer.get("name") or _option(layer, "name"))


def _tensors(value: object, depth: int = 0) -> Iterator[str]:
    """Yield the layers that tensors come from: ``[name, 0, 0]``, or Keras 3's ``keras_history`` of one."""
    if isinstance(value, Mapping):
        for item in value.values():
            yield from _tensors(item, depth + 1) if depth < _MAX_DEPTH else ()
    elif isinstance(value, (list, tuple)):
        if len(value) >= 3 and isinstance(value[0], str) and isinstance(value[1], int):
            yield value[0]
            value = value[3:]
        for item in value:
            yield from _tensors(item, depth + 1) if depth < _MAX_DEPTH else ()


def _has_options(nodes: object) -> bool:
    """Return True if a layer is called with more than a tensor: a second output of its source, or options."""
    node = nodes[0] if isinstance(nodes, (list, tuple)) else nodes
    if isinstance(node, Mapping):  # Keras 3
        given = node.get("kwargs") or {}
        has_any = not isinstance(given, Mapping) or any(value not in (None, False) for value in given.values())
        return has_any or len(list(_tensors(node.get("args")))) != 1
    parts = node if isinstance(node, (list, tuple)) else ()
    return any(isinstance(part, (list, tuple)) and len(part) > 3 and bool(part[3]) for part in parts)
