"""Learnae: peers with private data train one model together, without a coordinator.

The public names are loaded when they are first asked for: programs that use none of them stay light. What each takes
and returns is in ``__init__.pyi``, and in docs/api.md.
"""

from importlib import import_module

__version__ = "0.1.0"

_PUBLIC = {
    "Kept": "learnae.api.shared_peer",
    "LoadedModel": "learnae.api.loading",
    "SharedPeer": "learnae.api.shared_peer",
    "Simulation": "learnae.api.simulation",
    "create_swarm": "learnae.api.creating",
    "join": "learnae.api.joining",
    "load": "learnae.api.loading",
}
__all__ = ["__version__", *_PUBLIC]  # noqa: PLE0604 - names in a map


def __getattr__(name: str) -> object:
    module = _PUBLIC.get(name)
    if name == "keras":  # which it needs
        return import_module("learnae.keras")
    if module is None:
        raise AttributeError(f"module 'learnae' has no attribute {name!r}")
    return getattr(import_module(module), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
