"""Checked rows on disk as plain arrays, mapped into memory: a file is parsed once, not at every start.

::

    HOME/cache/<file>-<version>-<options>/     hashes of path; size and mtime; what the swarm needs
        train.rows  train.targets  holdout.rows  holdout.targets     little-endian, row after row
        counts.json

A directory appears whole or not at all: it is written under another name and renamed. Files that
are parsed in a moment leave nothing behind: their rows are mapped from files already deleted.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from learnae.errors import DataError
from learnae.files import TEMPORARY, write_atomic
from learnae.home import home, make_directory
from learnae.models.dataset import Dataset
from trainer_node.datasets.chunks import Source
from trainer_node.datasets.parts import Part, map_part
from trainer_node.datasets.progress import with_progress
from trainer_node.datasets.split import Split

_FORMAT = 1
_COUNTS = "counts.json"
_SMALL_BYTES = 1 << 24  # parsed in seconds
_LEFTOVER_SECONDS = 86_400.0  # what a killed process has begun, and nobody goes on with


@dataclass(frozen=True, slots=True)
class Counts:
    """Rows of each kind in the cache, and why others are not in it."""

    train: int
    holdout: int
    skipped: int
    worst: str  # the column with most fields that are no numbers, if any and if columns have names


def fill(dataset: Dataset, source: Source, options: dict[str, Any], split: Split) -> Counts:
    """Let ``dataset`` adopt the rows of ``source``, through the cache; ``options`` is all that decides what is kept.

    Raises DataError.
    """
    before = source.path.stat()
    root = home() / "cache"
    try:
        if before.st_size < _SMALL_BYTES:
            with TemporaryDirectory(prefix="learnae-") as temporary:
                _write(Path(temporary), dataset, source, split)
                return _adopt(dataset, Path(temporary))
        directory = root / _name(source.path, before, options)
        if not (directory / _COUNTS).exists():
            _build(directory, dataset, source, split, before)
        return _adopt(dataset, directory)
    except OSError as error:
        raise DataError(f"cannot keep the rows of {source.path}: {error}", f"make room, or see to {root}") from error


def _build(directory: Path, dataset: Dataset, source: Source, split: Split, before: os.stat_result) -> None:
    root = directory.parent
    make_directory(root, mode=0o700)
    _remove_stale(directory)
    temporary = _temporary(root)
    temporary.mkdir(mode=0o700)
    try:
        _write(temporary, dataset, source, split)
        after = source.path.stat()
        if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
            raise DataError(f"{source.path} has changed while it was read", "start again once it is complete")
        _publish(temporary, directory)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _name(path: Path, stat: os.stat_result, options: dict[str, Any]) -> str:
    file = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:16]
    version = hashlib.sha256(f"{stat.st_size} {stat.st_mtime_ns}".encode()).hexdigest()[:16]
    kept = json.dumps({**options, "format": _FORMAT, "order": sys.byteorder}, sort_keys=True)
    return f"{file}-{version}-{hashlib.sha256(kept.encode()).hexdigest()[:16]}"


def _remove_stale(directory: Path) -> None:
    """Earlier versions of the same file go, and what killed processes have left."""
    file, version, _ = directory.name.split("-")
    for entry in directory.parent.iterdir():
        parts = entry.name.split("-")
        if len(parts) == 3 and parts[0] == file and parts[1] != version:
            with suppress(OSError):  # another process is faster, or still has it open
                entry = entry.rename(_temporary(directory.parent))  # noqa: PLW2901 - so that nobody finds half of it
            shutil.rmtree(entry, ignore_errors=True)
        elif entry.name.startswith(TEMPORARY) and _age(entry) > _LEFTOVER_SECONDS:
            shutil.rmtree(entry, ignore_errors=True)


def _temporary(root: Path) -> Path:
    return root / f"{TEMPORARY}{os.getpid()}-{secrets.token_hex(4)}"


def _age(path: Path) -> float:
    """Seconds since it was changed; 0 for what has just been renamed or removed by its owner."""
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _publish(temporary: Path, directory: Path) -> None:
    try:
        temporary.rename(directory)
    except OSError:
        if not (directory / _COUNTS).exists():  # another process was faster: its rows are the same
            raise


def _write(directory: Path, dataset: Dataset, source: Source, split: Split) -> None:
    """First everything usable into one part, as only then classes are counted; then apart."""
    skipped, bad = dataset.skipped, np.zeros(max(len(source.names), 1), np.int64)
    like = dataset.train
    with Part(directory, "raw", like) as raw, Part(directory, "train", like) as train, \
            Part(directory, "holdout", like) as holdout:  # fmt: skip
        for chunk in with_progress(source.path, source.chunks()):
            if source.names:
                bad[: chunk.rows.shape[1]] += (~np.isfinite(chunk.rows)).sum(axis=0)
                if len(bad) > chunk.rows.shape[1]:
                    bad[-1] += np.count_nonzero(~np.isfinite(chunk.targets))
            rows, targets = dataset.usable(chunk.rows, chunk.targets)
            if chunk.held_out is None:
                split.count(targets)
                raw.append(rows, targets)
            else:
                (holdout if chunk.held_out else train).append(rows, targets)
        for rows, targets in raw.pieces():
            held_out = split.held_out(targets)
            train.append(rows[~held_out], targets[~held_out])
            holdout.append(rows[held_out], targets[held_out])
        raw.delete()
        train.sync()
        holdout.sync()
        worst = source.names[int(bad.argmax())] if bad.any() else ""
        counts = Counts(len(train), len(holdout), dataset.skipped - skipped, worst)
    dataset.skipped = skipped
    write_atomic(directory / _COUNTS, json.dumps(asdict(counts)).encode())


def _adopt(dataset: Dataset, directory: Path) -> Counts:
    counts = Counts(**json.loads((directory / _COUNTS).read_text()))
    dataset.adopt(*map_part(directory, "train", counts.train, dataset.train))
    dataset.adopt(*map_part(directory, "holdout", counts.holdout, dataset.train), holdout=True)
    dataset.skipped += counts.skipped
    return counts
