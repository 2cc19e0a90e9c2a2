"""From a source's samples to rows that the learner sees. Everything here stays on this machine."""

from __future__ import annotations

import numpy as np

from learnae.features import Features
from learnae.models.dataset import Dataset
from learnae.ports import SampleSource
from learnae.windows import Windower


class Collector:
    """Reads a source, cuts windows, computes features, fills the dataset.

    The targets are the windows' labels, or the rows themselves for an ``autoencoder``, which learns from
    unlabelled windows as well.
    """

    def __init__(self, source: SampleSource, features: Features, dataset: Dataset, autoencoder: bool = False) -> None:
        self._source = source
        self._features = features
        self._windower = Windower(features)
        self._dataset = dataset
        self._autoencoder = autoencoder
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
        usable = np.ones_like(known) if self._autoencoder else known
        for holdout in (False, True):
            chosen = usable & (windows.holdout == holdout)
            if chosen.any():
                rows = self._features.extract(windows.values[chosen])
                self._dataset.add(rows, rows if self._autoencoder else windows.label[chosen], holdout)
