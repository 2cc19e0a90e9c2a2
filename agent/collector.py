"""From a source's samples to rows that the learner sees. Everything here stays on this machine."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from learnae.features import Features
from learnae.models.dataset import Dataset
from learnae.ports import SampleSource
from learnae.summary import Statistics
from learnae.windows import Windower, Windows


class Collector:
    """Reads a source, cuts windows, computes features, fills the dataset.

    The targets are the windows' labels, or the rows themselves for an ``autoencoder``, which learns from
    unlabelled windows as well. While ``statistics`` gives any, all windows go there and nothing is kept.
    """

    def __init__(
        self,
        source: SampleSource,
        features: Features,
        dataset: Dataset,
        autoencoder: bool = False,
        statistics: Callable[[], Statistics | None] = lambda: None,
    ) -> None:
        self._source = source
        self._features = features
        self._windower = Windower(features)
        self._dataset = dataset
        self._autoencoder = autoencoder
        self._statistics = statistics
        self.samples = 0
        self.unlabelled = 0
        self.is_over = False

    def collect(self) -> None:
        """Take in what the source has now."""
        if self.is_over:
            return
        samples = self._source.read()
        if samples is None:
            self.is_over = True
            return
        self.samples += len(samples.time)
        windows = self._windower.push(samples)
        known = windows.label >= 0
        self.unlabelled += int(len(known) - known.sum())
        statistics = self._statistics()
        if statistics is None:
            self._keep(windows, known)
        elif len(known):
            statistics.add(self._features.extract(windows.values), windows.label)

    def _keep(self, windows: Windows, known: NDArray[np.bool_]) -> None:
        usable = np.ones_like(known) if self._autoencoder else known
        for holdout in (False, True):
            chosen = usable & (windows.holdout == holdout)
            if chosen.any():
                rows = self._features.extract(windows.values[chosen])
                self._dataset.add(rows, rows if self._autoencoder else windows.label[chosen], holdout)
