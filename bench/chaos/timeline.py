"""A picture of what went wrong when, and of what became of the accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np

from bench.chaos.schedule import KINDS

if TYPE_CHECKING:
    from bench.chaos import Run

mpl.use("Agg")
from matplotlib import pyplot as plt

_COLOURS = ("#1f77b4", "#c44e52", "#8c6bb1")


def draw(runs: Sequence[tuple[str, Run]], path: Path) -> None:
    """Draw the accuracy of each run over its time, and below it the faults of the second, a row a kind."""
    figure, (above, below) = plt.subplots(
        2, 1, sharex=True, figsize=(11, 6.5), dpi=110, gridspec_kw={"height_ratios": [3, 2]}
    )
    for (name, run), colour in zip(runs, _COLOURS, strict=True):
        above.plot(run.times, [np.mean(each) for each in run.reached], color=colour, lw=1.8, label=name)
        above.fill_between(
            run.times, [min(e) for e in run.reached], [max(e) for e in run.reached], color=colour, alpha=0.12, lw=0
        )
    above.set(ylabel="accuracy of all peers' estimates\n(band: worst to best)", ylim=(0.0, 1.0))
    above.grid(axis="y", alpha=0.25)
    above.legend(loc="lower right", frameon=False)
    faults = runs[1][1].faults
    for row, kind in enumerate(KINDS):
        spans = [(fault.at, max(fault.seconds, 0.5)) for fault in faults if fault.kind == kind]
        below.broken_barh(spans, (row - 0.4, 0.8), color=_COLOURS[1])
    below.set_yticks(range(len(KINDS)), KINDS)
    below.set(xlabel="seconds", ylim=(len(KINDS) - 0.5, -0.5))
    for axes in (above, below):
        axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    plt.close(figure)
