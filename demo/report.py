"""What the demo leaves behind: curves as PNG, and one HTML page that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib as mpl

from learnae.peer.learning.personal import Choice
from learnae.reports.page import heading, image, page, paragraph, table

mpl.use("Agg")
from matplotlib import pyplot as plt


@dataclass
class Curves:
    """Readings over time: seconds, accuracy of the consensus estimate on everybody's held-out windows."""

    seconds: list[float] = field(default_factory=list)
    together: list[float] = field(default_factory=list)
    messages: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Result:
    """Accuracies on everybody's held-out windows; ``alone`` and ``together`` one a peer, ``own`` on its own ones."""

    alone: list[float]
    together: list[float]
    pooled: float
    own: list[Own]
    seconds: float
    messages: int
    bytes_in: int


@dataclass(frozen=True)
class Own:
    """How good the swarm's model, ``common``, and the ``chosen`` one are for one person; ``model`` says which it is.

    Each of the rows is judged by a choice that was made without it.
    """

    common: float
    chosen: float
    model: str

    @classmethod
    def of(cls, choice: Choice) -> Own:
        """Return what is shown of a choice."""
        assert choice.common is not None
        assert choice.score is not None
        return cls(choice.common, choice.score, choice.name)


def spread(own: Sequence[Own]) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the worst, and the best less the worst, each of the common model and of the chosen ones.

    >>> spread([Own(0.75, 0.75, "common"), Own(0.5, 1.0, "tuned")])
    ((0.5, 0.75), (0.25, 0.25))
    """
    columns = [each.common for each in own], [each.chosen for each in own]
    (common, chosen), (most, best) = map(min, columns), map(max, columns)
    return (common, chosen), (most - common, best - chosen)


def draw(curves: Curves, result: Result, path: Path) -> None:
    """Draw the swarm's accuracy over time, between alone and pooled."""
    figure, axes = plt.subplots(figsize=(9, 4.8), dpi=110)
    alone = sum(result.alone) / len(result.alone)
    axes.axhspan(min(result.alone), max(result.alone), color="#c44e52", alpha=0.12, lw=0)
    axes.axhline(alone, color="#c44e52", lw=1.5, label=f"each alone, mean {alone:.3f} (band: worst to best)")
    axes.axhline(result.pooled, color="#4c4c4c", lw=1.5, ls="--", label=f"all data in one place {result.pooled:.3f}")
    reached = f"{min(result.together):.3f} to {max(result.together):.3f}"
    axes.plot(
        curves.seconds, curves.together, color="#1f77b4", lw=2.2, label=f"together, raw data stays home {reached}"
    )
    axes.set(xlabel="seconds of training", ylabel="accuracy on everybody's held-out windows", ylim=(0.1, 1.0))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.25)
    axes.legend(loc="lower right", frameon=False)
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)


def write_page(result: Result, names: list[str], picture: Path, path: Path) -> None:
    """Write the report: the picture inside, a table below."""
    columns = list(zip(names, result.alone, result.together, strict=True))
    rows = [
        [name, f"{alone:.3f}", f"{together:.3f}", f"{(together - alone) * 100:+.1f}"]
        for name, alone, together in columns
    ]
    rows.append(["all data in one place", "", f"{result.pooled:.3f}", ""])
    own = [
        [name, f"{each.common:.3f}", f"{each.chosen:.3f}", each.model]
        for name, each in zip(names, result.own, strict=True)
    ]
    for word, figures in zip(("worst", "best less worst"), spread(result.own), strict=True):
        own.append([word, *(f"{figure:.3f}" for figure in figures), ""])
    parts = [
        paragraph(
            "Eight people, eight peers, seven exercises. Every peer saw only its own person's motion, and only model "
            f"updates left it: {result.messages:,} messages and their weights, {result.bytes_in / 1e6:.1f} MB taken in "
            f"by all peers together, in {result.seconds:.0f} seconds."
        ),
        image(picture.read_bytes(), "png", "accuracy over time"),
        table("", ["peer", ">alone", ">together", ">points won"], rows),
        paragraph(
            "Accuracy on the held-out windows of all eight people: the last 30 % of each exercise, in time. Data: see "
            "the notice beside shoulder-imu.npz."
        ),
        heading("Each person's own"),
        table("", ["peer", ">common model", ">own model", "which it is"], own),
        paragraph(
            "Accuracy on each person's own held-out windows. A peer takes the common model, a copy of it that is "
            "trained on with own rows, or one of own rows alone, whichever is best on own held-out windows; each "
            "window is judged by a choice made without it. Nothing of own models, and none of these figures, leaves a "
            "machine: here all peers are on one."
        ),
    ]
    path.write_text(page("Alone and together", parts), encoding="utf-8")
