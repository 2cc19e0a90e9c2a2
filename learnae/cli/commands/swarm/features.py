"""``learnae features``: measures a recording in a table, and writes the features that a swarm could make of it."""

import argparse
import json
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learnae.cli.commands.swarm.data_look import Counted
from learnae.cli.output import console, print_json, table
from learnae.cli.progress import reading
from learnae.errors import ConfigurationError, DataError
from learnae.ipld.fields import Fields
from learnae.ports import Samples
from learnae.samples.columns import Columns
from learnae.samples.time_column import seconds_of, time_column
from learnae.samples.windows import Windower
from learnae.swarm.features import KIND, MAX_CHANNELS, RAW_KIND, Features, RawWindow, WindowStatistics, read_features
from learnae.system.atomic_files import check_target, write_atomic
from learnae.tables.forms import is_number
from learnae.tables.numbers import WITH_COMMA, Numbers, is_missing
from learnae.tables.opening import open_table
from learnae.tables.table import Kind, Table, Where
from learnae.tables.time_units import AUTO, GAP_PERIODS, UNITS
from learnae.tables.times import Times
from learnae.text import counted, shortly

_Floats = NDArray[np.float64]
_CHOICES = "name one with --time C; if there is none, --time false and --rate HZ"
_MOST_ROWS = 1_000_000  # that are measured
_SECONDS = 2.0  # of a window, unless its samples are given
_DIGITS = 2  # of a scale: everybody who sees the swarm sees it
_MOST_WINDOWS = 20_000  # that constants are measured from, evenly spread


def features(options: argparse.Namespace) -> int:
    """Measure a table, say what it holds, and write features that fit it."""
    if options.out:
        check_target(options.out, [".json"])
    source = open_table(options.file)
    names = source.names
    channels = [name.strip() for name in options.channels.split(",")] if options.channels else []
    for name in channels:
        if name not in names:
            raise DataError(f"{options.file} has no column {name!r}", f"it has {shortly(names)}")
    heads, columns = source.head(), Columns(options.label, options.time or AUTO, options.time_unit)
    time = time_column(heads, [*channels, options.label], columns, options.rate, str(options.file), _CHOICES)
    wanted = channels or [name for name in names if name not in (time, options.label) and _may_be_numbers(heads[name])]
    values, seconds, labels = _read(source, wanted, time, options)
    if not channels:  # what holds no numbers is no channel
        kept = [index for index in range(len(wanted)) if np.isfinite(values[:, index]).any()]
        wanted, values = [wanted[index] for index in kept], values[:, kept]
    if not wanted or len(wanted) > MAX_CHANNELS:
        raise ConfigurationError(
            f"{counted(len(wanted), 'column')} of {options.file} hold numbers",
            f"name the channels, at most {MAX_CHANNELS}: --channels A,B,…",
        )
    seconds, rate = _at_rate(options.file, seconds, options.rate, len(values))
    found = _features(options, tuple(wanted), values, seconds, rate)
    facts = _facts(wanted, values, seconds, rate, labels)
    text = json.dumps(found.to_fields(), indent=1, ensure_ascii=False)
    if options.out:
        write_atomic(options.out, f"{text}\n".encode())
    if options.json:
        print_json({**facts, "features": found.to_fields(), "file": str(options.out) if options.out else None})
        return 0
    _print(options.file, facts)
    if options.out:
        print(f"\nwritten to {options.out}; everybody who sees the swarm sees these numbers")
        print(f"next: learnae swarm create --model MODEL.json --loss LOSS --features {options.out}")
        print(f"the model takes {' x '.join(map(str, found.shape))}")
    else:
        print(text)
    return 0


def _may_be_numbers(fields: Sequence[object]) -> bool:
    """Return False for a column whose first fields say something, and no number."""
    said = [str(field) for field in fields if field is not None and not is_missing(str(field))]
    return not said or any(
        is_number(text) or WITH_COMMA.fullmatch(text) or text.lower() in ("true", "false") for text in said
    )


def _read(
    source: Table, channels: Sequence[str], time: str, options: argparse.Namespace
) -> tuple[_Floats, _Floats | None, Counter[str]]:
    """Return the channels (n, channels) and seconds (n,) in a table, and how often each label is there."""
    times, labels = Times(), Counted(Numbers())
    wanted: list[tuple[str, Kind]] = [(name, Numbers()) for name in channels]
    if time:
        wanted.append((time, times))
    if options.label in source.names and options.label not in (*channels, time):
        wanted.append((options.label, labels))
    read, rows, places = [], 0, []
    for piece in reading(source.path.name, source.pieces(wanted)):
        read.append(piece.values)
        places.append(piece.numbers)
        rows += len(piece.values)
        if rows >= _MOST_ROWS:
            break
    if rows < 2:
        raise DataError(f"{source.path} has {counted(rows, 'row')}", "give a recording of some length")
    values = np.concatenate(read)
    seconds = None
    if time:
        where = Where(source.path, source.unit, np.concatenate(places), time)
        seconds = seconds_of(values[:, len(channels)], times, options.time_unit, options.rate, where)
    return values[:, : len(channels)], seconds, labels.counts


def _at_rate(path: Path, seconds: _Floats | None, rate: float | None, rows: int) -> tuple[_Floats, float]:
    """Return the time of each row and the rate in Hz, as given or as measured; raises DataError."""
    if seconds is not None:
        return seconds, rate or float(f"{1 / np.median(np.diff(seconds)):.3g}")
    if rate is None:
        raise DataError(f"{path} has no column of times", "name it with --time, or give --rate HZ")
    return np.arange(rows) / rate, rate


def _features(
    options: argparse.Namespace, channels: tuple[str, ...], values: _Floats, seconds: _Floats, rate: float
) -> Features:
    """Return features whose constants bring what they make of this recording near one."""
    window = options.window or max(2, round(_SECONDS * rate))
    hop = options.hop or max(1, window // 2)
    kind = RawWindow if options.kind == RAW_KIND else WindowStatistics
    count = kind.constants * len(channels)
    plain = _checked(kind(channels, rate, window, hop, (0.0,) * count, (1.0,) * count, options.ahead))
    samples = Samples(seconds, values.astype(np.float32), np.zeros(len(values), np.int64), np.zeros(len(values), bool))
    made = Windower(plain).push(samples).values
    made = made[:: max(1, len(made) // _MOST_WINDOWS)]
    rows = plain.extract(made).reshape(-1, count).astype(np.float64)
    rows = rows[np.isfinite(rows).all(axis=1)]
    if not len(rows):
        raise DataError(
            f"{options.file} holds no window of {counted(plain.span, 'sample')} at {rate:g} Hz without a gap",
            "give a smaller --window, or the --rate of its samples",
        )
    deviation = rows.std(axis=0)
    scale = [_rounded(value) or 1.0 for value in deviation]
    shift = [_near(value, of) for value, of in zip(rows.mean(axis=0), scale, strict=True)]
    return _checked(kind(channels, rate, window, hop, tuple(shift), tuple(scale), options.ahead))


def _checked(features: Features) -> Features:
    """Return ``features``; raises DataError if they are not within a manifest's bounds."""
    return read_features(Fields(features.to_fields(), "features", DataError))


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")


def _near(value: float, scale: float) -> float:
    """Round to a tenth of the power of ten in ``scale``: no digit more than a row needs to be about zero."""
    return round(value, 1 - math.floor(math.log10(scale)))


def _facts(channels: list[str], values: _Floats, seconds: _Floats, rate: float, labels: Counter[str]) -> dict[str, Any]:
    steps = np.diff(seconds)
    missing = (~np.isfinite(values)).sum(axis=0)
    finite = np.where(np.isfinite(values), values, np.nan)
    with np.errstate(all="ignore"):
        statistics = [np.nanmin(finite, 0), np.nanmax(finite, 0), np.nanmean(finite, 0), np.nanstd(finite, 0)]
    keys = ("minimum", "maximum", "mean", "deviation")
    ranges = {
        name: {
            **{key: float(of[index]) for key, of in zip(keys, statistics, strict=True)},
            "missing": int(missing[index]),
        }
        for index, name in enumerate(channels)
    }
    return {
        "rows": len(values),
        "seconds": float(seconds[-1] - seconds[0]),
        "rate": rate,
        "gaps": int((steps * rate > GAP_PERIODS).sum()),
        "classes": dict(labels),
        "channels": ranges,
    }


def _print(path: Path, facts: dict[str, Any]) -> None:
    classes = [f"{name} {count:,}" for name, count in sorted(facts["classes"].items())]
    title = f"{path}: {facts['rows']:,} rows at {facts['rate']:g} Hz, {counted(facts['gaps'], 'gap')}"
    title += f"; {counted(len(classes), 'class', 'classes')}: {shortly(classes)}" if classes else ""
    keys = ("minimum", "maximum", "mean", "deviation")
    rows = [[name, *(f"{of[key]:.5g}" for key in keys), f"{of['missing']:,}"] for name, of in facts["channels"].items()]
    console.print(table(title, ["channel", *(f">{key}" for key in keys), ">missing"], rows))


def add_parser(command: argparse.ArgumentParser) -> None:
    """Add the command's arguments but its file."""
    command.add_argument("--channels", metavar="A,B,...", help="columns (default: all that hold numbers)")
    command.add_argument("--time", metavar="C", help="the column of times, or false (default: the one that looks so)")
    command.add_argument("--time-unit", choices=UNITS, default="", help="of its numbers (default: as it says)")
    command.add_argument("--label", default="label", metavar="C", help="the column of labels (default: label)")
    command.add_argument("--rate", type=float, metavar="HZ", help="of samples (default: as measured)")
    command.add_argument("--kind", choices=(KIND, RAW_KIND), default=KIND, help=f"default: {KIND}")
    for flag, explained in (
        ("--window", f"samples of a window (default: {_SECONDS:g} s)"),
        ("--hop", "samples from one window to the next (default: half a window)"),
    ):
        command.add_argument(flag, type=int, metavar="N", help=explained)
    command.add_argument("--ahead", type=int, default=0, metavar="N", help="samples to forecast")
