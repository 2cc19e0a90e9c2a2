"""Recordings: raw samples of one sensor in a file, read and checked.

Tables (learnae.tables): the channels by their names, perhaps a label, perhaps times. ``.npz``: ``signal``
(n, channels), perhaps ``label`` (n,) and times (n,); ``.npy``: a signal alone. Labels are classes, by name or number,
or a regression's values; what says nothing, and -1, is unknown.
"""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learnae.basics.light_numpy import median, unique
from learnae.basics.memory import memory_left
from learnae.errors import DataError
from learnae.ports import Samples
from learnae.samples.columns import USUAL_COLUMNS, Columns
from learnae.samples.time_column import check_rate, seconds_of, time_column
from learnae.swarm.features import Features
from learnae.swarm.manifest import Manifest
from learnae.tables.arrays import Arrays, without_axis
from learnae.tables.labels import Classes
from learnae.tables.numbers import Numbers
from learnae.tables.opening import is_called_arrays, open_table
from learnae.tables.table import Floats, Kind, Table, Where
from learnae.tables.time_units import GAP_PERIODS, is_date
from learnae.tables.times import Times
from learnae.text import counted, shown

_log = logging.getLogger(__name__)

_PAUSE_SECONDS = 10.0  # between two of the shipped recordings, so that no window spans both
MAX_SIGNAL_BYTES = 4 << 30
_MIB = 1 << 20
_MOST_SHARE = 0.15  # of the memory that is free: samples are there several times while they are read
_MAX_CLASSES = 1 << 31  # labels are stored in 32 bits
_SIGNAL, _LABEL = "signal", "label"


@dataclass(frozen=True, slots=True)
class Recording:
    """``time`` (n,) seconds ascending, ``values`` (n, channels), ``label`` (n,) classes with -1 for unknown.

    ``quantity`` (n,) is the label as it was given, NaN for unknown: what a regression learns. ``is_dated`` tells
    whether times are Unix seconds: others count from the recording's beginning, or so.
    """

    time: NDArray[np.float64]
    values: NDArray[np.float32]
    label: NDArray[np.int64]
    quantity: NDArray[np.float64]
    is_dated: bool = False

    def quantity_at(self, time: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the quantity at these times of samples."""
        return self.quantity[np.searchsorted(self.time, time)]

    def split_by_time(self, holdout: float) -> Samples:
        """Mark the last ``holdout`` share of each label's samples, in time, as held out."""
        marked = np.zeros(len(self.time), np.bool_)
        for label in unique(self.label):
            rows = np.flatnonzero(self.label == label)
            marked[rows[round(len(rows) * (1 - holdout)) :]] = True
        return Samples(self.time, self.values, self.label, marked)

    def why_no_window(self, features: Features, by_label: bool = True) -> str:
        """Say why no window of ``features`` fits in; empty if one does. Windows of one label end where that changes."""
        count, span = len(self.time), features.span
        if count < span:
            return f"there are {counted(count, 'sample')}, and a window takes {span}"
        steps = np.diff(self.time)
        gaps = steps * features.rate > GAP_PERIODS
        if (longest := _longest(gaps)) < span:
            return (
                f"a gap ends each window: samples are mostly {median(steps):g} s apart, the swarm's "
                f"{1 / features.rate:g} s, and at most {longest} follow one another, where a window takes {span}"
            )
        if by_label and (longest := _longest(gaps | (np.diff(self.label) != 0))) < span:
            return f"each label holds for at most {counted(longest, 'sample')}, and a window takes {span}"
        return ""


def _longest(breaks: NDArray[np.bool_]) -> int:
    edges = np.flatnonzero(np.concatenate([[True], breaks, [True]]))
    return int(np.diff(edges).max())


def label_kind(manifest: Manifest) -> Kind:
    """Return how labels of a swarm are read: as its classes, or as numbers."""
    return Classes(manifest.classes, manifest.class_count) if manifest.class_count else Numbers()


def read_recording(
    path: Path, channels: Sequence[str], rate: float, columns: Columns = USUAL_COLUMNS, labels: Kind | None = None
) -> Recording:
    """Read a recording of these ``channels``; without times, samples are 1/``rate`` s apart.

    Without ``labels``, which say how to read them, none are read. Raises DataError.
    """
    if is_called_arrays(path):
        return recording_of_arrays(Arrays(path, _SIGNAL), len(channels), rate, columns, labels)
    table = open_table(path)
    if absent := [name for name in channels if name not in table.names]:
        raise DataError(
            f"{path} has no column {shown(absent)}",
            f"the swarm needs {', '.join(channels)}; it has {shown(table.names)}",
        )
    return recording_of_table(table, channels, rate, columns, labels)


def recording_of_table(
    table: Table, channels: Sequence[str], rate: float, columns: Columns, labels: Kind | None = None
) -> Recording:
    """Read the recording in a table that has the ``channels`` as columns. Raises DataError."""
    path, numbers, times = table.path, Numbers(), Times()
    time = time_column(table.head(), [*channels, columns.label], columns, rate, str(path))
    wanted: list[tuple[str, Kind]] = [(name, numbers) for name in channels]
    is_labelled = columns.label in table.names and columns.label not in channels
    others: list[tuple[str, Kind]] = [(columns.label, labels)] if labels is not None and is_labelled else []
    wanted += [*others, *([(time, times)] if time else [])]
    if left_out := [name for name in table.names if name not in (*dict(wanted), columns.label)]:
        _log.info("%s: columns that are left out: %s", path, shown(left_out))
    signal, rest, places, left = [], [], [], memory_left()
    most, size = math.inf if left is None else left * _MIB * _MOST_SHARE, 0
    for piece in table.pieces(wanted):
        size += piece.values.nbytes + piece.numbers.nbytes
        if size > most:  # of a packed file nothing tells before how large it is
            raise DataError(
                f"{path} has more than {size >> 20} MiB of samples, and {left:,.0f} MiB of memory are free",
                "give it in parts, or use a machine with more memory",
            )
        with np.errstate(over="ignore"):  # becomes infinite, and its window is skipped and counted
            signal.append(piece.values[:, : len(channels)].astype(np.float32))
        rest.append(piece.values[:, len(channels) :])
        places.append(piece.numbers)
    values = np.concatenate([np.empty((0, len(channels)), np.float32), *signal])
    columns_of = np.concatenate([np.empty((0, len(wanted) - len(channels))), *rest])
    where = Where(path, table.unit, np.concatenate([np.empty(0, np.int64), *places]), time)
    if numbers.complaint:
        _log.warning("%s", numbers.complaint)
    label = columns_of[:, 0] if others else None
    if labels is not None and others:
        _check_labels(labels, where, columns.label)
    seconds = seconds_of(columns_of[:, -1], times, columns.unit, rate, where) if time else None
    return make_recording(seconds, values, label, rate, where, times)


def recording_of_arrays(
    arrays: Arrays, channels: int, rate: float, columns: Columns, labels: Kind | None = None
) -> Recording:
    """Read the recording in the array ``signal`` and those beside it. Raises DataError."""
    path, headers = arrays.path, arrays.headers
    if _SIGNAL not in headers:
        raise DataError(f"{path} has no array {_SIGNAL!r}", f"it has {', '.join(sorted(headers)) or 'nothing'}")
    shape, kind = headers[_SIGNAL].shape, headers[_SIGNAL].dtype.kind
    if len(shape) != 2 or shape[1] != channels or kind not in "fiu":
        raise DataError(f"{path}: signal is {headers[_SIGNAL].dtype} {shape}", f"it must be numbers (n, {channels})")
    if (size := math.prod(shape) * headers[_SIGNAL].dtype.itemsize) > MAX_SIGNAL_BYTES:
        raise DataError(f"{path}: signal has {size} bytes", f"at most {MAX_SIGNAL_BYTES} are read")
    count = shape[0]
    name_of_label = columns.label if columns.label in headers else _LABEL
    beside = {
        name: without_axis(arrays.read(name))
        for name, header in headers.items()
        if name == name_of_label or header.shape in ((count,), (count, 1)) or name == columns.time
    }
    beside.pop(_SIGNAL, None)
    heads = {name: array[:50].tolist() if array.dtype.kind not in "Mm" else array[:50].astype(str).tolist()
             for name, array in beside.items()}  # fmt: skip
    heads.update({name: [] for name in headers if name not in heads and name != _SIGNAL})
    time = time_column(heads, [name_of_label], columns, rate, str(path))
    for name in (name for name in (time, name_of_label) if name in headers):
        if (array := beside.get(name)) is None or array.shape != (count,):
            raise DataError(f"{path}: {name} is {headers[name].dtype} {headers[name].shape}", f"it must be ({count},)")
    if left_out := [name for name in headers if name not in (_SIGNAL, name_of_label, time)]:
        _log.info("%s: arrays that are left out: %s", path, shown(left_out))
    numbers = range(1, count + 1)
    label = None
    if labels is not None and name_of_label in beside:
        label = labels.of_array(beside[name_of_label], Where(path, "row", numbers, name_of_label))
        _check_labels(labels, Where(path, "row", numbers, name_of_label), name_of_label)
    where, times = Where(path, "row", numbers, time), Times()
    seconds = seconds_of(times.of_array(beside[time], where), times, columns.unit, rate, where) if time else None
    return make_recording(seconds, arrays.read(_SIGNAL), label, rate, where, times)


def _check_labels(labels: Kind, where: Where, column: str) -> None:
    if isinstance(labels, Classes):
        labels.check(f"{where.path}, column {column!r}")
        if labels.complaint:
            _log.warning("%s: %s", where.path, labels.complaint)
    elif isinstance(labels, Numbers) and labels.complaint:
        _log.warning("%s", labels.complaint)


def make_recording(
    seconds: Floats | None,
    signal: NDArray[Any],
    label: Floats | None,
    rate: float,
    where: Where,
    times: Times | None = None,
) -> Recording:
    """Make a Recording of checked arrays; raises DataError for samples at another ``rate``.

    ``times`` has read the ``seconds``; without, they are no dates.
    """
    count = len(signal)
    said = times is not None and times.is_dated and not times.are_durations
    is_dated = said or (seconds is not None and count > 0 and bool(is_date(seconds).all()))
    if seconds is None:
        seconds = np.arange(count) / rate
    check_rate(seconds, rate, where)
    quantity = np.full(count, np.nan) if label is None else label
    is_class = np.isfinite(quantity) & (quantity == np.floor(quantity)) & (quantity >= 0) & (quantity < _MAX_CLASSES)
    whole = np.where(is_class, quantity, -1).astype(np.int64)
    with np.errstate(over="ignore"):  # becomes infinite, and its window is skipped and counted
        return Recording(seconds, signal.astype(np.float32, copy=False), whole, quantity, is_dated)


def shipped_recording(path: Path, person: int, rate: float = 50.0) -> Recording:
    """Read one person's samples of the shipped file (see its notice), recordings one after another."""
    file = Arrays(path)
    arrays = {name: file.read(name) for name in ("length", "subject", _SIGNAL, "exercise")}
    starts = np.concatenate([[0], np.cumsum(arrays["length"])])
    time, values, label = [], [], []
    clock = 0.0
    for index in np.flatnonzero(arrays["subject"] == person):
        rows = slice(starts[index], starts[index + 1])
        count = int(arrays["length"][index])
        time.append(clock + np.arange(count) / rate)
        values.append(arrays[_SIGNAL][rows])
        label.append(np.full(count, arrays["exercise"][index], np.float64))
        clock += count / rate + _PAUSE_SECONDS
    if not values:
        raise DataError(f"{path} has no person {person}", f"there are {sorted(set(arrays['subject'].tolist()))}")
    where = Where(path, "row", np.empty(0, np.int64), "time")
    return make_recording(np.concatenate(time), np.concatenate(values), np.concatenate(label), rate, where)
