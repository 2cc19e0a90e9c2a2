"""The port of a sensor: a source that is opened again where it left off."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from learnae.ports import SampleSource


class LiveSource(SampleSource, Protocol):
    """A sensor: ``read`` raises LearnaeError or OSError while it does not answer, and never waits for long.

    Whoever reads closes it after an error, and opens another one later.
    """

    @property
    def position(self) -> str:
        """Where one that is opened anew has to go on to miss nothing and repeat nothing; "" if it cannot be asked."""

    def state(self) -> str:
        """What the status says of it while it works."""

    def close(self) -> None:
        """Let go of files and connections."""


Open = Callable[[str], LiveSource]  # given the position to go on from, "" for none
