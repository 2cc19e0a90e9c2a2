"""Inference: the swarm's model on this machine's newest windows, for people."""

import json
import math
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.labels import LabelNames
from agent.learning.collector import Judged
from agent.learning.threshold import Predict, Threshold
from learnae.basics import strict_json
from learnae.errors import StateError
from learnae.models.losses import reconstruction_error
from learnae.ports import Inference
from learnae.swarm.manifest import FORECAST, Manifest
from learnae.weights.codecs import Vector

Array = NDArray[Any]

FILE = "inference.jsonl"
_MAX_BYTES = 256 * 1024  # of each of two files: some thousand results
_OLDER_SUFFIX = ".1"


class Inferrer:
    """Turns windows into results with the learner's own way to predict; without one there are none.

    ``threshold`` decides which scores of an autoencoder are anomalies.
    """

    def __init__(self, manifest: Manifest, predict: Predict | None, threshold: Threshold) -> None:
        self._predict = predict
        self._objective = manifest.objective
        self._threshold = threshold if manifest.is_autoencoder else None
        forecasts = manifest.features if manifest.task == FORECAST else None
        # of the first channel: a forecast is given in its unit, as people know it
        self._shift, self._scale = (forecasts.shift[0], forecasts.scale[0]) if forecasts else (0.0, 1.0)
        self._forecast = forecasts.channels[0] if forecasts else ""
        self._names = LabelNames(manifest.classes, math.prod(manifest.model.output_shape))
        self.count = self.not_finite = 0
        self.last: Inference | None = None

    def infer(self, estimate: Vector, windows: Sequence[Judged], is_shown: bool = True) -> list[Inference]:
        """Return one result for each window whose row is finite, in their order; the status has the last one shown."""
        windows = [window for window in windows if np.isfinite(window.row).all()]
        if not windows or self._predict is None:
            return []
        rows = np.stack([window.row for window in windows])
        output = self._predict(estimate, rows)
        limit, why = None, ""
        if self._threshold:
            self._threshold.renew(estimate, self._predict)
            limit, why = self._threshold.value, self._threshold.why
        results = [
            Inference(window.time, label, score, limit, why, window.dated, self._forecast)
            for window, (label, score) in zip(windows, self._read(output, rows), strict=True)
            if math.isfinite(score)
        ]
        if is_shown:
            self.not_finite += len(windows) - len(results)
        if results and is_shown:
            self.count += len(results)
            self.last = results[-1]
        return results

    def status(self) -> dict[str, Any]:
        """Return the last result, and how many there have been since the start, for people.

        ``not_finite`` counts windows of which a model that has diverged says no number.
        """
        last = self.last.fields() if self.last else {"time": None, "label": None, "score": None}
        not_finite = {"not_finite": self.not_finite} if self.not_finite else {}
        return {**last, "count": self.count, **not_finite}

    def _read(self, output: Array, rows: Array) -> list[tuple[str | None, float]]:
        if self._threshold:
            return [(None, float(error)) for error in reconstruction_error(output, rows)]
        flat = output.reshape(len(output), -1)
        if not self._objective.is_classification:
            return [(None, float(value) * self._scale + self._shift) for value in flat[:, 0]]
        if flat.shape[1] == 1:
            flat = np.concatenate([1 - flat, flat], axis=1)
        best = flat.argmax(axis=1)
        return [(self._names.name(int(index)), float(row[index])) for index, row in zip(best, flat, strict=True)]


class ResultFile:
    """The last results as lines of JSON, in two files of about ``size`` bytes that take turns. Never raises."""

    def __init__(self, directory: Path, size: int = _MAX_BYTES) -> None:
        self._path = directory / FILE
        self._size = size
        self.failures = 0

    def append(self, results: Sequence[Inference]) -> None:
        """Add results; what the disk does not take is counted and gone, as newer ones follow."""
        data = b"".join(strict_json.dumps(result.fields()).encode() + b"\n" for result in results)
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            with os.fdopen(descriptor, "ab") as file:
                file.write(data)
                full = file.tell() >= self._size
            if full:
                os.replace(self._path, self._path.with_name(FILE + _OLDER_SUFFIX))
        except OSError:
            self.failures += 1


def read_results(directory: Path, count: int) -> list[Inference]:
    """Return the last ``count`` results of the agent of ``directory``, oldest first; damaged lines are passed over."""
    newer = _lines(directory / FILE)  # first: if it becomes the older one meanwhile, it is met twice, not passed over
    older = _lines(directory / (FILE + _OLDER_SUFFIX))
    lines = older if older[: len(newer)] == newer else older + newer
    results = [result for line in lines if (result := _result(line)) is not None]
    return results[-count:] if count else []


def _lines(path: Path) -> list[bytes]:
    try:
        return path.read_bytes()[-2 * _MAX_BYTES :].splitlines() if stat.S_ISREG(path.stat().st_mode) else []
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StateError(f"cannot read {path}: {error.strerror}", "run it as the agent's user") from error


def _result(line: bytes) -> Inference | None:
    try:
        fields = json.loads(line)
        label, limit, why = fields["label"], fields.get("threshold"), fields.get("no_threshold", "")
        found = Inference(
            float(fields["time"]),
            None if label is None else str(label),
            float(fields["score"]),
            None if limit is None else float(limit),
            str(why),
            bool(fields.get("dated", True)),
            str(fields.get("forecast", "")),
        )
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        return None
    return found if math.isfinite(found.time) and math.isfinite(found.score) else None
