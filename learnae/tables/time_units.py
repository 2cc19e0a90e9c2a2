"""Units of times in columns, and what tells a date and a gap."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

AUTO = ""
SAMPLES = "samples"
SECONDS: Mapping[str, float] = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9, "min": 60.0, "h": 3600.0, "d": 86_400.0}
UNITS = (*SECONDS, SAMPLES)
GAP_PERIODS = 1.5  # a pause of more sample periods is a gap, and ends a window
CENTURY = 946_684_800.0, 4_102_444_800.0  # seconds since 1970: the years 2000 and 2100


def is_date(seconds: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which seconds (n,) are of this century if they count from 1970: others count from somewhere else."""
    return seconds >= CENTURY[0]
