"""Checked rows on disk as plain arrays, mapped into memory: a file is parsed once, not at every start.

::

    HOME/cache/<file>-<version>-<options>/     hashes of path; size and mtime; what the swarm needs
        train.rows  train.targets  holdout.rows  holdout.targets     little-endian, row after row
        counts.json

A directory appears whole or not at all: it is written under another name and renamed.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from learnae.errors import DataError
from learnae.files import TEMPORARY
from learnae.home import home
from learnae.models.dataset import Dataset, Rows
from trainer_node.datasets.chunks import CHUNK_BYTES, Array, Chunk, Source
from trainer_node.datasets.progress import with_progress
from trainer_node.datasets.split import Split

_FORMAT = 1
_COUNTS = "counts.json"
_LEFTOVER_SECONDS = 86_400.0  # what a killed process has begun, and nobody goes on with


@dataclass(frozen=True, slots=True)
class Counts:
    """Rows of each kind in the cache, and why others are not in it."""

    train: int
    holdout: int
    skipped: int
    worst: str  # the column with most fields that are no numbers, if any


def fill(dataset: Dataset, source: Source, options: dict[str, Any], split: Split) -> Counts:
    """Let ``dataset`` adopt the rows of ``source``, through the cache; ``options`` is all that decides what is kept.

    Raises DataError.
    """
    before = source.path.stat()
    root = home() / "cache"
    directory = root / _name(source.path, before, options)
    try:
        if not (directory / _COUNTS).exists():
            root.mkdir(parents=True, exist_ok=True, mode=0o700)
            _remove_stale(root, directory)
            temporary = root / f"{TEMPORARY}{os.getpid()}-{secrets.token_hex(4)}"
            temporary.mkdir(mode=0o700)
            try:
                _write(temporary, dataset, source, split)
                after = source.path.stat()
                if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
                    raise DataError(f"{source.path} has changed while it was read", "start again once it is complete")
                _publish(temporary, directory)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
        return _adopt(dataset, directory)
    except OSError as error:
        raise DataError(
            f"cannot keep the rows in {root}: {error.strerror}", "make room, or set LEARNAE_HOME"
        ) from error


def _name(path: Path, stat: os.stat_result, options: dict[str, Any]) -> str:
    file = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:16]
    version = hashlib.sha256(f"{stat.st_size} {stat.st_mtime_ns}".encode()).hexdigest()[:16]
    kept = json.dumps({**options, "format": _FORMAT, "order": sys.byteorder}, sort_keys=True)
    return f"{file}-{version}-{hashlib.sha256(kept.encode()).hexdigest()[:16]}"


def _remove_stale(root: Path, directory: Path) -> None:
    """Earlier versions of the same file go, and what killed processes have left."""
    file, version, _ = directory.name.split("-")
    for entry in root.iterdir():
        parts = entry.name.split("-")
        left = entry.name.startswith(TEMPORARY) and entry.stat().st_mtime < time.time() - _LEFTOVER_SECONDS
        if left or (len(parts) == 3 and parts[0] == file and parts[1] != version):
            shutil.rmtree(entry, ignore_errors=True)


def _publish(temporary: Path, directory: Path) -> None:
    try:
        temporary.rename(directory)
    except OSError:
        if not (directory / _COUNTS).exists():  # another process was faster: its rows are the same
            raise


# -- writing: first everything usable, in one file, then apart


def _write(directory: Path, dataset: Dataset, source: Source, split: Split) -> None:
    files = {name: (directory / name).open("w+b") for name in
             ("raw.rows", "raw.targets", "train.rows", "train.targets", "holdout.rows", "holdout.targets")}  # fmt: skip
    try:
        before, bad = dataset.skipped, np.zeros(0, np.int64)
        for chunk in with_progress(source.path, source.chunks()):
            bad = _count_bad(bad, chunk.rows)
            kept = dataset.usable(chunk.rows, chunk.targets)
            if chunk.held_out is None:
                split.count(kept[1])
                _append(files, "raw", *kept)
            else:
                _append(files, "holdout" if chunk.held_out else "train", *kept)
        for rows, targets in _read(files["raw.rows"], files["raw.targets"], dataset.train):
            held_out = split.held_out(targets)
            _append(files, "train", rows[~held_out], targets[~held_out])
            _append(files, "holdout", rows[held_out], targets[held_out])
        counts = {
            "train": _length(files["train.rows"], dataset.train.rows),
            "holdout": _length(files["holdout.rows"], dataset.train.rows),
            "skipped": dataset.skipped - before,
            "worst": source.names[int(bad.argmax())] if source.names and bad.any() else "",
        }
        dataset.skipped = before
        for file in files.values():
            file.flush()
            os.fsync(file.fileno())
    finally:
        for file in files.values():
            file.close()
    (directory / "raw.rows").unlink()
    (directory / "raw.targets").unlink()
    (directory / _COUNTS).write_text(json.dumps(counts))


def _count_bad(bad: Array, rows: Array) -> Array:
    now = (~np.isfinite(rows.reshape(len(rows), -1))).sum(axis=0)
    return now if not len(bad) else bad + now if len(now) == len(bad) else bad


def _append(files: dict[str, IO[bytes]], name: str, rows: Array, targets: Array) -> None:
    files[f"{name}.rows"].write(np.ascontiguousarray(rows).data)
    files[f"{name}.targets"].write(np.ascontiguousarray(targets).data)


def _read(rows: IO[bytes], targets: IO[bytes], like: Rows) -> Iterator[tuple[Array, Array]]:
    """What was written to two files, in pieces: through read(), as mapped pages would count as memory in use."""
    rows.seek(0)
    targets.seek(0)
    count = max(CHUNK_BYTES // _row_bytes(like.rows), 1)
    while data := rows.read(count * _row_bytes(like.rows)):
        part = np.frombuffer(data, like.rows.dtype).reshape(-1, *like.rows.shape[1:])
        target = np.frombuffer(targets.read(len(part) * _row_bytes(like.targets)), like.targets.dtype)
        yield part, target.reshape(-1, *like.targets.shape[1:])


def _row_bytes(array: Array) -> int:
    return int(np.prod(array.shape[1:], dtype=np.int64)) * array.dtype.itemsize


def _length(file: IO[bytes], like: Array) -> int:
    return file.seek(0, os.SEEK_END) // _row_bytes(like)


# -- reading


def _adopt(dataset: Dataset, directory: Path) -> Counts:
    counts = Counts(**json.loads((directory / _COUNTS).read_text()))
    for name, held_out in (("train", False), ("holdout", True)):
        rows = _map(directory / f"{name}.rows", getattr(counts, name), dataset.train.rows)
        targets = _map(directory / f"{name}.targets", getattr(counts, name), dataset.train.targets)
        dataset.adopt(rows, targets, held_out)
    dataset.skipped += counts.skipped
    return counts


def _map(path: Path, count: int, like: Array) -> Array:
    shape = (count, *like.shape[1:])
    if path.stat().st_size != count * _row_bytes(like):
        raise DataError(f"{path} is damaged", f"delete {path.parent}")
    if not count:
        return np.empty(shape, like.dtype)
    return np.asarray(np.memmap(path, like.dtype, "r", shape=shape))
