"""ports.Monitor over several at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from learnae.ports import Inference, Monitor


class Monitors:
    """ports.Monitor over several: each is told."""

    def __init__(self, monitors: Sequence[Monitor]) -> None:
        self._monitors = monitors

    def report(self, status: Mapping[str, Any]) -> None:
        """See ports.Monitor."""
        for monitor in self._monitors:
            monitor.report(status)

    def infer(self, results: Sequence[Inference]) -> None:
        """See ports.Monitor."""
        for monitor in self._monitors:
            monitor.infer(results)

    def close(self, status: Mapping[str, Any]) -> None:
        """See ports.Monitor."""
        for monitor in self._monitors:
            monitor.close(status)
