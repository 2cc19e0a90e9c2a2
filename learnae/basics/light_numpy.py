"""What NumPy's functions of these names do, without ``numpy.ma`` and ``numpy.linalg``: 3 MB that a board would load."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def quantile(values: ArrayLike, share: float) -> float:
    """Return the ``share`` quantile of ``values`` (n,), n > 0, between the two nearest as numpy.quantile does.

    >>> quantile([1.0, 2.0, 4.0], 0.75)
    3.0
    """
    ordered = np.sort(np.asarray(values, np.float64), axis=None)
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return float(ordered[low] + (place - low) * (ordered[high] - ordered[low]))


def median(values: ArrayLike) -> float:
    """Return the median of ``values`` (n,), n > 0.

    >>> median([3.0, 1.0, 2.0, 8.0])
    2.5
    """
    return quantile(values, 0.5)


def medians_of(rows: ArrayLike) -> NDArray[np.float64]:
    """Return the median of each column (columns,) of ``rows`` (n, columns), n > 0."""
    ordered = np.sort(np.asarray(rows, np.float64), axis=0)
    return np.asarray((ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2)


def unique(values: ArrayLike) -> NDArray[Any]:
    """Return the different ``values``, sorted.

    >>> unique([2, 1, 2])
    array([1, 2])
    """
    found, _ = np.unique(np.asarray(values), return_counts=True)
    return np.asarray(found)


def norm(values: ArrayLike) -> float:
    """Return the Euclidean norm of ``values``, of any shape, bit for bit that of ``numpy.linalg.norm``.

    >>> norm([3.0, 4.0])
    5.0
    """
    flat = np.asarray(values).ravel(order="K")
    return float(np.sqrt(flat.dot(flat)))


def norms_of(rows: NDArray[np.floating], axis: int) -> NDArray[np.floating]:
    """Return the Euclidean norms of ``rows`` along an axis, which stays with length 1."""
    return np.asarray(np.sqrt(np.add.reduce(rows * rows, axis=axis, keepdims=True)))
