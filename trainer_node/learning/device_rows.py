"""Rows on the device: all of them if there is room, else one part at a time."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from learnae.models.dataset import Rows


class Part(NamedTuple):
    """``rows`` (n, *input_shape) float32 and ``targets`` on the device, from row ``start`` of the host's on."""

    start: int
    rows: Any
    targets: Any


class DeviceRows:
    """Copies rows to the device once, and again only if rows were added or another part is wanted.

    After each part come all ``drawn`` rows, if there are any; they are counted nowhere.
    """

    def __init__(self, jax: Any, source: Rows, drawn: Rows | None = None) -> None:
        self._jax = jax
        self._source = source
        self._drawn = drawn
        self._most: int | None = None
        self._held: tuple[int, ...] | None = None  # what the part was made of
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
        drawn = self._drawn if self._drawn is not None and len(self._drawn) else None
        wanted = (self._source.written, start, size, drawn.written if drawn else 0)
        if self._held != wanted:
            self.drop()
            own, on_host = self._source.rows[start : start + size], self.targets[start : start + size]
            if drawn is not None:
                own, on_host = np.concatenate([own, drawn.rows]), np.concatenate([on_host, drawn.targets])
            rows = self._put(own)
            if on_host.dtype.kind == "i":
                on_host = on_host.astype(np.int32)  # JAX's integer
            targets = rows if self._source.are_targets else self._put(on_host)
            self._part, self._held = Part(start, rows, targets), wanted
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
        self._part, self._held = Part(0, None, None), None

    def _put(self, array: NDArray[Any]) -> Any:
        # a CPU device may read the host's memory in place: only where it is not written any more
        return self._jax.numpy.array(array) if array.flags.writeable else self._jax.device_put(array, may_alias=True)
