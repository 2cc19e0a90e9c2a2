"""A picture of learning while links are down: one peer's estimate by the share of its steps."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl

from bench.hepmass.swarms import Plan, Reached
from bench.rigs.pictures import COLOURS, save

mpl.use("Agg")
from matplotlib import pyplot as plt


def draw(name: str, reached: Mapping[Plan, Reached], path: Path) -> None:
    """Draw the AUC of one peer's estimate in each swarm, and what all rows in one place give; ``name`` says of what.

    Networks that get the mass have one half of the picture, those that do not the other.
    """
    figure, halves = plt.subplots(1, 2, figsize=(11, 5.5), dpi=110)
    for has_mass, axes in zip((True, False), halves, strict=True):
        shown = {plan: each for plan, each in reached.items() if plan.has_mass == has_mass and plan.seed == 1}
        swarms = [(plan, each) for plan, each in shown.items() if plan.peers > 1]
        for (plan, each), colour in zip(swarms, COLOURS, strict=False):
            shares, aucs = zip(*each.course, strict=True)
            label = f"{plan.peers} peers, {plan.split}, {plan.outages}: {plan.steps:,} steps in {plan.updates}"
            axes.plot(shares, aucs, marker=".", color=colour, label=f"{label} updates")
        for plan, each in shown.items():
            if plan.peers == 1:
                axes.axhline(each.worst, color="black", ls=":", label=f"all rows in one place, {plan.steps:,} steps")
        title = "with the mass" if has_mass else "without the mass"
        axes.set(title=f"{name}, {title}", xlabel="share of the own steps", ylabel="AUC of one peer's estimate")
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), frameon=False, fontsize=9)
    save(figure, path)
