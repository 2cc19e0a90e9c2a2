"""Features: what the model sees of a window of raw samples. Defined by the manifest, so that all
peers compute the same; computed only where the samples were taken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learnae.errors import ManifestError
from learnae.fields import Fields

KIND = "window-statistics"
STATISTICS = ("mean", "deviation", "minimum", "maximum", "change")
MAX_CHANNELS = 64
_MAX_WINDOW = 1 << 16


@dataclass(frozen=True, slots=True)
class WindowStatistics:
    """Five statistics of each channel over a window, shifted and scaled by constants.

    ``rate`` in Hz, ``window`` and ``hop`` in samples. The features are, for each statistic in the
    order of STATISTICS, one value a channel; ``(value - shift) / scale``. The constants come with
    the swarm, as no peer may see the others' data to compute them.
    """

    channels: tuple[str, ...]
    rate: float
    window: int
    hop: int
    shift: tuple[float, ...]
    scale: tuple[float, ...]

    @property
    def count(self) -> int:
        """How many features a window has."""
        return len(STATISTICS) * len(self.channels)

    def extract(self, windows: NDArray[Any]) -> NDArray[np.float32]:
        """(n, window, channels) -> (n, count) float32."""
        values = windows.astype(np.float32)
        statistics = (
            values.mean(axis=1),
            values.std(axis=1),
            values.min(axis=1),
            values.max(axis=1),
            np.abs(np.diff(values, axis=1)).mean(axis=1),
        )
        plain = np.concatenate(statistics, axis=1)
        return ((plain - np.array(self.shift)) / np.array(self.scale)).astype(np.float32)

    def to_fields(self) -> dict[str, Any]:
        """The map that goes into the manifest."""
        return {
            "kind": KIND,
            "channels": list(self.channels),
            "rate": float(self.rate),
            "window": self.window,
            "hop": self.hop,
            "shift": [float(value) for value in self.shift],
            "scale": [float(value) for value in self.scale],
        }

    @classmethod
    def from_fields(cls, fields: Fields) -> WindowStatistics:
        """Read and bound what somebody wrote; raises ManifestError."""
        fields.choice("kind", (KIND,))
        channels = fields.texts("channels", MAX_CHANNELS)
        expected = len(STATISTICS) * len(channels)
        result = cls(
            channels=channels,
            rate=fields.number("rate", 1e-6, 1e6),
            window=fields.integer("window", 2, _MAX_WINDOW),
            hop=fields.integer("hop", 1, _MAX_WINDOW),
            shift=fields.numbers("shift", expected),
            scale=fields.numbers("scale", expected),
        )
        if not channels or len(result.shift) != expected or len(result.scale) != expected or 0.0 in result.scale:
            raise ManifestError(
                f"{fields.thing}: {len(channels)} channels, {len(result.shift)} shifts, {len(result.scale)} scales",
                f"there are {len(STATISTICS)} of both for each channel, and no scale is 0",
            )
        return result
