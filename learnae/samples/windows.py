"""Windows: fixed numbers of consecutive samples, overlapping, cut from a stream as it arrives; and examples of them."""

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from learnae.models.dataset import Array, Dataset
from learnae.ports import Samples
from learnae.samples.dp_statistics import Statistics
from learnae.swarm.features import Features
from learnae.swarm.manifest import AUTOENCODER, FORECAST, Manifest
from learnae.tables.time_units import GAP_PERIODS


@dataclass(frozen=True, slots=True)
class Windows:
    """``values`` (n, span, channels), ``label`` and ``holdout`` (n,), ``time`` (n,) of the last sample a model sees."""

    time: NDArray[np.float64]
    values: NDArray[np.float32]
    label: NDArray[np.int64]
    holdout: NDArray[np.bool_]


class Windower:
    """Cuts a stream into windows. None spans a gap in time, a step back of the clock, two labels, or training and
    held-out samples.
    """

    def __init__(self, features: Features) -> None:
        self._features = features
        self._longest_step = GAP_PERIODS / features.rate
        self._rest: Samples | None = None
        self._ahead = 0  # samples from there to where the next window begins

    def push(self, samples: Samples) -> Windows:
        """Add samples and return the windows that are now complete."""
        if self._rest is not None:
            samples = Samples.joined([self._rest, samples])
        ahead, self._rest, self._ahead = self._ahead, None, 0
        time, values, label, holdout = [], [], [], []
        edges = self._edges(samples)
        for start, end in itertools.pairwise(edges):
            position = start if start else ahead
            while position + self._features.span <= end:
                time.append(samples.time[position + self._features.window - 1])
                values.append(samples.values[position : position + self._features.span])
                label.append(samples.label[position])
                holdout.append(samples.holdout[position])
                position += self._features.hop
            if end == len(samples.time) > 0:
                kept = min(position, end - 1)  # at least one sample, which tells whether the next one follows it
                self._rest, self._ahead = samples.part(slice(kept, end)), position - kept
        shape = (-1, self._features.span, len(self._features.channels))
        return Windows(
            np.array(time, np.float64),
            np.array(values, np.float32).reshape(shape),
            np.array(label, np.int64),
            np.array(holdout, np.bool_),
        )

    def _edges(self, samples: Samples) -> list[int]:
        """Return where one uninterrupted stretch ends and the next begins."""
        step = np.diff(samples.time)
        breaks = (
            (step > self._longest_step)
            | (step <= 0)
            | (np.diff(samples.label) != 0)
            | (samples.holdout[1:] != samples.holdout[:-1])
        )
        return [0, *(np.flatnonzero(breaks) + 1).tolist(), len(samples.time)]


def add_windows(
    dataset: Dataset,
    manifest: Manifest,
    rows: NDArray[np.float32],
    windows: Windows,
    quantity: NDArray[np.float64] | None = None,
) -> int:
    """Add those of the ``windows``, whose features are ``rows`` (n, *input), that the swarm can learn from.

    Only a classification or a regression needs labels: windows without are then left out; returns how many.
    A regression may be given its targets as any ``quantity`` (n,), NaN where unknown, in place of labels.
    """
    targets, usable = targets_of(manifest, rows, windows), np.ones(len(rows), np.bool_)
    if quantity is not None:
        targets, usable = quantity, ~np.isnan(quantity)
    elif manifest.needs_labels:
        usable = windows.label >= 0
    for holdout in (False, True):
        chosen = usable & (windows.holdout == holdout)
        if chosen.any():
            dataset.add(rows[chosen], targets[chosen], holdout)
    return int(np.count_nonzero(~usable))


def add_to_statistics(statistics: Statistics, manifest: Manifest, rows: NDArray[np.float32], windows: Windows) -> None:
    """Add those of the ``windows``, with features ``rows``, that are not held out; classes may be unknown."""
    usable = ~windows.holdout
    if manifest.needs_labels and not manifest.class_count:
        usable &= windows.label >= 0
    statistics.add(rows[usable], targets_of(manifest, rows, windows)[usable])


def targets_of(manifest: Manifest, rows: NDArray[np.float32], windows: Windows) -> Array:
    """Return the targets (n, ...) of these rows: their labels, themselves, or what follows them."""
    if manifest.task == AUTOENCODER:
        return rows
    if manifest.task == FORECAST:
        assert manifest.features is not None
        return manifest.features.targets(windows.values).reshape(len(rows), *manifest.model.output_shape)
    return windows.label
