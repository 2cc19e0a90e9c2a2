"""Several monitors at once."""

from collections.abc import Mapping, Sequence
from typing import Any

from learnae.basics.overriding import override
from learnae.ports import Inference, Monitor


class Monitors(Monitor):
    """Tells each of several monitors."""

    def __init__(self, monitors: Sequence[Monitor]) -> None:
        self._monitors = monitors

    @override
    def report(self, status: Mapping[str, Any]) -> None:
        for monitor in self._monitors:
            monitor.report(status)

    @override
    def infer(self, results: Sequence[Inference]) -> None:
        for monitor in self._monitors:
            monitor.infer(results)

    @override
    def close(self, status: Mapping[str, Any]) -> None:
        for monitor in self._monitors:
            monitor.close(status)
