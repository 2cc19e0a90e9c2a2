"""Samples without a label, and without anything: every stage of the agent knows both."""

from __future__ import annotations

import numpy as np

from learnae.ports import Samples

UNKNOWN = -1  # the label of readings whose class is not known


def nothing(channels: int) -> Samples:
    """Return no readings, of so many ``channels``."""
    return Samples.unmarked(np.zeros(0), np.zeros((0, channels), np.float32), UNKNOWN)
