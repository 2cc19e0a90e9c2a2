"""How the pictures of races end: the same look, and a file."""

from __future__ import annotations

from pathlib import Path

from matplotlib import pyplot as plt
from matplotlib.figure import Figure

COLOURS = ("#1f77b4", "#2a9d5c", "#c44e52", "#8c6bb1")  # of what is compared, in order


def save(figure: Figure, path: Path) -> None:
    """Write a ``figure`` with a grid and no frame, and let go of it."""
    for axes in figure.axes:
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    plt.close(figure)
