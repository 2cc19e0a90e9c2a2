"""A peer's private rows in memory: training rows, and held-out rows kept apart by time."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learnae.errors import DataError
from learnae.models.losses import Loss
from learnae.models.outline import Model

Array = NDArray[Any]
MOST_DRAWN = 0.5  # of a batch: own rows are real ones
_COUNTED = 1 << 16  # rows, of which it is looked at how often classes are


class Rows:
    """Rows and their targets, at most ``capacity``: beyond that the oldest are overwritten.

    Without a ``target_shape`` the rows are their own targets, and kept once.
    """

    def __init__(
        self, row_shape: tuple[int, ...], target_shape: tuple[int, ...] | None, target_type: type, capacity: int
    ) -> None:
        self._capacity = capacity
        self._rows = np.zeros((min(capacity, 256), *row_shape), np.float32)
        self._targets: Array = self._rows
        if target_shape is not None:
            self._targets = np.zeros((len(self._rows), *target_shape), target_type)
        self.on_draw: Callable[[NDArray[np.integer[Any]]], None] | None = None  # told which rows are trained on
        self.written = 0  # rows ever: a copy elsewhere is out of date once this number has changed
        self.overwritten = 0  # of them
        self._adopted = False

    def __len__(self) -> int:
        return min(self.written, len(self._rows))

    @property
    def rows(self) -> Array:
        """Return the rows (n, *input_shape), float32."""
        return self._rows[: len(self)]

    @property
    def targets(self) -> Array:
        """Return (n,) classes or (n, outputs) values; ``rows`` where they are their own targets."""
        return self._targets[: len(self)]

    @property
    def are_targets(self) -> bool:
        """Return True if the rows are their own targets."""
        return self._targets is self._rows

    def append(self, rows: Array, targets: Array) -> None:
        """Add rows, oldest first. Raises DataError on rows that were adopted."""
        if self._adopted:
            raise DataError("rows cannot be added to adopted ones", "add them all, or adopt them all")
        for row, target in zip(rows, targets, strict=True):
            if self.written == len(self._rows) < self._capacity:
                self._grow()
            slot = self.written % len(self._rows)
            self.overwritten += self.written >= len(self._rows)
            self._rows[slot], self._targets[slot] = row, target
            self.written += 1

    def since(self, written: int) -> NDArray[np.int64]:
        """Return the positions of the rows that came after ``written`` was such: all of them, if they were adopted."""
        if self._adopted or self.written - written >= len(self):
            return np.arange(len(self))
        return np.arange(written, self.written) % len(self._rows)

    def draw(self, indices: NDArray[np.integer[Any]]) -> None:
        """Note that the rows of these ``indices`` (k,) were trained on: each learner says so."""
        if self.on_draw:
            self.on_draw(indices)

    def adopt(self, rows: Array, targets: Array) -> None:
        """Use these arrays in place of all rows so far, whatever their number, without copying them."""
        self._rows, self._targets = rows, rows if self.are_targets else targets
        self.written, self._adopted = self.written + len(rows), True

    def _grow(self) -> None:
        room, shared = min(self._capacity - len(self._rows), len(self._rows)), self.are_targets
        self._rows = np.concatenate([self._rows, np.zeros_like(self._rows[:room])])
        self._targets = self._rows if shared else np.concatenate([self._targets, np.zeros_like(self._targets[:room])])


class Dataset:
    """``train`` and ``holdout`` rows that fit ``model`` and ``loss``; ``skipped`` counts those that do not.

    ``drawn`` rows look like those of other peers (learnae.samples.proxy_rows): learners mix them in, and nothing counts
    them as rows of this peer.

    The rows of an ``autoencoder`` are their own targets. Where values are numbers of ``tokens``, a row has none but
    whole ones below it.
    """

    def __init__(
        self,
        model: Model,
        loss: Loss,
        capacity: int = 1 << 20,
        autoencoder: bool = False,
        tokens: int | None = None,
    ) -> None:
        self._model = model
        self._tokens = tokens
        self._loss = loss
        classes = loss.name == "sparse_categorical_crossentropy"
        shape = None if autoencoder else () if classes else model.output_shape
        kind: type = np.int64 if classes else np.float32
        self.train = Rows(model.input_shape, shape, kind, capacity)
        self.holdout = Rows(model.input_shape, shape, kind, capacity)
        self.drawn = Rows(model.input_shape, shape, kind, 1)
        self.skipped = 0

    def add(self, rows: Array, targets: Array, holdout: bool = False) -> None:
        """Add (n, *input_shape) rows; those with NaN or impossible targets are skipped and counted.

        Raises DataError if the shapes do not fit the model.
        """
        rows, targets = self.usable(rows, targets)
        (self.holdout if holdout else self.train).append(rows, targets)

    @property
    def drawn_share(self) -> float:
        """Return which share of a batch is of ``drawn`` rows."""
        drawn = len(self.drawn)
        return min(drawn / (drawn + len(self.train)), MOST_DRAWN) if drawn else 0.0

    def teach(self, rows: Array, targets: Array) -> None:
        """Use these as ``drawn`` rows, in place of those before; raises DataError if they do not fit the model."""
        rows, targets = self._check_shapes(np.asarray(rows, np.float32), np.asarray(targets))
        self.drawn.adopt(rows, rows if self.drawn.are_targets else targets.astype(self.drawn.targets.dtype))

    def usable(self, rows: Array, targets: Array) -> tuple[Array, Array]:
        """Return those of (n, *input_shape) rows that can be trained on: rows float32, targets as the loss needs them.

        The others are skipped and counted. Raises DataError if the shapes do not fit the model.
        """
        rows, targets = self._check_shapes(np.asarray(rows), np.asarray(targets))
        with np.errstate(over="ignore"):  # what float32 cannot hold is skipped below
            rows = rows.astype(np.float32, copy=False)
            if self.train.targets.dtype == np.float32:
                targets = targets.astype(np.float32, copy=False)
        flat = one_line_each(rows)
        usable = np.isfinite(flat).all(axis=1) & self._possible(targets)
        if self._tokens is not None:
            usable &= ((flat >= 0) & (flat < self._tokens) & (flat == np.floor(flat))).all(axis=1)
        self.skipped += int(len(rows) - usable.sum())
        kept = rows[usable]
        if self.train.are_targets:
            return kept, kept
        return kept, targets[usable].astype(self.train.targets.dtype, copy=False)

    @property
    def demand(self) -> str:
        """Describe the rows that are not skipped."""
        target = {
            "sparse_categorical_crossentropy": f", and the class one of 0 to {self._model.output_shape[-1] - 1}",
            "binary_crossentropy": ", and the target 0 or 1",
        }
        values = "finite numbers" if self._tokens is None else f"whole numbers from 0 to {self._tokens - 1}"
        return f"all values must be {values}" + target.get(self._loss.name, "")

    @property
    def only_class(self) -> float | None:
        """Return the class of all training rows; None if there are several, or targets are no classes."""
        classes = self._classes
        return float(classes[0]) if len(classes) and classes.min() == classes.max() else None

    @property
    def chance_loss(self) -> float:
        """Return the loss, in nats, of saying of each training row how often classes are: their entropy.

        It is of up to 65,536 rows, and 0 where targets are no classes.
        """
        classes = self._classes
        counts = np.bincount(classes[:: 1 + len(classes) // _COUNTED].astype(np.int64))
        shares = counts[counts > 0] / max(1, counts.sum())
        return -float((shares * np.log(shares)).sum())

    @property
    def _classes(self) -> Array:
        """Return the class of each training row (n,), as the loss needs it; none where targets are no classes."""
        targets = one_line_each(self.train.targets)
        return targets[:, 0] if self._loss.is_classification and targets.shape[1] == 1 else targets[:0, 0]

    def adopt(self, rows: Array, targets: Array, holdout: bool = False) -> None:
        """Use arrays that ``usable`` has passed, such as memory maps, as they are: nothing is copied.

        They replace what is there. Raises DataError if shape or type do not fit the model.
        """
        rows, targets = self._check_shapes(rows, targets)
        if (rows.dtype, targets.dtype) != (np.dtype(np.float32), self.train.targets.dtype):
            raise DataError(
                f"rows of {rows.dtype}, targets of {targets.dtype}", f"float32 and {self.train.targets.dtype}"
            )
        (self.holdout if holdout else self.train).adopt(rows, targets)

    def _check_shapes(self, rows: Array, targets: Array) -> tuple[Array, Array]:
        if rows.shape[1:] != self._model.input_shape:
            raise DataError(f"rows of shape {rows.shape[1:]}", f"the swarm's model takes {self._model.input_shape}")
        target = self.train.targets.shape[1:]
        if targets.ndim == 1 and target == (1,):
            targets = targets[:, None]
        if targets.shape != (len(rows), *target):
            raise DataError(f"targets of shape {targets.shape}", f"the swarm's model needs {(len(rows), *target)}")
        return rows, targets

    def _possible(self, targets: Array) -> Array:
        """Return a mask (n,) of the targets that the loss can learn."""
        flat = one_line_each(targets)
        possible = np.isfinite(flat)
        if self._loss.name == "sparse_categorical_crossentropy":
            possible &= (flat >= 0) & (flat < self._model.output_shape[-1]) & (flat == np.floor(flat))
        elif self._loss.name == "binary_crossentropy":
            possible &= (flat == 0) | (flat == 1)
        return np.asarray(possible.all(axis=1))


def one_line_each(array: Array) -> Array:
    """Reshape (n, ...) to (n, values), also for n = 0, of which NumPy cannot infer the rest."""
    return array.reshape(len(array), math.prod(array.shape[1:]))
