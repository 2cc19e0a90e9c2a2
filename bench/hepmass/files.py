"""The rows of the HEPMASS-like simulation on disk: made once, chunk by chunk from a seed, then mapped into memory.

::

    HEPMASS-like-simulation-v1-seed1-train.rows.npy     (n, 28) float32: 27 features, and the mass; all standardised
    HEPMASS-like-simulation-v1-seed1-train.labels.npy   (n,) int8: 1 for signal
    HEPMASS-like-simulation-v1-seed1-train.masses.npy   (n,) int16: GeV; of background one by chance
    HEPMASS-like-simulation-v1-seed1-train.json         what they are made of; is written last

A chunk follows from seed, split and its number alone: any size is the beginning of each larger one. What a killed
process leaves is gone on with.
"""

from __future__ import annotations

import fcntl
import io
import json
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.hepmass import collisions
from bench.hepmass.collisions import FEATURES, MASSES, TITLE
from learnae.errors import DataError
from learnae.system.atomic_files import write_atomic

CHUNK = 65_536  # rows
SPLITS = ("train", "test", "held-out")
COLUMNS = FEATURES + 1
_MASS_SHIFT, _MASS_SCALE = 1000.0, 353.55339059327376  # of five masses alike
_KINDS: dict[str, tuple[type, tuple[int, ...]]] = {
    "rows": (np.float32, (COLUMNS,)),
    "labels": (np.int8, ()),
    "masses": (np.int16, ()),
}

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows (n, COLUMNS), the last column the mass; labels (n,), 1 for signal; masses (n,) in GeV. All may be mapped."""

    rows: NDArray[np.float32]
    labels: NDArray[np.int8]
    masses: NDArray[np.int16]

    def first(self, count: int) -> Table:
        """Return the first ``count`` rows, not copied."""
        return Table(self.rows[:count], self.labels[:count], self.masses[:count])

    def of(self, chosen: NDArray[Any] | slice) -> Table:
        """Return a copy of the ``chosen`` rows."""
        return Table(self.rows[chosen], self.labels[chosen], self.masses[chosen])


def scaled_masses(masses: NDArray[Any]) -> NDArray[np.float32]:
    """Return ``masses`` (n,) in GeV as a network gets them."""
    return ((masses - _MASS_SHIFT) / _MASS_SCALE).astype(np.float32)


def make_chunk(seed: int, split: str, number: int) -> Table:
    """Return the CHUNK rows of that number: half signal, its masses in turn; background has a mass by chance."""
    rng = np.random.default_rng([seed, SPLITS.index(split), number])
    half = CHUNK // 2
    signal = np.bincount(np.arange(half) % len(MASSES))
    parts = [collisions.make_rows(rng, mass, count) for mass, count in zip(MASSES, signal.tolist(), strict=True)]
    features = np.concatenate([*parts, collisions.make_rows(rng, 0, half)])
    masses = np.concatenate([np.repeat(MASSES, signal), rng.choice(MASSES, half)])
    rows = np.concatenate([features, scaled_masses(masses)[:, None]], axis=1)
    order = rng.permutation(CHUNK)
    labels = (order < half).astype(np.int8)
    return Table(rows[order], labels, masses[order].astype(np.int16))


@dataclass(frozen=True, slots=True)
class Files:
    """The files of one ``split`` in ``directory``, of at least ``rows`` rows that follow from ``seed``."""

    directory: Path
    split: str
    rows: int
    seed: int = 1
    made_of: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        made_of = {"data": TITLE, "split": self.split, "seed": self.seed, "chunk": CHUNK, **collisions.constants()}
        object.__setattr__(self, "made_of", made_of)

    def table(self, say: Say = lambda _: None) -> Table:
        """Return the first ``rows`` rows, mapped; make them if they are not there, and ``say`` how far that is."""
        if self._kept() < self.rows:
            self.directory.mkdir(parents=True, exist_ok=True)
            with self._alone():
                self._make(say)
        return self._mapped().first(self.rows)

    def path(self, ending: str) -> Path:
        """Return the name of one of the files."""
        title = TITLE.replace(" ", "-")
        return self.directory / f"{title}-v{collisions.VERSION}-seed{self.seed}-{self.split}.{ending}"

    def _kept(self, ending: str = "json") -> int:
        """Return how many rows are there, made of the same; 0 for none."""
        try:
            found = json.loads(self.path(ending).read_text())
        except (OSError, ValueError):
            return 0
        is_same = isinstance(found, dict) and self.made_of.items() <= found.items()
        return int(found["rows"]) if is_same and isinstance(found.get("rows"), int) else 0

    def _mapped(self) -> Table:
        arrays = []
        for kind, (dtype, shape) in _KINDS.items():
            path = self.path(f"{kind}.npy")
            try:
                array = np.load(path, mmap_mode="r", allow_pickle=False)
            except (OSError, EOFError, ValueError) as error:
                raise DataError(f"{path} cannot be mapped: {error}", f"remove {self.path('*')}") from error
            if array.dtype != dtype or array.shape[1:] != shape or len(array) < self._kept():
                raise DataError(f"{path} holds {array.dtype} {array.shape}", f"remove {self.path('*')}")
            arrays.append(array)
        return Table(*arrays)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Wait for another process that makes the same files."""
        with self.path("lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _make(self, say: Say) -> None:
        if (before := self._kept()) >= self.rows:  # another process has made them
            return
        chunks, done = -(-self.rows // CHUNK), self._done()
        old = self._mapped() if before else None
        begun, made = time.monotonic(), 0
        for number in range(done, chunks):
            where, is_old = slice(number * CHUNK, (number + 1) * CHUNK), (number + 1) * CHUNK <= before
            chunk = old.of(where) if old and is_old else make_chunk(self.seed, self.split, number)
            made += not is_old
            for kind in _KINDS:
                self._write(kind, number, getattr(chunk, kind)[: self.rows - number * CHUNK])
            self._note("part.json", number + 1)
            speed = made * CHUNK / (time.monotonic() - begun)
            say(f"{min(self.rows, (number + 1) * CHUNK):,} of {self.rows:,} rows, {speed:,.0f} a second")
        for kind in _KINDS:
            if (part := self.path(f"{kind}.part")).exists():  # not moved yet by a process that was killed
                os.replace(part, self.path(f"{kind}.npy"))
        self._note("json", chunks)
        self.path("part.json").unlink()

    def _done(self) -> int:
        """Return how many chunks of the same files are there, of a process that was killed."""
        try:
            found = json.loads(self.path("part.json").read_text())
        except (OSError, ValueError):
            return 0
        is_same = isinstance(found, dict) and {**self.made_of, "rows": self.rows}.items() <= found.items()
        return int(found["chunks"]) if is_same else 0

    def _write(self, kind: str, number: int, array: NDArray[Any]) -> None:
        dtype, shape = np.dtype(_KINDS[kind][0]), _KINDS[kind][1]
        header, item = _header(dtype, (self.rows, *shape)), dtype.itemsize * math.prod(shape)
        with self.path(f"{kind}.part").open("r+b" if number else "wb") as file:
            file.write(header)
            file.seek(len(header) + item * CHUNK * number)
            file.write(np.ascontiguousarray(array).data)
            file.flush()
            os.fsync(file.fileno())

    def _note(self, ending: str, chunks: int) -> None:
        text = json.dumps({**self.made_of, "rows": self.rows, "chunks": chunks}, indent=2)
        write_atomic(self.path(ending), text.encode() + b"\n")


def _header(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    file = io.BytesIO()
    described = np.lib.format.dtype_to_descr(dtype)
    np.lib.format.write_array_header_1_0(file, {"descr": described, "fortran_order": False, "shape": shape})
    return file.getvalue()
