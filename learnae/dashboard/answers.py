"""How the model errs on the own held-out rows: confusion of classes, or sizes of errors. Bounded in what it costs."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learnae.basics.light_numpy import unique
from learnae.models.dataset import Rows
from learnae.models.losses import reconstruction_error
from learnae.models.reference.numpy_model import predict
from learnae.swarm.manifest import Manifest
from learnae.weights.codecs import Vector

Array = NDArray[Any]

_MOST_ROWS, _FEWEST_ROWS = 1000, 50
_MOST_PRODUCTS = 5e7  # of weights and rows, looked at once
_LEAST_PAUSE, _SHARE = 5.0, 0.01  # seconds from one look to the next; of the time, at most, goes to this
_MOST_CLASSES = 40  # of which each pair is told
_QUANTILES = (0.5, 0.9, 0.99)


class Answers:
    """Looks at the answers of an estimate to rows ``held_out``, now and then; ``text`` names the classes.

    A model that only Keras computes is not looked at.
    """

    def __init__(
        self, manifest: Manifest, held_out: Rows | None, seconds: Callable[[], float] = time.monotonic
    ) -> None:
        self._manifest = manifest
        self._held_out = None if manifest.only_keras else held_out
        self._seconds = seconds
        self._due = float("-inf")
        self._seen: Vector | None = None
        self._found: dict[str, Any] | None = None

    def of(self, estimate: Vector) -> dict[str, Any] | None:
        """Return what is known of the answers of ``estimate`` (count,); None without rows."""
        begun = self._seconds()
        if self._held_out is not None and len(self._held_out) and begun >= self._due and self._seen is not estimate:
            self._found = self._look(estimate, self._held_out)
            self._seen, ended = estimate, self._seconds()
            self._due = ended + max(_LEAST_PAUSE, (ended - begun) / _SHARE)
        return self._found

    def _look(self, estimate: Vector, held_out: Rows) -> dict[str, Any]:
        most = int(min(_MOST_ROWS, max(_FEWEST_ROWS, _MOST_PRODUCTS / len(estimate))))
        total = len(held_out)
        chosen = unique(np.linspace(0, total - 1, min(most, total)).astype(int))
        rows, targets = held_out.rows[chosen], held_out.targets[chosen]
        with np.errstate(all="ignore"):  # a model that has diverged
            output = predict(self._manifest.definition, estimate, rows)
            found: dict[str, Any] = {"rows": len(rows), "of": total}
            if self._manifest.class_count:
                return found | self._confusion(output, targets)
            errors = np.abs(output.reshape(len(rows), -1) - targets.reshape(len(rows), -1)).mean(1)
            if self._manifest.is_autoencoder:
                errors = reconstruction_error(output, rows)
            return found | {"errors": [[share, float(np.quantile(errors, share))] for share in _QUANTILES]}

    def _confusion(self, output: Array, targets: Array) -> dict[str, Any]:
        count = self._manifest.class_count
        flat = output.reshape(len(output), -1)
        guessed = (flat[:, 0] > 0.5).astype(int) if flat.shape[1] == 1 else flat.argmax(1)
        true = targets.reshape(len(output), -1)[:, 0].astype(int)
        pairs = np.zeros((count, count), int)
        np.add.at(pairs, (np.clip(true, 0, count - 1), np.clip(guessed, 0, count - 1)), 1)
        names = [*self._manifest.classes, *map(str, range(len(self._manifest.classes), count))]
        totals = pairs.sum(1)
        recall = [int(pairs[place, place]) / int(n) if n else None for place, n in enumerate(totals)]
        return {
            "classes": names,
            "counts": totals.tolist(),
            "recall": recall,
            "pairs": pairs.tolist() if count <= _MOST_CLASSES else None,
        }
