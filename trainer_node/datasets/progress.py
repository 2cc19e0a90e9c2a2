"""A progress bar for reading large files, on a terminal only."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from trainer_node.datasets.source import Chunk


def with_progress(path: Path, chunks: Iterator[Chunk]) -> Iterator[Chunk]:
    """Pass on ``chunks``, and show how much of ``path`` has been read."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield from chunks
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(f"reading {path.name}", total=1.0)
        for chunk in chunks:
            yield chunk
            progress.update(task, completed=chunk.done)
