"""The port of a sensor: a source that is opened again where it left off."""

from collections.abc import Callable
from typing import Protocol

from learnae.ports import SampleSource


class LiveSource(SampleSource, Protocol):
    """A sensor: ``read`` raises LearnaeError or OSError while it does not answer, and never waits for long.

    The reader closes it after an error, and opens another one later.
    """

    @property
    def position(self) -> str:
        """Return what a source that is opened anew has to know, "" if nothing.

        That is where it goes on to miss and repeat nothing, or which sensors it has to find again.
        """

    def state(self) -> str:
        """Return what the status says of it while it works."""

    def close(self) -> None:
        """Let go of files and connections."""


Open = Callable[[str], LiveSource]  # given the position to go on from, "" for none
