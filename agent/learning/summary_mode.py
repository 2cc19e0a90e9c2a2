"""The switch of an agent that cannot train, or shall not: it then sends summaries."""

from __future__ import annotations

import logging

from learnae.samples.dp_statistics import Statistics
from learnae.swarm.features import Features

_log = logging.getLogger(__name__)

_ENOUGH = 200  # windows without a label and none with one: this agent has no labels
NO_LABELS = "nobody labels what it measures"


class SummaryMode:
    """Says, in ``reason``, why this agent only sends summaries; empty while it trains.

    ``statistics`` are of all windows since then, labelled or not; None while it trains: as Options.statistics.
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
            _log.warning("this agent does not train, it sends summaries: %s", reason)

    def note_labels(self, labelled: int, unlabelled: int) -> None:
        """Begin when enough windows have come without any label to train on; end with the first label."""
        if not labelled and unlabelled >= _ENOUGH:
            self.begin(NO_LABELS)
        elif labelled and self.reason == NO_LABELS:
            _log.info("there are labels: this agent trains")
            self.reason, self._statistics = "", None

    def statistics(self) -> Statistics | None:
        """Return what is to be summarised; None while the agent trains."""
        return self._statistics
