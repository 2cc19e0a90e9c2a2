"""The columns of a table of peers, for terminals and for pages: what was said of each, in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from learnae.text import decimal, significant

if TYPE_CHECKING:
    from learnae.runtime.observer import PeerView

Scores = tuple[float | None, float | None, float | None]  # accuracy, R², mean absolute error
Columns = tuple[list[str], list[list[str]]]  # their names, > before those that are aligned to the right; and each row's


def score_columns(measured: Sequence[Scores]) -> Columns:
    """Return the columns of how good models are, of classes or of values, or both, and each one's cells.

    >>> score_columns([(0.5, None, None)])
    (['>accuracy'], [['0.500']])
    >>> score_columns([(0.5, None, None), (None, 0.25, 3.0)])
    (['>accuracy', '>R²', '>MAE'], [['0.500', '-', '-'], ['-', '0.250', '3.000']])
    """
    of_values = any(mae is not None for _, _, mae in measured)
    of_classes = not of_values or any(accuracy is not None for accuracy, _, _ in measured)
    columns = [">accuracy"] * of_classes + [">R²", ">MAE"] * of_values
    cells = [
        [decimal(accuracy)] * of_classes + [decimal(r2), significant(mae)] * of_values for accuracy, r2, mae in measured
    ]
    return columns, cells


def epsilon_column(epsilons: Sequence[float | None]) -> Columns:
    """Return the column of what is spent of differential privacy, rounded up, and its cells; nothing if all are None.

    >>> epsilon_column([3.9812, None])
    (['>epsilon'], [['3.99'], ['-']])
    >>> epsilon_column([None])
    ([], [[]])
    """
    if all(epsilon is None for epsilon in epsilons):
        return [], [[] for _ in epsilons]
    return [">epsilon"], [["-" if value is None else f"{math.ceil(100 * value) / 100:.2f}"] for value in epsilons]


class OwnModel(NamedTuple):
    """How good the model that serves one machine alone is on own held-out rows, ``score``, and which one it is."""

    score: float
    model: str


def own_columns(models: Sequence[OwnModel | None]) -> Columns:
    """Return the columns of the models that serve one machine alone, and their cells; nothing if all are None.

    >>> own_columns([OwnModel(0.9514, "tuned"), None])
    (['>own', 'model'], [['0.951', 'tuned'], ['-', '-']])
    >>> own_columns([None])
    ([], [[]])
    """
    if all(own is None for own in models):
        return [], [[] for _ in models]
    return [">own", "model"], [[decimal(own.score), own.model] if own else ["-", "-"] for own in models]


def peer_columns(peers: Sequence[PeerView], own: Mapping[str, OwnModel] = MappingProxyType({})) -> Columns:
    """Return the columns that tell of peers, without their names, and each one's cells.

    ``own`` is of those peers, by key, whose models for themselves are known here.
    """
    scores, scored = score_columns([(view.accuracy, view.r2, view.mae) for view in peers])
    own_scores, own_scored = own_columns([own.get(view.peer) for view in peers])
    privacy, spent = epsilon_column([view.epsilon for view in peers])
    cells = [
        [
            view.peer[:8],
            view.role,
            view.version,
            "summary" if view.summary else f"{view.steps:,}",
            "private" if view.epsilon is not None else f"{'~' if view.summary else ''}{view.samples:,}",
            significant(view.loss),
            *of_swarm,
            *of_own,
            *epsilon,
        ]
        for view, of_swarm, of_own, epsilon in zip(peers, scored, own_scored, spent, strict=True)
    ]
    return ["key", "role", "version", ">steps", ">rows", ">loss", *scores, *own_scores, *privacy], cells
