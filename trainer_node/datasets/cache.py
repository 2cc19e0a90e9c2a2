"""Checked rows on disk as plain arrays, mapped into memory: a file is parsed once, not at every start.

::

    HOME/cache/<file>-<version>-<options>/     hashes of path; size and times; what the swarm needs
        train.rows  train.targets  holdout.rows  holdout.targets     little-endian, row after row
        counts.json

A directory appears whole or not at all: it is written under another name and renamed. A damaged one is
written anew. Files that are parsed in a moment leave nothing behind: their rows are mapped
from files already deleted. The change time (ctime) belongs to a version, beside size and modification time: a copy
that keeps times cannot bring it along. So ``chmod`` costs one more reading.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import secrets
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Any

from learnae.errors import DataError
from learnae.models.dataset import Dataset
from learnae.samples.files.quality import DataQuality
from learnae.samples.files.source import Chunk, Source
from learnae.system.atomic_files import TEMPORARY, write_atomic
from learnae.system.paths import home
from learnae.system.private_files import make_directory
from trainer_node.datasets.memory_map import Part, map_part
from trainer_node.datasets.split import Split

_log = logging.getLogger(__name__)

_FORMAT = 3
_COUNTS = "counts.json"
_LEAST_FREE_BYTES = 1 << 28  # of the disk: a packed file may hold any number of rows
_LEFTOVER_SECONDS = 86_400.0  # after which a directory that is not finished belongs to a killed process


@dataclass(frozen=True, slots=True)
class Counts:
    """Rows of each kind in the cache, and why others are not in it."""

    train: int
    holdout: int
    skipped: int
    worst: str  # where most are, and what was found
    rounded: str  # see DataQuality

    @classmethod
    def from_json(cls, text: str) -> Counts:
        """Read counts; raises ValueError for what this version has not written."""
        read = json.loads(text)
        if not isinstance(read, dict) or {name: type(value) for name, value in read.items()} != _TYPES:
            raise ValueError("no counts")
        return cls(**read)


_TYPES = {"train": int, "holdout": int, "skipped": int, "worst": str, "rounded": str}


def fill(dataset: Dataset, source: Source, options: dict[str, Any], split: Split, small_bytes: int) -> Counts:
    """Let ``dataset`` adopt the rows of ``source``, through the cache; ``options`` is all that decides what is kept.

    A file of fewer than ``small_bytes`` is parsed each time. Raises DataError.
    """
    root, where = home() / "cache", gettempdir()
    try:
        if source.path.stat().st_size < small_bytes:
            with TemporaryDirectory(prefix="learnae-") as temporary:
                _write(Path(temporary), dataset, source, split)
                return _adopt(dataset, Path(temporary))
        where = str(root)
        directory = root / _name(source.path, options)
        if (directory / _COUNTS).exists():
            try:
                return _adopt(dataset, directory)
            except (ValueError, FileNotFoundError) as error:
                _log.warning("the rows kept of %s are damaged (%s): it is read again", source.path, error)
                _remove(directory)
        _build(directory, dataset, source, split)
        return _adopt(dataset, directory)
    except OSError as error:
        raise DataError(f"cannot keep the rows of {source.path}: {error}", f"make room, or see to {where}") from error


def _build(directory: Path, dataset: Dataset, source: Source, split: Split) -> None:
    root = directory.parent
    make_directory(root, 0o700)
    _remove_stale(directory)
    temporary = _temporary(root)
    temporary.mkdir(mode=0o700)
    try:
        _write(temporary, dataset, source, split)
        try:
            temporary.rename(directory)
        except OSError:
            if not (directory / _COUNTS).exists():  # another process was faster: its rows are the same
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _version(path: Path) -> tuple[int, int, int]:
    """Return what tells a file from an earlier one: the ctime differs also where a copy keeps size and mtime."""
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def _name(path: Path, options: dict[str, Any]) -> str:
    file = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:16]
    version = hashlib.sha256(repr(_version(path)).encode()).hexdigest()[:16]
    kept = json.dumps({**options, "format": _FORMAT, "order": sys.byteorder}, sort_keys=True)
    return f"{file}-{version}-{hashlib.sha256(kept.encode()).hexdigest()[:16]}"


def _remove_stale(directory: Path) -> None:
    """Remove the rows of earlier versions of the same file, and what killed processes have left."""
    file, version, _ = directory.name.split("-")
    for entry in directory.parent.iterdir():
        parts = entry.name.split("-")
        if len(parts) == 3 and parts[0] == file and parts[1] != version:
            _remove(entry)
        elif entry.name.startswith(TEMPORARY) and _age(entry) > _LEFTOVER_SECONDS:
            shutil.rmtree(entry, ignore_errors=True)


def _remove(directory: Path) -> None:
    with suppress(OSError):  # another process is faster, or still has it open
        directory = directory.rename(_temporary(directory.parent))  # so that no process finds half of it
    shutil.rmtree(directory, ignore_errors=True)


def _temporary(root: Path) -> Path:
    return root / f"{TEMPORARY}{os.getpid()}-{secrets.token_hex(4)}"


def _age(path: Path) -> float:
    """Return the seconds since ``path`` was changed; 0 if its owner has just renamed or removed it."""
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _write(directory: Path, dataset: Dataset, source: Source, split: Split) -> None:
    """Write everything usable into one part, as only then classes are counted; then split it.

    Raises DataError for a file that changes meanwhile.
    """
    skipped, quality, version = dataset.skipped, DataQuality(source.names), _version(source.path)
    raw, train, holdout = (Part(directory, name, dataset.train) for name in ("raw", "train", "holdout"))
    with closing(raw), closing(train), closing(holdout):
        for chunk in _with_progress(source.path, source.chunks()):
            quality.add(chunk)
            if (free := shutil.disk_usage(directory).free) < _LEAST_FREE_BYTES:
                raise OSError(errno.ENOSPC, f"its rows would fill {directory}, where {free >> 20} MiB are free")
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
        worst = "; ".join(filter(None, (quality.worst and f"most often {quality.worst} is not", source.complaint)))
        counts = Counts(len(train), len(holdout), dataset.skipped - skipped, worst, quality.rounded)
    if _version(source.path) != version:
        raise DataError(f"{source.path} has changed while it was read", "start again once it is complete")
    dataset.skipped = skipped
    write_atomic(directory / _COUNTS, json.dumps(asdict(counts)).encode())


def _with_progress(path: Path, chunks: Iterator[Chunk]) -> Iterator[Chunk]:
    """Pass on ``chunks``, and show on a terminal how much of ``path`` has been read."""
    from learnae.cli.progress import reading  # noqa: PLC0415 - of the program, not of a service

    yield from reading(path.name, chunks)


def _adopt(dataset: Dataset, directory: Path) -> Counts:
    counts = Counts.from_json((directory / _COUNTS).read_text())
    train, holdout = (map_part(directory, name, getattr(counts, name), dataset.train) for name in ("train", "holdout"))
    dataset.adopt(*train)
    dataset.adopt(*holdout, holdout=True)
    dataset.skipped += counts.skipped
    return counts
