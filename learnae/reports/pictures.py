"""Pictures of what was measured, by matplotlib."""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

from learnae.basics.peer_names import harmless
from learnae.models.scores.classes import BINS
from learnae.reports.contributions import Contribution
from learnae.reports.evaluation import ClassFigures, Evaluation, OutputFigures, ValueFigures
from learnae.system.atomic_files import write_atomic

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

_MOST_NAMED = 40  # classes whose names fit beside a picture
_MOST_NUMBERED = 12
_BARS = 40
_BLUE, _RED, _GREY = "#1f77b4", "#c44e52", "#4c4c4c"


def draw_evaluation(title: str, found: Evaluation, path: Path) -> None:
    """Write a PNG file: who is taken for whom and how sure, or errors of outputs and rows. Raises NotWrittenError."""
    figures = found.figures
    picture, (left, right) = plt.subplots(1, 2, figsize=(11, 4.8), dpi=110)
    with _written(picture, path):
        if isinstance(figures, ClassFigures):
            _draw_table(left, figures)
            _draw_reliability(right, figures)
        elif isinstance(figures, OutputFigures):
            _bars(left, "recall", figures.names, [each.recall or 0.0 for each in figures.outputs])
            _bars(right, "precision", figures.names, [each.precision or 0.0 for each in figures.outputs])
        else:
            _bars(left, "mean absolute error", figures.names, figures.errors.mae().tolist())
            _draw_spread(right, figures)
        for axes in (left, right):
            axes.spines[["top", "right"]].set_visible(False)
        picture.suptitle(_plain(f"{title}: {found.rows:,} rows"))


def draw_contributions(title: str, found: Sequence[Contribution], path: Path) -> None:
    """Write a PNG file: a bar a peer, and where the middle half of its raters lie. Raises NotWrittenError."""
    known = [(each.shown, each.score) for each in found if each.score is not None][:_MOST_NAMED]
    picture, axes = plt.subplots(figsize=(8, 1.6 + 0.32 * max(len(known), 3)), dpi=110)
    with _written(picture, path):
        values = [score.usefulness for _, score in known]
        axes.barh(range(len(known)), values, color=[_BLUE if value >= 0 else _RED for value in values])
        for place, (_, score) in enumerate(known):
            axes.plot([score.low, score.high], [place, place], color=_GREY, lw=1.5, marker="|")
        axes.axvline(1, color=_GREY, lw=1, ls="--")
        axes.set_yticks(range(len(known)), [_plain(shown) for shown, _ in known], fontsize=8)
        axes.invert_yaxis()
        axes.set_xlabel("usefulness: 1 is usual, less than 0 harm", fontsize=9)
        axes.set_title(_plain(title), fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)


@contextmanager
def _written(picture: Figure, path: Path) -> Iterator[None]:
    """Write what is drawn meanwhile as a PNG file, and let go of it however that ends. Raises NotWrittenError."""
    try:
        yield
        picture.tight_layout()
        drawn = io.BytesIO()
        picture.savefig(drawn, format="png")
    finally:
        plt.close(picture)
    write_atomic(path, drawn.getvalue())


def _plain(text: str) -> str:
    """Return a text that matplotlib draws as it is: between dollar signs it reads mathematics."""
    return harmless(text).replace("$", r"\$")


def _draw_table(axes: Any, figures: ClassFigures) -> None:
    axes.set_title("rows of a class, taken for", fontsize=10)
    if figures.table is None:
        axes.text(0.5, 0.5, f"{len(figures.names)} classes", ha="center")
        return
    rows = figures.table.sum(axis=1, keepdims=True)
    shares = np.divide(figures.table, rows, out=np.zeros(figures.table.shape), where=rows > 0)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if len(figures.names) <= _MOST_NAMED:
        names = [_plain(name) for name in figures.names]
        axes.set_xticks(range(len(names)), names, rotation=45, ha="right", fontsize=8)
        axes.set_yticks(range(len(names)), names, fontsize=8)
    if len(figures.names) <= _MOST_NUMBERED:
        for (row, column), share in np.ndenumerate(shares):
            color = "white" if share > 0.5 else "black"
            axes.text(column, row, f"{figures.table[row, column]}", ha="center", va="center", color=color, fontsize=8)


def _draw_reliability(axes: Any, figures: ClassFigures) -> None:
    sure = figures.calibration
    there = sure.rows > 0
    axes.set_title(f"as sure as it is right, but for {sure.error:.3f}", fontsize=10)
    axes.plot([0, 1], [0, 1], color=_GREY, lw=1, ls="--")
    places = (np.arange(BINS) + 0.5) / BINS
    axes.bar(places, sure.rows / sure.rows.sum(), 1 / BINS, color=_BLUE, alpha=0.15, label="share of rows")
    confidence, right = sure.confidence[there] / sure.rows[there], sure.right[there] / sure.rows[there]
    axes.plot(confidence, right, "o-", color=_BLUE, label="right")
    axes.set(xlabel="how sure the model is", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
    axes.legend(loc="upper left", frameon=False, fontsize=8)


def _bars(axes: Any, title: str, names: tuple[str, ...], values: list[float]) -> None:
    axes.set_title(title if len(names) <= _BARS else f"{title}, the first {_BARS} outputs", fontsize=10)
    shown = [_plain(name) for name in names[:_BARS]]
    axes.barh(range(len(shown)), values[:_BARS], color=_BLUE)
    axes.set_yticks(range(len(shown)), shown, fontsize=8)
    axes.invert_yaxis()


def _draw_spread(axes: Any, figures: ValueFigures) -> None:
    axes.set_title("anomaly scores" if figures.are_scores else "absolute errors", fontsize=10)
    axes.bar(list(figures.spread), list(figures.spread.values()), color=_RED)
    axes.set(xlabel="share of rows", ylabel="at most")
