"""A picture of the race: accuracy by epochs, and by bytes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl

from bench.rigs.pictures import COLOURS, save

if TYPE_CHECKING:
    from bench.race.splits import Course

mpl.use("Agg")
from matplotlib import pyplot as plt

_FLOAT_BYTES = 4


def draw(
    split: str, federated: Sequence[float], pooled: Sequence[float], courses: Sequence[Course], path: Path
) -> None:
    """Draw the worst peer of each of ``courses`` beside the baselines' accuracies after each epoch."""
    figure, (by_epochs, by_bytes) = plt.subplots(1, 2, sharey=True, figsize=(11, 4.5), dpi=110)
    epochs = range(1, len(federated) + 1)
    frame = _FLOAT_BYTES * len(courses[0].swarm.runners[0].looks[0].estimate) / 1000
    by_epochs.plot(epochs, pooled, color="black", ls=":", label="all rows in one place")
    by_epochs.plot(epochs, federated, color="grey", ls="--", label="averaging in rounds")
    by_bytes.plot([frame * each for each in epochs], federated, color="grey", ls="--")
    for course, colour in zip(courses, COLOURS, strict=False):
        worst = min(range(len(course.curves)), key=lambda peer: course.curves[peer][-1])
        runner, curve = course.swarm.runners[worst], course.curves[worst]
        by_epochs.plot(
            [look.steps / runner.epoch for look in runner.looks], curve, color=colour, label=course.plan.name
        )
        by_bytes.plot([look.bytes_out / 1000 for look in runner.looks], curve, color=colour)
    lowest = min(federated[0], *(curve[1] for course in courses for curve in course.curves if len(curve) > 1))
    by_epochs.set(xlabel="own epochs", ylabel=f"accuracy of the worst peer, {split}", ylim=(lowest, None))
    by_bytes.set(xlabel="kB put out", xscale="log")
    by_epochs.legend(loc="lower right", frameon=False)
    save(figure, path)
