"""The switch of an agent that cannot train, or shall not: from then on it sends summaries."""

from __future__ import annotations

import logging

from learnae.samples.dp_statistics import Statistics
from learnae.swarm.features import Features

log = logging.getLogger("learnae")

_ENOUGH = 200  # windows without a label and none with one: nobody labels here
NO_LABELS = "nobody labels what it measures"


class SummaryMode:
    """``reason`` says why this agent only looks on; empty while it trains.

    ``statistics`` are of all windows since then, labelled or not; None while it trains. Fits
    peer.Options.statistics and the Collector.
    """

    def __init__(self, features: Features, classes: int) -> None:
        self.reason = ""
        self._columns = features.shape[-1]
        self._classes = classes
        self._statistics: Statistics | None = None

    def begin(self, reason: str) -> None:
        """Send summaries from now on, because of ``reason``, which is logged once."""
        if not self.reason:
            self.reason = reason
            self._statistics = Statistics(self._columns, self._classes)
            log.warning("this agent does not train, it sends summaries: %s", reason)

    def note_labels(self, labelled: int, unlabelled: int) -> None:
        """So many windows have come: without any label there is nothing to train on, until there is one."""
        if not labelled and unlabelled >= _ENOUGH:
            self.begin(NO_LABELS)
        elif labelled and self.reason == NO_LABELS:
            log.info("there are labels: this agent trains")
            self.reason, self._statistics = "", None

    def statistics(self) -> Statistics | None:
        """What is to be summarised; None while the agent trains."""
        return self._statistics
