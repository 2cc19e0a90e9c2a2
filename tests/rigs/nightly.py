"""How much a test does: little for every change, a lot in ``make nightly``."""

import itertools
import os
from collections.abc import Iterable

TORCH_PYTHON = os.environ.get("LEARNAE_TORCH_PYTHON", "")


def how_many(each_time: int, nightly: int) -> int:
    """``each_time``, or ``nightly`` with LEARNAE_NIGHTLY=1."""
    return nightly if os.environ.get("LEARNAE_NIGHTLY") == "1" else each_time


def combinations(*axes: Iterable[str]) -> list[tuple[str, ...]]:
    """All combinations in ``make nightly``, else so few that every two values of different axes meet in one.

    Greedy: next comes the combination in which the most pairs meet for the first time.
    """
    every = list(itertools.product(*axes))
    pairs = {case: set(itertools.combinations(enumerate(case), 2)) for case in every}
    chosen, missing = [], set[object]().union(*pairs.values())
    while missing:
        chosen.append(max(every, key=lambda case: len(pairs[case] & missing)))
        missing -= pairs[chosen[-1]]
    return every[: how_many(0, len(every))] or chosen
