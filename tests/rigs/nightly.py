"""How much a test does: little for every change, a lot in ``make nightly``."""

from __future__ import annotations

import os


def how_many(each_time: int, nightly: int) -> int:
    """``each_time``, or ``nightly`` with LEARNAE_NIGHTLY=1."""
    return nightly if os.environ.get("LEARNAE_NIGHTLY") == "1" else each_time
