"""What others are shown of a peer: nothing of its personal model, and of a private one nothing that rows change."""

from collections.abc import Mapping, Sequence
from typing import Any

from learnae.basics.overriding import override
from learnae.ports import Inference, Monitor

# of Peer.status: who it is, whom it hears, and what it has spent; what may follow from rows is on the own disk only
SHOWN = frozenset(
    {
        "peer", "name", "shown", "role", "software", "swarm", "time", "seq", "steps", "peers", "following", "messages",
        "bytes_out", "bytes_in", "unwritable", "held_back", "listening", "catching_up", "privacy", "banned",
        "membership", "engine", "device", "precision", "connections",
    }
)  # fmt: skip


_OWN = frozenset({"personal"})


class CommonMonitor(Monitor):
    """Shows ``inner``, which others see, nothing of the model that serves this machine alone."""

    def __init__(self, inner: Monitor) -> None:
        self._inner = inner

    @override
    def report(self, status: Mapping[str, Any]) -> None:
        self._inner.report(_common(status))

    @override
    def infer(self, results: Sequence[Inference]) -> None:
        self._inner.infer(results)

    @override
    def close(self, status: Mapping[str, Any]) -> None:
        self._inner.close(_common(status))


class PrivateMonitor(Monitor):
    """Shows ``inner``, which others see, only what no row changes, and no result of the model on own readings."""

    def __init__(self, inner: Monitor) -> None:
        self._inner = inner

    @override
    def report(self, status: Mapping[str, Any]) -> None:
        self._inner.report(shown(status))

    @override
    def infer(self, results: Sequence[Inference]) -> None:
        """Do nothing: what the model says of a window is a function of it."""

    @override
    def close(self, status: Mapping[str, Any]) -> None:
        self._inner.close(shown(status))


def shown(status: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of ``status`` (Peer.status) others may see.

    >>> shown({"name": "pump", "accuracy": 0.5, "training_rows": 387, "privacy": {"epsilon": 1.0}})
    {'name': 'pump', 'privacy': {'epsilon': 1.0}}
    """
    return {name: value for name, value in status.items() if name in SHOWN}


def _common(status: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in status.items() if name not in _OWN}
