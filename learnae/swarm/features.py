"""Features: what the model sees of a window of raw samples. Defined by the manifest, so that all
peers compute the same; computed only where the samples were taken."""

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from learnae.errors import ManifestError
from learnae.ipld.fields import Fields

KIND = "window-statistics"
RAW_KIND = "raw-window"
STATISTICS = ("mean", "deviation", "minimum", "maximum", "change")
MAX_CHANNELS = 64
_MAX_WINDOW = 1 << 16


@dataclass(frozen=True, slots=True)
class _Windowed:
    """The windows of features of any kind: ``rate`` in Hz, ``window`` and ``hop`` in samples.

    With ``ahead`` > 0 the swarm forecasts: the target of a window is that many samples after it.
    """

    kind: ClassVar[str]
    constants: ClassVar[int]  # of both sorts for one channel

    channels: tuple[str, ...]
    rate: float
    window: int
    hop: int
    shift: tuple[float, ...]
    scale: tuple[float, ...]
    ahead: int = 0

    @property
    def span(self) -> int:
        """Count the samples that an example is made of."""
        return self.window + self.ahead

    def targets(self, windows: NDArray[Any]) -> NDArray[np.float32]:
        """Return what follows each window (n, span, channels): (n, ahead, channels), scaled like a channel's mean."""
        channels = len(self.channels)
        following = windows[:, self.window : self.span] - np.array(self.shift[:channels], np.float32)
        return (following / np.array(self.scale[:channels], np.float32)).astype(np.float32, copy=False)

    def to_fields(self) -> dict[str, Any]:
        """Return the map that goes into the manifest."""
        return {
            "kind": self.kind,
            "channels": list(self.channels),
            "rate": float(self.rate),
            "window": self.window,
            "hop": self.hop,
            "shift": [float(value) for value in self.shift],
            "scale": [float(value) for value in self.scale],
            **({"ahead": self.ahead} if self.ahead else {}),
        }

    @classmethod
    def from_fields(cls, fields: Fields) -> Self:
        """Read the map of a manifest, every size bounded; raises ManifestError."""
        fields.choice("kind", (cls.kind,))
        channels = fields.texts("channels", MAX_CHANNELS)
        expected = cls.constants * len(channels)
        shift, scale = fields.numbers("shift", expected), fields.numbers("scale", expected)
        if not channels or len(shift) != expected or len(scale) != expected or 0.0 in scale:
            raise ManifestError(
                f"{fields.thing}: {len(channels)} channels, {len(shift)} shifts, {len(scale)} scales",
                f"there are {cls.constants} of both for each channel, and no scale is 0",
            )
        return cls(
            channels=channels,
            rate=fields.number("rate", 1e-6, 1e6),
            window=fields.integer("window", 2, _MAX_WINDOW),
            hop=fields.integer("hop", 1, _MAX_WINDOW),
            shift=shift,
            scale=scale,
            ahead=fields.integer("ahead", 0, _MAX_WINDOW, 0),
        )

    def _scaled(self, values: NDArray[Any]) -> NDArray[np.float32]:
        with np.errstate(over="ignore"):  # a Dataset skips and counts what is not finite
            return ((values - np.array(self.shift)) / np.array(self.scale)).astype(np.float32)


@dataclass(frozen=True, slots=True)
class WindowStatistics(_Windowed):
    """Five statistics of each channel over a window, shifted and scaled by constants.

    The features are, for each statistic in the order of STATISTICS, one value a channel;
    ``(value - shift) / scale``. The constants come with the swarm, as no peer may see the others'
    data to compute them.
    """

    kind = KIND
    constants = len(STATISTICS)

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of one row."""
        return (len(STATISTICS) * len(self.channels),)

    def extract(self, windows: NDArray[Any]) -> NDArray[np.float32]:
        """Return (n, count) float32 of the first ``window`` samples of (n, at least window, channels)."""
        values = windows[:, : self.window].astype(np.float32)
        with np.errstate(over="ignore", invalid="ignore"):  # see _scaled
            statistics = (
                values.mean(axis=1),
                values.std(axis=1),
                values.min(axis=1),
                values.max(axis=1),
                np.abs(np.diff(values, axis=1)).mean(axis=1),
            )
        return self._scaled(np.concatenate(statistics, axis=1))


@dataclass(frozen=True, slots=True)
class RawWindow(_Windowed):
    """The samples of a window themselves, each channel shifted and scaled by its constants.

    For models that find their own features, such as a convolution over time. Rows stay on the
    machine like any other: "raw" names what the model sees, not what is sent.
    """

    kind = RAW_KIND
    constants = 1

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of one row."""
        return (self.window, len(self.channels))

    def extract(self, windows: NDArray[Any]) -> NDArray[np.float32]:
        """Return (n, window, channels) float32 of (n, at least window, channels): ``(value - shift) / scale``."""
        return self._scaled(windows[:, : self.window])


Features = WindowStatistics | RawWindow
_KINDS: dict[str, type[WindowStatistics] | type[RawWindow]] = {KIND: WindowStatistics, RAW_KIND: RawWindow}


def read_features(fields: Fields) -> Features:
    """Read features of any kind; raises ManifestError."""
    return _KINDS[fields.choice("kind", tuple(_KINDS))].from_fields(fields)
