"""Rows on the device: all of them if there is room, else one part at a time."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from learnae.models.dataset import Rows


class Part(NamedTuple):
    """``rows`` (n, *input_shape) float32 and ``targets`` on the device, from row ``start`` of the host's on.

    ``drawn`` are all drawn rows and their targets; None without any. Numbers from n on are theirs.
    """

    start: int
    rows: Any
    targets: Any
    drawn: tuple[Any, Any] | None = None


class DeviceRows:
    """Copies rows to the device once, and again only if rows were added or another part is wanted.

    Beside each part are all ``drawn`` rows, if there are any; they are counted nowhere. A CPU reads mapped rows in
    place.
    """

    def __init__(self, jax: Any, source: Rows, drawn: Rows | None = None) -> None:
        self._jax = jax
        self._source = source
        self._drawn = drawn
        self._most: int | None = None
        self._held: tuple[int, ...] | None = None  # what the part was made of
        self._held_drawn = 0, 0  # as many drawn rows there were, and had ever been written
        self._part = Part(0, None, None)

    def __len__(self) -> int:
        return len(self._source)

    @property
    def targets(self) -> NDArray[Any]:
        """Return the targets on the host."""
        return self._source.targets

    def draw(self, indices: NDArray[np.integer[Any]]) -> None:
        """Note that the rows of these ``indices`` of the host's were trained on."""
        self._source.draw(indices)

    @property
    def size(self) -> int:
        """Count the rows that are on the device at a time."""
        if self._most is None or self._most >= len(self):
            return len(self)
        return -(-len(self) // -(-len(self) // self._most))  # parts of one size: hardly a row is in two of them

    @property
    def parts(self) -> int:
        """Count the parts that cover all rows."""
        return -(-len(self) // self.size) if len(self) else 0

    def part(self, number: int) -> Part:
        """Return part ``number`` modulo their count; the last one reaches back, so that all have one shape."""
        size = self.size
        start = min(number % self.parts * size, len(self) - size)
        wanted = (self._source.written, start, size)
        if self._held != wanted:
            self.drop()
            self._part, self._held = Part(start, *self._put_both(self._source, slice(start, start + size))), wanted
        if (drawn := self._drawn) is not None and self._held_drawn != (len(drawn), drawn.written):
            self._part = self._part._replace(drawn=self._put_both(drawn, slice(None)) if len(drawn) else None)
            self._held_drawn = len(drawn), drawn.written
        return self._part

    def halve(self, least: int) -> bool:
        """Keep half as many rows on the device from now on; False if that would be less than ``least``."""
        self.drop()
        if self.size // 2 < least:
            return False
        self._most = self.size // 2
        return True

    def drop(self) -> None:
        """Free the device's memory."""
        self._part, self._held, self._held_drawn = Part(0, None, None), None, (0, 0)

    def _put_both(self, source: Rows, chosen: slice) -> tuple[Any, Any]:
        rows, targets = self._put(source.rows[chosen]), source.targets[chosen]
        if source.are_targets:
            return rows, rows
        return rows, self._put(targets.astype(np.int32) if targets.dtype.kind == "i" else targets)  # JAX's integer

    def _put(self, array: NDArray[Any]) -> Any:
        # a CPU device may read the host's memory in place: only where it is not written any more
        return self._jax.numpy.array(array) if array.flags.writeable else self._jax.device_put(array, may_alias=True)
