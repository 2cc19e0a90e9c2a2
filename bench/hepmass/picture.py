"""A picture of learning while links are down: one peer's estimate by its steps."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl

from bench.hepmass.swarms import Plan, Reached
from bench.rigs.pictures import COLOURS, save

mpl.use("Agg")
from matplotlib import pyplot as plt


def draw(name: str, reached: Mapping[Plan, Reached], path: Path) -> None:
    """Draw the AUC of one peer's estimate in each swarm, and what all rows in one place give; ``name`` says of what."""
    figure, axes = plt.subplots(figsize=(7.5, 4.5), dpi=110)
    swarms = {plan: each for plan, each in reached.items() if plan.peers > 1}
    for (plan, each), colour in zip(swarms.items(), COLOURS, strict=False):
        steps, aucs = zip(*each.course, strict=True)
        axes.plot([plan.steps * share for share in steps], aucs, marker=".", color=colour, label=plan.name)
    for plan, each in reached.items():
        if plan.peers == 1:
            axes.axhline(each.worst, color="black", ls=":", label=f"all rows in one place, {plan.steps:,} steps")
    axes.set(title=name, xlabel="own steps", ylabel="AUC of one peer's estimate")
    axes.legend(loc="lower right", frameon=False)
    save(figure, path)
