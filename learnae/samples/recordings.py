"""Recordings: raw samples of one sensor in a file, read and checked.

``.npz``: ``signal`` (n, channels), optional ``label`` (n,) class numbers (-1 unknown) or a regression's values
(NaN unknown), optional ``time`` (n,) seconds, ascending. ``.csv``: a header, then optional ``time``, the channels,
optional ``label``, numbers or names of classes. Never unpickled.
"""

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from learnae.errors import DataError
from learnae.ports import Samples
from learnae.samples.windows import GAP_PERIODS
from learnae.system.npz import DamagedArchiveError, read_archive

_PAUSE_SECONDS = 10.0  # between two of the shipped recordings, so that no window spans both
_RATE_TOLERANCE = 0.1  # of a period: clocks of sensors are far better
MAX_FILE_BYTES = 4 << 30
_MAX_CLASSES = 1 << 31  # labels are stored in 32 bits


@dataclass(frozen=True, slots=True)
class Recording:
    """``time`` (n,) seconds ascending, ``values`` (n, channels), ``label`` (n,) classes with -1 for unknown.

    ``quantity`` (n,) is the label as it was given, NaN for unknown: what a regression learns.
    """

    time: NDArray[np.float64]
    values: NDArray[np.float32]
    label: NDArray[np.int64]
    quantity: NDArray[np.float64]

    def quantity_at(self, time: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the quantity at these times of samples."""
        return self.quantity[np.searchsorted(self.time, time)]

    def split_by_time(self, holdout: float) -> Samples:
        """Mark the last ``holdout`` share of each label's samples, in time, as held out."""
        marked = np.zeros(len(self.time), np.bool_)
        for label in np.unique(self.label):
            rows = np.flatnonzero(self.label == label)
            marked[rows[round(len(rows) * (1 - holdout)) :]] = True
        return Samples(self.time, self.values, self.label, marked)


def check_readable(path: Path) -> None:
    """Raise DataError for a file that is not there, is a directory or may not be read."""
    try:
        path.open("rb").close()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}", "check the path and its permissions") from error


def read_arrays(path: Path, limit: int = MAX_FILE_BYTES) -> dict[str, NDArray[Any]]:
    """Read all arrays of an .npz file of at most ``limit`` bytes; raises DataError."""
    check_readable(path)
    try:
        if path.stat().st_size > limit:
            raise DataError(f"{path} has {path.stat().st_size} bytes", f"at most {limit} are read")
        return read_archive(path)
    except (OSError, DamagedArchiveError) as error:
        raise DataError(f"cannot read {path}: {error}", "give an .npz file without pickled objects") from error


def read_table(path: Path, classes: Sequence[str] = ()) -> dict[str, NDArray[np.float64]]:
    """Read the columns of a CSV file with a header; fields that are no numbers become NaN. Raises DataError.

    In the column ``label``, names of ``classes`` become their numbers.
    """
    check_readable(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return _read_columns(path, file, numbers_of(classes))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"cannot read {path}: {error}", "give a CSV file in UTF-8 with a header") from error


def _read_columns(path: Path, file: IO[str], names: Mapping[str, float]) -> dict[str, NDArray[np.float64]]:
    rows = csv.reader(file)
    header = [name.strip() for name in next(rows, [])]
    if not header or len(set(header)) != len(header) or all(number(name) == number(name) for name in header):
        raise DataError(f"{path} has no usable header", "name every column once in the first line")
    values = []
    for row in rows:
        if len(row) != len(header):
            raise DataError(f"{path}, line {rows.line_num}: {len(row)} fields", f"the header has {len(header)}")
        values.append(
            [
                class_number(field, names) if column == "label" else number(field)
                for column, field in zip(header, row, strict=True)
            ]
        )
    table = np.array(values, np.float64).reshape(-1, len(header))
    return {name: table[:, index] for index, name in enumerate(header)}


def numbers_of(classes: Sequence[str]) -> dict[str, float]:
    """Return the number of each class, by name."""
    return {name: float(index) for index, name in enumerate(classes)}


def class_number(text: str, names: Mapping[str, float]) -> float:
    """Return the number of the class that ``text`` is the name of, or the number that it is; else NaN."""
    found = names.get(text.strip())
    return number(text) if found is None else found


def number(text: str) -> float:
    """Return the number in a field; NaN if it is none: 1_000 is Python, and none."""
    try:
        return float("nan") if "_" in text else float(text)
    except ValueError:
        return float("nan")


def read_recording(path: Path, channels: Iterable[str], rate: float, classes: Sequence[str] = ()) -> Recording:
    """Read a recording of these ``channels``; without times, samples are 1/``rate`` s apart.

    Labels may be names of ``classes`` in a table.
    """
    names = list(channels)
    if path.suffix == ".csv":
        table = read_table(path, classes)
        absent = [name for name in names if name not in table]
        if absent:
            raise DataError(f"{path} has no column {', '.join(absent)}", f"the swarm needs {', '.join(names)}")
        columns: Mapping[str, NDArray[Any]] = {**table, "signal": np.stack([table[name] for name in names], axis=1)}
    else:
        columns = read_arrays(path)
    return check_recording(columns, len(names), rate, str(path))


def check_recording(columns: Mapping[str, NDArray[Any]], channels: int, rate: float, origin: str) -> Recording:
    """Make a Recording of checked arrays; raises DataError that names ``origin``."""
    if "signal" not in columns:
        raise DataError(f"{origin} has no array 'signal'", f"it has {', '.join(sorted(columns)) or 'nothing'}")
    signal = columns["signal"]
    if signal.ndim != 2 or signal.shape[1] != channels or signal.dtype.kind not in "fiu":
        raise DataError(f"{origin}: signal is {signal.dtype} {signal.shape}", f"it must be numbers (n, {channels})")
    count = len(signal)
    label = columns.get("label", np.full(count, np.nan))
    time = columns.get("time", np.arange(count) / rate)
    for name, array in (("label", label), ("time", time)):
        if array.shape != (count,) or array.dtype.kind not in "fiu":
            raise DataError(f"{origin}: {name} is {array.dtype} {array.shape}", f"it must be numbers ({count},)")
    seconds = time.astype(np.float64)
    if not np.isfinite(seconds).all() or (np.diff(seconds) <= 0).any():
        raise DataError(f"{origin}: times do not ascend", "sort the samples and remove repeated ones")
    steps = np.diff(seconds)
    steps = steps[steps * rate <= GAP_PERIODS]
    step = float(np.median(steps)) if len(steps) else 1 / rate
    if abs(step * rate - 1) > _RATE_TOLERANCE:  # a window would be of another length, no feature would mean the same
        remedy = f"the swarm's are {1 / rate:g} s apart: resample them"
        raise DataError(f"{origin}: samples are {step:g} s apart", remedy)
    is_class = np.isfinite(label) & (label == np.floor(label)) & (label >= 0) & (label < _MAX_CLASSES)
    whole = np.where(is_class, label, -1).astype(np.int64)
    with np.errstate(over="ignore"):  # becomes infinite, and its window is skipped and counted
        return Recording(seconds, signal.astype(np.float32), whole, label.astype(np.float64, copy=False))


def shipped_recording(path: Path, person: int, rate: float = 50.0) -> Recording:
    """Read one person's samples of the shipped file (see its notice), recordings one after another."""
    arrays = read_arrays(path)
    starts = np.concatenate([[0], np.cumsum(arrays["length"])])
    time, values, label = [], [], []
    clock = 0.0
    for index in np.flatnonzero(arrays["subject"] == person):
        rows = slice(starts[index], starts[index + 1])
        count = int(arrays["length"][index])
        time.append(clock + np.arange(count) / rate)
        values.append(arrays["signal"][rows])
        label.append(np.full(count, arrays["exercise"][index], np.int64))
        clock += count / rate + _PAUSE_SECONDS
    if not values:
        raise DataError(f"{path} has no person {person}", f"there are {sorted(set(arrays['subject'].tolist()))}")
    parts = {"time": time, "signal": values, "label": label}
    columns = {name: np.concatenate(arrays) for name, arrays in parts.items()}
    return check_recording(columns, columns["signal"].shape[1], rate, str(path))
