"""Scores of classifications: who is taken for whom, how often that is right, and how sure the model is of it. Pure."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Counts = NDArray[np.int64]
BINS = 10  # of confidence: as many as people read


@dataclass(frozen=True, slots=True)
class ClassScore:
    """How well one class is found: of its ``rows``, and of those that were ``said`` to be of it.

    None stands for a share of nothing: recall and F1 of a class without rows, precision of one that is never said.
    """

    rows: int
    said: int
    recall: float | None
    precision: float | None
    f1: float | None


def confusion(said: Array, actual: Array, count: int) -> Counts:
    """Return (count, count) how many rows of each class, down, were taken for which, across.

    ``said`` and ``actual`` (n,) are numbers of classes, from 0 to ``count`` - 1.

    >>> confusion(np.array([0, 1, 1]), np.array([0, 0, 1]), 2).tolist()
    [[1, 1], [0, 1]]
    """
    flat = np.bincount(actual.astype(np.int64) * count + said, minlength=count * count)
    return flat.reshape(count, count)


def class_scores(table: Counts) -> list[ClassScore]:
    """Return the score of each class of a confusion ``table``.

    >>> class_scores(np.array([[3, 1, 0], [0, 4, 0], [0, 0, 0]]))[0]
    ClassScore(rows=4, said=3, recall=0.75, precision=1.0, f1=0.8571428571428571)
    >>> class_scores(np.array([[3, 1, 0], [0, 4, 0], [0, 0, 0]]))[2]
    ClassScore(rows=0, said=0, recall=None, precision=None, f1=None)
    """
    each = zip(np.diagonal(table).tolist(), table.sum(axis=1).tolist(), table.sum(axis=0).tolist(), strict=True)
    return [class_score(right, rows, said) for right, rows, said in each]


def class_score(right: int, rows: int, said: int) -> ClassScore:
    """Return the score of a class with ``rows``, of which ``right`` were found, and which was ``said`` so often."""
    f1 = 2 * right / (rows + said) if rows else None
    return ClassScore(rows, said, _share(right, rows), _share(right, said), f1)


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def roc_auc(scores: Array, positive: Array) -> float | None:
    """Return how likely a positive row has a higher one of ``scores`` (n,) than another row; of ties, half count.

    This is the area under the curve of true over false positives, exactly (Hanley & McNeil 1982): pairs are counted
    in whole numbers. ``positive`` (n,) is true or false. None unless there are rows of both kinds.

    >>> roc_auc(np.array([0.9, 0.8, 0.8, 0.1]), np.array([True, False, True, False]))
    0.875
    """
    positive = np.asarray(positive, np.bool_)
    _, places = np.unique(scores, return_inverse=True)
    places = places.reshape(-1)
    found = np.bincount(places[positive], minlength=1)
    others = np.bincount(places[~positive], minlength=1)
    size = max(len(found), len(others))
    found, others = (np.pad(each, (0, size - len(each))).astype(np.int64) for each in (found, others))
    pairs = int(found.sum()) * int(others.sum())
    if not pairs:
        return None
    below = np.cumsum(others) - others
    doubled = int(np.sum(found * (2 * below + others)))  # 64 bits hold the pairs of three billion rows
    return doubled / (2 * pairs)


@dataclass(frozen=True, slots=True)
class Reliability:
    """Rows (bins,) by how sure the model was of them: how many, the sum of their confidences, how many were right."""

    rows: Counts
    confidence: NDArray[np.float64]
    right: Counts

    def __add__(self, other: "Reliability") -> "Reliability":
        """Return both together."""
        return Reliability(self.rows + other.rows, self.confidence + other.confidence, self.right + other.right)

    @property
    def error(self) -> float | None:
        """Return the expected calibration error: how far confidence and accuracy are apart, mean over rows.

        Guo et al. 2017, eq. 3. None without rows.
        """
        rows = int(self.rows.sum())
        return float(np.abs(self.confidence - self.right).sum() / rows) if rows else None


def reliability(confidence: Array, right: Array, bins: int = BINS) -> Reliability:
    """Return rows by ``confidence`` (n,), from 0 to 1, in bins of equal width; ``right`` (n,) is true or false.

    A bin holds its upper edge, as in Guo et al. 2017; the first one also 0.

    >>> found = reliability(np.array([0.75, 1.0, 0.5]), np.array([True, True, False]), bins=4)
    >>> found.rows.tolist(), found.right.tolist(), found.error
    ([0, 1, 1, 1], [0, 0, 1, 1], 0.25)
    """
    exact = np.asarray(confidence, np.float64)
    places = np.clip(np.ceil(exact * bins).astype(np.int64) - 1, 0, bins - 1)
    return Reliability(
        np.bincount(places, minlength=bins),
        np.bincount(places, exact, minlength=bins).astype(np.float64),
        np.bincount(places[np.asarray(right, np.bool_)], minlength=bins),
    )
