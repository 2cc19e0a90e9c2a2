"""Signs that weights were made to read rows, not to learn: looked for on own rows, before each training phase.

What can be seen (adr 101): many units that fire on one row in many, whose change is that row (Boenisch et al.
2023); units of one direction, whatever share they fire on, or that say the same of all rows though their directions
differ where rows do not vary: their thresholds cut the rows apart (Fowl et al. 2022); and a loss far above what was
there, above saying always the same, and above that of most others. No member that only learns comes near the bounds.

Units of one direction part rows, and what lies between two of them can be told: it is no sign where each part is of
many rows in every update (adr 142).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learnae.basics.light_numpy import median, norms_of
from learnae.models.dataset import Rows, one_line_each
from learnae.models.definition import ModelDefinition
from learnae.models.layers.dense import KernelLayer
from learnae.models.losses import Loss
from learnae.models.reference.numpy_model import predict
from learnae.weights.codecs import Vector

Array = NDArray[Any]
MOST_RARE = 0.25  # of the first layer's units
LEAST_FIRING = 0.2  # of the rows, by half of the units
MOST_PARALLEL = 0.02  # of the first layer's units: what lies between two of their thresholds can be told
MOST_LOSS = 5.0  # times the greater of the own weights' and of a constant's, for classes
MOST_ERROR = 10.0  # as much, for values: those of one machine may hardly vary
_MORE_RARE = 0.15  # of the units, than at the start
_RARE = 0.05  # of the rows: a unit that fires on no more of them, or on one, is rare
_COSINE = 0.99
_CORRELATION = 0.999  # of what two units say of rows: honest ones reach 0.998, and less parts no rows
_FEWEST_INPUTS, _MANY_INPUTS = 5, 16  # in fewer dimensions, directions at random are near one another, or come to be
_MOST_PARALLEL_OF_FEW = 0.1  # of the units, where inputs are not many
_FEW_TOLD = 20  # of an update's rows: of as many together none was rebuilt, of 16 one in three tries
_MOST_PARTING = 32  # units that are asked how many rows each two of them part
_FEWEST_UNITS, _FEWEST_PARALLEL = 2, 4  # that must show a sign
_ENOUGH_UNITS = 16  # for half of them to say something
_FEWEST_ROWS = 64  # fewer show little, and no update of them is published
_MOST_ROWS, _MOST_PRODUCTS = 1024, 1 << 23  # of the first layer: some milliseconds
_LOSS_ROWS = 64
_COMPARED_ROWS = 256  # of what units say
_ROUNDED = 1e-5  # of a value: in float32 what varies less may be nothing
_MOST_UNITS = 1024  # that are compared with one another
_TURNED = 0.2  # of a unit's length, across its direction: two that are turned so have a cosine of about 0.96
_MOST_TURNED = 0.25  # of the units: five to eight of 64 come by learning where a column is strong
_LEAST = 1e-20  # of a length, to divide by


@dataclass(frozen=True, slots=True)
class TrapCheck:
    """Looks at weights with the training rows that are here by then.

    An update draws so many ``rows_drawn`` of them at least; 0 where nothing is known. What the weights that all started
    from show is no sign.
    """

    model: ModelDefinition
    loss: Loss
    train: Rows
    rows_drawn: int = 0

    def __call__(self, weights: Vector, before: Vector, start: Vector, others: Sequence[Vector] = ()) -> str:
        """Return what is wrong with ``weights`` (count,), which are to replace ``before``; empty for nothing.

        ``start`` is what all started from. ``weights`` are made of those of ``others``, and the own ones.
        """
        first = self._first
        if first is None:
            return ""
        with np.errstate(over="ignore", invalid="ignore"):
            return (
                self._why_parallel(weights, start, first)
                or self._why_told(weights, start, first)
                or self._why_bad(weights, before, others)
            )

    def turned_apart(self, weights: Vector, start: Vector) -> Vector | None:
        """Return ``weights`` (count,) with units of one direction turned a little towards those of ``start``.

        So they part rows along directions of their own, and all members turn them alike. None where there are no such
        units, or too many to have come by learning. What is returned is to be looked at as any weights are.
        """
        if (first := self._first) is None:
            return None
        result, units = weights.copy(), self._units(first)
        kernel, aims = (self.model.split(each)[first][0].reshape(-1, units) for each in (result, start))
        parallel = _parallel(kernel)
        if not 0 < len(parallel) <= _MOST_TURNED * units:
            return None
        turned, across = (each[:, parallel].astype(np.float64) for each in (kernel, aims))  # squares of any float32
        lengths = norms_of(turned, 0)
        across -= turned * ((turned * across).sum(axis=0) / lengths**2)
        turned += _TURNED * lengths / np.maximum(norms_of(across, 0), _LEAST) * across
        if np.abs(turned).max() > np.finfo(np.float32).max:
            return None
        kernel[:, parallel] = turned
        return result

    @property
    def _first(self) -> int | None:
        """Return the number of the first layer with a kernel."""
        kernels = (index for index, layer in enumerate(self.model.layers) if isinstance(layer, KernelLayer))
        return next(kernels, None)

    def _units(self, first: int) -> int:
        return self.model.layers[first].shapes[0][-1]

    def _why_parallel(self, weights: Vector, start: Vector, first: int) -> str:
        units = self._units(first)
        inputs = math.prod(self.model.layers[first].shapes[0]) // units
        if inputs < _FEWEST_INPUTS or units <= _FEWEST_UNITS:
            return ""
        chosen = np.arange(units)
        if units > _MOST_UNITS:
            chosen = np.random.default_rng().choice(units, _MOST_UNITS, replace=False)

        def parallel_of(each: Vector) -> Array:
            return _parallel(self.model.split(each)[first][0].reshape(inputs, units)[:, chosen])

        parallel = parallel_of(weights)
        most = _most_parallel(len(chosen)) if inputs >= _MANY_INPUTS else _MOST_PARALLEL_OF_FEW * len(chosen)
        most = max(most, _FEWEST_UNITS)
        if len(parallel) <= most or len(parallel) <= len(parallel_of(start)) + most:
            return ""
        if self._parting_few(weights, first, chosen[parallel]) <= most:
            return ""
        return f"{len(parallel)} of {len(chosen)} units of the first layer have the direction of another"

    def _parting_few(self, weights: Vector, first: int, suspects: Array) -> int:
        """Count the units of ``suspects`` (k,) that part few rows of an update from what another one fires on.

        The difference of the changes of two units is what rows on which one of them fires, and the other does not, have
        in common. Of opposite directions those rows lie between on which both fire, or neither.
        """
        rows = _spread(self.train.rows, max(_FEWEST_ROWS, _MOST_PRODUCTS // self._products(first)))
        if len(rows) < _FEWEST_ROWS or len(suspects) > _MOST_PARTING or self._places(first) > 1:
            return len(suspects)
        fires = (self._told(weights, first, rows)[:, suspects] > 0).astype(np.float32)
        parted = fires.T @ (1 - fires)
        parted += parted.T
        parted = np.minimum(parted, len(rows) - parted)
        np.fill_diagonal(parted, len(rows))
        in_update = min(self.rows_drawn, len(self.train.rows)) / len(rows)
        return int((parted.min(axis=0) * in_update < _FEW_TOLD).sum())

    def _why_told(self, weights: Vector, start: Vector, first: int) -> str:
        rows = _spread(self.train.rows, max(_FEWEST_ROWS, min(_MOST_ROWS, _MOST_PRODUCTS // self._products(first))))
        if len(rows) < _FEWEST_ROWS:
            return ""
        told = self._told(weights, first, rows)
        first_told = cache(lambda: self._told(start, first, rows))  # hardly ever asked for
        return self._why_alike(weights, first, told, first_told) or self._why_rare(told, first_told)

    def _why_alike(self, weights: Vector, first: int, told: Array, first_told: Callable[[], Array]) -> str:
        """Say whether units tell the same of all rows; no sign where rows vary so little that some at random do."""
        units = told.shape[-1]
        chosen = np.arange(units)
        if units > _MOST_UNITS:
            chosen = np.random.default_rng().choice(units, _MOST_UNITS, replace=False)
        most = _most_parallel(len(chosen))
        if units < _ENOUGH_UNITS or len(alike := _alike(told[..., chosen])) <= most:
            return ""
        if len(_alike(first_told()[..., chosen])) or self._parting_few(weights, first, chosen[alike]) <= most:
            return ""
        return f"{len(alike)} of {len(chosen)} units of the first layer tell the same of all rows as another"

    def _why_rare(self, told: Array, first_told: Callable[[], Array]) -> str:
        count, units, fires = len(told), told.shape[-1], _fires(told)
        most_often = max(1, int(_RARE * count))

        def rarely(each: Array) -> int:
            return int(((each > 0) & (each <= most_often)).sum())

        rare = rarely(fires)
        is_rare = rare > max(MOST_RARE * units, _MORE_RARE * units, _FEWEST_UNITS)
        if is_rare and rare > rarely(_fires(first_told())) + _MORE_RARE * units:
            return f"{rare} of {units} units of the first layer fire on {most_often} of {count} rows at most"
        firing = fires[fires > 0]  # one that is dead tells nothing
        if len(firing) < _ENOUGH_UNITS or (middle := median(firing)) >= LEAST_FIRING * count:
            return ""
        first_fires = _fires(first_told())
        first_firing = first_fires[first_fires > 0]
        if len(first_firing) >= _ENOUGH_UNITS and middle < median(first_firing) / 2:
            return f"half of the {units} units of the first layer fire on {middle:g} of {count} rows at most"
        return ""

    def _told(self, weights: Vector, first: int, rows: Array) -> Array:
        """Return what the units of the first layer say of ``rows`` (n, ...), before they fire: (n, ..., units)."""
        value = rows
        for layer, arrays in list(zip(self.model.layers, self.model.split(weights), strict=True))[: first + 1]:
            value, _ = layer.forward(arrays, value, False, None)
        return value

    def _products(self, first: int) -> int:
        """Return how many products one row costs in the first layer, or a bound."""
        return max(1, math.prod(self.model.layers[first].shapes[0]) * self._places(first))

    def _places(self, first: int) -> int:
        """Return at how many places of a row the units of the first layer look."""
        return int(getattr(getattr(self.model.layers[first], "sliding", None), "count", 1))

    def _why_bad(self, weights: Vector, before: Vector, others: Sequence[Vector]) -> str:
        """Say whether the loss is far above what is usual: own rows may be unlike those of most others."""
        rows, targets = _spread(self.train.rows, _LOSS_ROWS), _spread(self.train.targets, _LOSS_ROWS)
        if len(rows) < _FEWEST_ROWS:
            return ""

        def lost(each: Vector) -> float:
            return self.loss.value(predict(self.model, each, rows), targets)

        after = lost(weights)
        times, constant = MOST_LOSS if self.loss.is_classification else MOST_ERROR, self._constant(targets)
        if after <= times * constant:
            return ""
        own = lost(before)
        losses = np.nan_to_num([own, *map(lost, others)], nan=np.inf)
        usual = float(np.sort(losses)[len(others) // 2])  # of fewer than half that lie, no liar's is above it
        bound = times * max(own, usual, constant)
        if after <= bound or not np.isfinite(bound):
            return ""
        return f"the loss on own rows is {after:.3g}, with the own weights {own:.3g}"

    def _constant(self, targets: Array) -> float:
        """Return the loss of what says the same of all rows: of classes, that all are as likely.

        Not that of the own classes: who has rows of two classes knows others' weights for the rest.
        """
        if not self.loss.is_classification:
            return float(np.mean(np.var(one_line_each(targets).astype(np.float64), axis=0)))
        return math.log(max(2, self.model.output_shape[-1]))


def _most_parallel(units: int) -> float:
    return max(_FEWEST_PARALLEL, MOST_PARALLEL * units)


def _fires(told: Array) -> Array:
    """Return for each unit on how many rows it fires."""
    return np.asarray((told > 0).reshape(len(told), -1, told.shape[-1]).any(axis=1).sum(axis=0))


def _alike(told: Array) -> Array:
    """Return the units (k,) that say of all rows what another does, but for a factor and a constant."""
    varying = _spread(told.reshape(-1, told.shape[-1]), _COMPARED_ROWS).astype(np.float64)
    largest = np.abs(varying).max(axis=0)
    varying -= varying.mean(axis=0)
    varying[:, np.abs(varying).max(axis=0) <= _ROUNDED * largest] = 0.0
    return _parallel(varying, _CORRELATION)


def _parallel(kernel: Array, cosine: float = _COSINE) -> Array:
    """Return which columns (k,) of ``kernel`` (inputs, units) have nearly the direction of another, or its opposite."""
    lengths = norms_of(kernel.astype(np.float64, copy=False), 0)[0]
    some = np.flatnonzero(lengths > 0)
    directions = kernel[:, some] / lengths[some]
    cosines = np.abs(directions.T @ directions)
    np.fill_diagonal(cosines, 0.0)
    return some[cosines.max(axis=0, initial=0.0) > cosine]


def _spread(array: Array, most: int) -> Array:
    """Return at most so many of ``array`` (n, ...), evenly spread."""
    count = len(array)
    return array if count <= most else array[np.linspace(0, count - 1, most).astype(np.int64)]
