"""How far something is, for those who look at a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from learnae.basics.peer_names import harmless


@contextmanager
def progress(what: str, quiet: bool = False) -> Iterator[Callable[[float], None]]:
    """Show ``what`` on standard error while it lasts; yield a function that is told which share of it is done.

    Nothing is shown if ``quiet``, or where no terminal is. Until a share is told, a bar only moves.
    """
    if quiet or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console  # noqa: PLC0415 - 4 MB that a service has no use for
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    columns = (
        TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(harmless(what), total=None)
        yield lambda share: shown.update(task, total=1.0, completed=share)
