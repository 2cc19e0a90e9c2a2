"""How far something is, for those who look at a terminal."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol, TypeVar

from learnae.basics.peer_names import harmless

_PATIENCE_SECONDS = 0.5  # what takes no longer is not shown
_is_quiet: ContextVar[bool] = ContextVar("is_quiet", default=False)


class Piece(Protocol):
    """A part of a file that says how much of it has been read."""

    @property
    def done(self) -> float:
        """Return the share, up to 1."""


Part = TypeVar("Part", bound=Piece)


def keep_quiet(is_quiet: bool) -> None:
    """Let ``progress`` show nothing from now on, or again something: a program that reads JSON wants no bars."""
    _is_quiet.set(is_quiet)


@contextmanager
def progress(what: str) -> Iterator[Callable[[float], None]]:
    """Show ``what`` on standard error while it lasts, if that is long; yield what is told which share of it is done.

    Nothing is shown where no terminal is, and within another progress. Until a share is told, a bar only moves.
    """
    if _is_quiet.get() or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console  # noqa: PLC0415 - 4 MB that a service has no use for
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    console = Console(stderr=True)
    if not console.is_interactive:
        yield lambda _: None
        return
    text = TextColumn("{task.description}", markup=False)
    columns = (text, BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    shown = Progress(*columns, console=console, transient=True, redirect_stdout=False)
    task = shown.add_task(harmless(what), total=None)
    starting = threading.Timer(_PATIENCE_SECONDS, shown.start)
    before = _is_quiet.set(True)
    starting.start()
    try:
        yield lambda share: shown.update(task, total=1.0, completed=share)
    finally:
        _is_quiet.reset(before)
        starting.cancel()
        starting.join()
        shown.stop()


def reading(name: str, pieces: Iterable[Part]) -> Iterator[Part]:
    """Yield the ``pieces`` of the file ``name``, and show how much of it has been read."""
    with progress(f"reading {name}") as done:
        for piece in pieces:
            yield piece
            done(piece.done)
