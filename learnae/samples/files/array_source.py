"""Arrays x and y of NumPy's files as examples."""

import math
from collections.abc import Iterator

from learnae.basics.overriding import override
from learnae.errors import DataError
from learnae.samples.files.source import USUAL_LIMITS, Array, Chunk, ReadingLimits, Source
from learnae.tables.arrays import Arrays, without_axis
from learnae.tables.labels import Classes
from learnae.tables.table import Kind, Where


class ArraySource(Source):
    """``x`` (n, *input) and ``y`` (n,) or (n, outputs), perhaps ``x_holdout`` and ``y_holdout``.

    An ``autoencoder`` needs no ``y``: its rows are the targets. ``labels`` reads a ``y`` of classes. Raises DataError.
    """

    def __init__(
        self,
        arrays: Arrays,
        labels: Kind | None = None,
        autoencoder: bool = False,
        limits: ReadingLimits = USUAL_LIMITS,
    ) -> None:
        self.path = arrays.path
        self.names: list[str] = []
        self._arrays = arrays
        self._labels = labels if isinstance(labels, Classes) else None
        self._limits = limits
        self._autoencoder = autoencoder
        headers, path = arrays.headers, arrays.path
        needed = ("x",) if autoencoder else ("x", "y")
        held_out = [f"{name}_holdout" for name in needed]
        absent = [name for name in needed if name not in headers]
        if absent:
            raise DataError(
                f"{path} has no array {', '.join(absent)}", "give x and y, or a recording with signal and label"
            )
        for name in (*needed, *held_out):
            kinds = "fiubU" if self._labels and name.startswith("y") else "fiub"
            if name in headers and headers[name].dtype.kind not in kinds:
                raise DataError(f"{path}: {name} is of type {headers[name].dtype}", "give numbers")
        given = [name for name in held_out if name in headers]
        if given and given != held_out:
            raise DataError(f"{path} has only {given[0]}", "give both x_holdout and y_holdout, or neither")
        self._pairs = (
            [("x", needed[-1], False), ("x_holdout", held_out[-1], True)] if given else [("x", needed[-1], None)]
        )
        for rows, targets, _ in self._pairs:
            x, y = headers[rows].shape, headers[targets].shape
            if len(x) < 2 or not y or x[0] != y[0]:
                raise DataError(f"{path}: x is {x} and y is {y}", "both need one entry a row")

    @override
    def chunks(self) -> Iterator[Chunk]:
        headers = self._arrays.headers
        total = max(sum(headers[name].shape[0] for name, _, _ in self._pairs), 1)
        done = 0
        for rows, targets, held_out in self._pairs:
            header = headers[rows]
            widest = max(math.prod(each.shape[1:]) * each.dtype.itemsize for each in (header, headers[targets]))
            count = max(self._limits.chunk_bytes // max(widest, 1), 1)
            if header.fortran:
                count = max(count, self._limits.array_rows)
            begun = 0
            for part, target in self._paired(rows, targets, count):
                done += len(part)
                yield Chunk(part, self._classes(target, targets, begun), held_out, done / total)
                begun += len(part)
        if self._labels is not None:
            self._labels.check(f"{self.path}, array 'y'")

    @property
    @override
    def complaint(self) -> str:
        return self._labels.complaint if self._labels else ""

    def _classes(self, target: Array, name: str, begun: int) -> Array:
        flat = without_axis(target)
        if self._labels is None or self._autoencoder or flat.ndim > 1:
            return target
        return self._labels.of_array(flat, Where(self.path, "row", range(begun + 1, begun + len(flat) + 1), name))

    def _paired(self, rows: str, targets: str, count: int) -> Iterator[tuple[Array, Array]]:
        memory = self._limits.array_bytes
        if self._autoencoder:
            return ((part, part) for part in self._arrays.pieces(rows, count, memory))
        return zip(self._arrays.pieces(rows, count, memory), self._arrays.pieces(targets, count, memory), strict=True)
