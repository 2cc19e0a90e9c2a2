"""What the demo leaves behind: curves as PNG, and one HTML page that needs nothing else."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib as mpl

from learnae.peer.learning.personal import Choice

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
    image = base64.b64encode(picture.read_bytes()).decode()
    rows = "".join(
        f"<tr><td>{html.escape(name)}<td>{alone:.3f}<td>{together:.3f}<td>+{(together - alone) * 100:.1f}"
        for name, alone, together in zip(names, result.alone, result.together, strict=True)
    )
    worst, apart = spread(result.own)
    own = "".join(
        f"<tr><td>{html.escape(name)}<td>{each.common:.3f}<td>{each.chosen:.3f}<td>{html.escape(each.model)}"
        for name, each in zip(names, result.own, strict=True)
    )
    path.write_text(
        f"""<!doctype html><meta charset="utf-8"><title>Learnae: alone and together</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}}
table{{border-collapse:collapse}}td,th{{padding:.2rem .9rem;text-align:right;border-bottom:1px solid #ddd}}
td:first-child,th:first-child{{text-align:left}}img{{max-width:100%}}</style>
<h1>Alone and together</h1>
<p>Eight people, eight peers, seven exercises. Every peer saw only its own person's motion, and only
model updates left it: {result.messages:,} messages and their weights, {result.bytes_in / 1e6:.1f} MB taken in by all
peers together, in {result.seconds:.0f} seconds.</p>
<img alt="accuracy over time" src="data:image/png;base64,{image}">
<table><tr><th>peer<th>alone<th>together<th>points won{rows}
<tr><th>all data in one place<th><th>{result.pooled:.3f}<th></table>
<p>Accuracy on the held-out windows of all eight people: the last 30 % of each exercise, in time.
Data: see the notice beside <code>shoulder-imu.npz</code>.</p>
<h2>Each person's own</h2>
<table><tr><th>peer<th>common model<th>own model<th>which it is{own}
<tr><th>worst<th>{worst[0]:.3f}<th>{worst[1]:.3f}<th>
<tr><th>best less worst<th>{apart[0]:.3f}<th>{apart[1]:.3f}<th></table>
<p>Accuracy on each person's own held-out windows. A peer takes the common model, a copy of it that is trained on with
own rows, or one of own rows alone, whichever is best on own held-out windows; each window is judged by a choice made
without it. Nothing of own models, and none of these figures, leaves a machine: here all peers are on one.</p>
""",
        encoding="utf-8",
    )
