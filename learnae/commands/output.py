"""How commands speak: data on standard output, as a table for people or as JSON for machines."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from learnae.observer import PeerView

_WIDE = 240  # where no terminal sets a width, nothing is cut
console = Console(width=None if sys.stdout.isatty() else _WIDE)


def print_json(value: object) -> None:
    """One JSON document."""
    print(json.dumps(value, indent=1))


def print_fields(fields: Mapping[str, Any]) -> None:
    """A few named values."""
    width = max(map(len, fields))
    for name, value in fields.items():
        print(f"{name:<{width}}  {value}")


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str | Text]]) -> Table:
    """A table; columns whose names begin with > are aligned to the right.

    Cells are shown as they are: names come from strangers and are no markup.
    """
    result = Table(title=Text(title, "italic"), title_justify="left", header_style="bold")
    for column in columns:
        result.add_column(column.lstrip(">"), justify="right" if column.startswith(">") else "left", no_wrap=True)
    for row in rows:
        result.add_row(*(cell if isinstance(cell, Text) else Text(cell) for cell in row))
    return result


def peer_table(title: str, peers: Sequence[PeerView], now: int) -> Table:
    """The live table of a swarm."""
    columns = ["peer", "key", "role", "version", ">steps", ">rows", ">loss", ">accuracy", ">heard", ">out", ">in"]
    rows = [
        [
            view.name + (" (banned)" if view.banned else ""),
            view.peer[:8],
            view.role,
            view.version,
            "summary" if view.summary else f"{view.steps:,}",
            f"{'~' if view.summary else ''}{view.samples:,}",
            "-" if view.loss is None else f"{view.loss:.3f}",
            "-" if view.accuracy is None else f"{view.accuracy:.3f}",
            f"{max(0, now - view.heard) / 1000:.0f} s ago",
            human_bytes(view.bytes_out),
            human_bytes(view.bytes_in),
        ]
        for view in peers
    ]
    return table(title, columns, rows)


def human_bytes(count: float) -> str:
    """A size with a binary unit."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    raise AssertionError


def human_time(milliseconds: int) -> str:
    """A local date and time."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(milliseconds / 1000))
