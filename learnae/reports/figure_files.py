"""A swarm's figures over time as files of other programs: a table, or runs of TensorBoard."""

import csv
import io
import re
import time
from collections.abc import Iterable
from pathlib import Path

from learnae.adapters.local.figures_file import FIGURES
from learnae.basics.peer_names import harmless
from learnae.reports.event_file import FILE_NAME, Event, event_file
from learnae.reports.history import PeerHistory
from learnae.system.atomic_files import write_atomic, writing

# what a spreadsheet computes at the begin of a field, also in the wide form (OWASP, CSV injection)
_FORMULA = tuple("=+-@\uff1d\uff0b\uff0d\uff20")
_MOST_LETTERS = 40  # of a name, in that of a directory
_KEY_LETTERS = 8


def write_csv(path: Path, histories: Iterable[PeerHistory]) -> int:
    """Write a row a point, peer by peer; return how many. Raises NotWrittenError.

    Times are UTC; a field is empty where nothing is known. The file is its owner's alone: it tells of own rows.
    """
    table = io.StringIO()
    rows, count = csv.writer(table, lineterminator="\n"), 0
    rows.writerow(["time", "peer", "key", *FIGURES])
    for history in histories:
        name = cell(history.shown)
        for point in history.points:
            values = [_number(point.values[figure]) if figure in point.values else "" for figure in FIGURES]
            rows.writerow([_date(point.time), name, history.peer, *values])
            count += 1
    write_atomic(path, table.getvalue().encode(), mode=0o600)
    return count


def write_tensorboard(directory: Path, histories: Iterable[PeerHistory]) -> int:
    """Write a run for each peer, in place of what an earlier call wrote; return how many points.

    Raises NotWrittenError.
    """
    count = 0
    for history in histories:
        run = directory / run_name(history)
        with writing(run):
            run.mkdir(mode=0o700, parents=True, exist_ok=True)
        events = [
            Event(
                point.time / 1000,
                int(point.values.get("steps", 0)),
                {name: value for name, value in point.values.items() if name != "steps"},
            )
            for point in history.points
        ]
        write_atomic(run / FILE_NAME, event_file(events), mode=0o600)
        count += len(events)
    return count


def cell(text: str) -> str:
    """Return a text of another machine as a field that no spreadsheet computes.

    >>> cell("pump"), cell("=cmd|' /C calc'!A0"), cell(" -1")
    ('pump', "'=cmd|' /C calc'!A0", "'-1")
    """
    text = harmless(text)
    return f"'{text}" if text.startswith(_FORMULA) else text


def run_name(history: PeerHistory) -> str:
    """Return the name of a peer's directory: its name in letters of any file system, and the begin of its key.

    >>> run_name(PeerHistory("abcdefghij", "../Ann's pump", "", []))
    'Ann_s_pump-abcdefgh'
    """
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", history.shown).strip("._-")[:_MOST_LETTERS]
    key = re.sub(r"[^a-z0-9]", "", history.peer)[:_KEY_LETTERS]
    return f"{name or 'peer'}-{key}"


def _number(value: float) -> str:
    return str(int(value)) if value % 1 == 0 and abs(value) < 1 << 53 else repr(value)


def _date(milliseconds: int) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{rest:03d}Z"
