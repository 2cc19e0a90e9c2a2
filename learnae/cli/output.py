"""Data on standard output: tables for people, JSON for machines."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from learnae.basics import peer_names, strict_json
from learnae.config.privacy_section import PrivacySection
from learnae.reports.peer_columns import OwnModel, peer_columns
from learnae.text import counted, shortly

if TYPE_CHECKING:
    from learnae.runtime.observer import PeerView
    from learnae.swarm.manifest import Manifest

_WIDE = 240  # columns where no terminal sets a width: nothing is cut
_MINUTES_FROM = 120.0  # seconds: less is told in seconds
_LEAST_NAME = 4  # columns that a name keeps beside its piece of key
console = Console(width=None if sys.stdout.isatty() else _WIDE)


def print_json(value: object) -> None:
    """Print one JSON document."""
    print(strict_json.dumps(value, indent=1))


def print_fields(fields: Mapping[str, Any]) -> None:
    """Print named values, one a line, aligned."""
    width = max(map(len, fields))
    for name, value in fields.items():
        print(f"{name:<{width}}  {value}")


def print_list(lines: Iterable[str]) -> None:
    """Print lines of text, each marked as one of several."""
    for line in lines:
        print(f"- {line}")


class PeerName:
    """A cell with a name as it is shown, and a ``note`` if there is room: the piece of a key is never cut."""

    def __init__(self, shown: str, note: str = "") -> None:
        self._name, self._piece = peer_names.split(shown)
        self._note = note

    @property
    def least(self) -> int:
        """Return how many columns it needs."""
        return cell_len(self._piece) + min(_LEAST_NAME, cell_len(self._name))

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        """Tell rich how wide it may be."""
        return Measurement(self.least, cell_len(self._name + self._piece + self._note))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Tell rich what it is."""
        note = self._note if self.least + cell_len(self._note) <= options.max_width else ""
        room = max(_LEAST_NAME, options.max_width - cell_len(self._piece + note))
        name = self._name if cell_len(self._name) <= room else set_cell_size(self._name, room - 1).rstrip() + "…"
        yield Text(name + self._piece + note, no_wrap=True, overflow="ellipsis")


Cell = str | Text | PeerName


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]], wrap: bool = False) -> Table:
    """Return a table; columns whose names have > before them are aligned to the right; long cells are cut, or ``wrap``.

    Names and cells are shown as they are: names come from other peers and are no markup.
    """
    result = Table(title=Text(title, "italic"), title_justify="left", header_style="bold")
    for place, column in enumerate(columns):
        least = max((cell.least for row in rows if isinstance(cell := row[place], PeerName)), default=None)
        justify: Literal["left", "right"] = "right" if column.startswith(">") else "left"
        result.add_column(
            Text(column.removeprefix(">")),
            justify=justify,
            no_wrap=not wrap,
            overflow="fold" if wrap else "ellipsis",
            min_width=least,
        )
    for row in rows:
        result.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in row))
    return result


def fitting(tables: Iterable[Table]) -> Table:
    """Return the first of ``tables`` that the terminal has room for, or the last."""
    unbounded = console.options.update(max_width=_WIDE)
    for result in tables:
        if console.measure(result, options=unbounded).maximum <= console.width:
            break
    return result


def shedding(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]], less: Sequence[str]
) -> Iterator[Table]:
    """Yield the table of all columns, then with ever fewer: without the first of ``less``, the first two, …"""
    for count in range(len(less) + 1):
        kept = [index for index, column in enumerate(columns) if column.removeprefix(">") not in less[:count]]
        yield table(title, [columns[index] for index in kept], [[row[index] for index in kept] for row in rows])


def peer_table(
    title: str,
    peers: Sequence[PeerView],
    now: int,
    why_none: str = "",
    own: Mapping[str, OwnModel] = MappingProxyType({}),
) -> Table:
    """Return the table of a swarm's peers at ``now`` (Unix milliseconds); ``why_none`` says why there may be none.

    ``own`` is of those peers, by key, whose models for themselves are known here.
    """
    told, cells = peer_columns(peers, own)
    columns = ["peer", *told, ">heard", ">out", ">in"]
    rows: list[list[Cell]] = [
        [
            PeerName(view.shown, " (banned)" if view.banned else ""),
            *cells_of,
            f"{max(0, now - view.heard) / 1000:.0f} s ago",
            human_bytes(view.bytes_out),
            human_bytes(view.bytes_in),
        ]
        for view, cells_of in zip(peers, cells, strict=True)
    ]
    result = fitting(shedding(title, columns, rows, ["version", "key", "rows", "role", "in", "out", "model", "heard"]))
    if not peers:
        result.caption = Text(why_none or "no peer has spoken yet: start one", "italic")
    return result


def short_cid(cid: str) -> str:
    """Return the end of a CID, for people: all of a kind begin with the same characters."""
    return cid[-8:]


def human_bytes(count: float) -> str:
    """Return a size in bytes with a binary unit."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    raise AssertionError


def human_time(milliseconds: int) -> str:
    """Return the local date and time of Unix milliseconds."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(milliseconds / 1000))


OK, MISSING, BROKEN = "ok", "missing", "broken"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was checked: ``state`` is OK, MISSING or BROKEN."""

    thing: str
    state: str
    detail: str
    remedy: str


def membership_of(manifest: Manifest) -> str:
    """Return the word for how others get into the swarm."""
    return manifest.membership.kind if manifest.membership else "open"


def membership_note(manifest: Manifest) -> dict[str, str]:
    """Return the field that says who may speak in the swarm, and what that means."""
    policy, kind = manifest.membership, membership_of(manifest)
    if policy is None:
        return {"membership": f"{kind}: everyone who reaches the swarm reads what is said, and has a full vote"}
    votes = f"{counted(policy.votes, 'vote')} of members"
    return {"membership": f"{kind}: in by {'an invite of a member' if kind == 'invite' else votes}, out by {votes}"}


def clipping_note(manifest: Manifest) -> dict[str, str]:
    """Return the field that says so where no row's own share of an update is bounded; none where it is."""
    if manifest.model.has_row_gradients:
        return {}
    why = "only Keras builds the model" if manifest.only_keras else "BatchNormalization mixes the rows of a batch"
    return {"clipping": f"of each update as a whole, no row's share by itself is bounded: {why}"}


def privacy_note(manifest: Manifest) -> dict[str, str]:
    """Return the field that says what updates may tell of rows."""
    policy = manifest.privacy.training
    if policy is None:
        return {"privacy": "no differential privacy: updates are clipped, not noisy, unless a peer's [privacy] says so"}
    unit, of = policy.protects, f"epsilon {policy.epsilon:g} at delta {policy.delta:g}"
    turns = f", one in {policy.partitions}" if policy.partitions > 1 else ""
    leaves = f"a row takes part in {counted(policy.releases, 'noisy step')}{turns}, then it leaves"
    features = manifest.features
    apart = ""
    if features:
        apart = "; windows do not overlap" if features.hop >= features.span else "; windows overlap"
        apart += f" (hop {features.hop} of {features.span} samples)"
    return {"privacy": f"updates tell of one {unit} more or less at most {of}: {leaves}{apart}"}


def columns_note(manifest: Manifest) -> dict[str, str]:
    """Return the field that tells people which columns their tables must have; none where features are defined."""
    if manifest.features:
        return {}
    return {"columns": shortly(manifest.columns) or "not named: all tables must have the same, in the same order"}


def floor_note(manifest: Manifest) -> dict[str, str]:
    """Return the field that tells people how long a peer learns for itself alone before its first update.

    Nothing where updates are differentially private: noise protects rows, however few.
    """
    if manifest.privacy.training:
        return {}
    rows = PrivacySection().rows
    if manifest.features is None:
        return {"updates": f"after {rows} distinct rows to train on"}
    seconds = (manifest.features.window + (rows - 1) * manifest.features.hop) / manifest.features.rate
    lasts = f"{seconds:.0f} seconds" if seconds < _MINUTES_FROM else f"{seconds / 60:.0f} minutes"
    return {"updates": f"after {rows} distinct windows to train on: at least {lasts} of readings"}
