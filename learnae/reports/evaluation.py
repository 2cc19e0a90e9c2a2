"""How good a model is on the rows of a file, piece by piece: memory holds a number or two a row."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from learnae.basics.overriding import override
from learnae.errors import DataError, ModelError
from learnae.models.dataset import Dataset, one_line_each
from learnae.models.graph import token_count
from learnae.models.losses import reconstruction_error
from learnae.models.scores.classes import (
    ClassScore,
    Counts,
    Reliability,
    class_score,
    class_scores,
    confusion,
    reliability,
    roc_auc,
)
from learnae.models.scores.values import Errors, quantiles
from learnae.samples.columns import Columns
from learnae.samples.files.examples import add_recording, open_examples
from learnae.samples.files.quality import DataQuality
from learnae.samples.recordings import Recording
from learnae.swarm.manifest import CLASSIFICATION, FORECAST, Manifest
from learnae.swarm.predictor import predictor
from learnae.weights.codecs import Vector

Array = NDArray[Any]
MOST_CLASSES = 1024  # of which it is told who is taken for whom: a million numbers
MOST_RANKED = 32  # outputs whose rows are ranked: each takes five bytes a row
_BATCH = 4096  # rows of a recording at once


@dataclass(frozen=True, slots=True)
class ClassFigures:
    """Scores of one class a row: ``table`` says which are taken for which (None beyond MOST_CLASSES).

    ``auc`` is that of the second of two classes; ``why_no_auc`` says why there is none.
    """

    names: tuple[str, ...]
    accuracy: float
    usual: int
    classes: list[ClassScore]
    table: Counts | None
    calibration: Reliability
    auc: float | None
    why_no_auc: str

    @property
    def baseline(self) -> float:
        """Return the accuracy of a model that always says the ``usual`` class, the most frequent one."""
        return self.classes[self.usual].rows / sum(each.rows for each in self.classes)

    @property
    def balanced(self) -> float:
        """Return the mean recall of the classes that have rows."""
        recalls = [each.recall for each in self.classes if each.recall is not None]
        return sum(recalls) / len(recalls)


@dataclass(frozen=True, slots=True)
class OutputFigures:
    """Scores of several answers a row, each yes or no: ``aucs`` are None where all rows are alike; none of many."""

    names: tuple[str, ...]
    accuracy: float
    outputs: list[ClassScore]
    aucs: list[float | None]


@dataclass(frozen=True, slots=True)
class ValueFigures:
    """Errors of values; ``spread`` has quantiles of the rows' mean absolute errors, or of an autoencoder's scores."""

    names: tuple[str, ...]
    errors: Errors
    spread: dict[str, float]
    are_scores: bool


@dataclass(frozen=True, slots=True)
class Evaluation:
    """``rows`` were measured and ``skipped`` not, ``why``; ``loss`` as in training, ``held_out`` if only such were.

    ``note`` names a column whose numbers were rounded before they were used; empty if none were.
    """

    rows: int
    skipped: int
    why: str
    note: str
    held_out: bool
    loss: float
    figures: ClassFigures | OutputFigures | ValueFigures


class _Tally(Protocol):
    """Takes in parts of what was said, (n, *outputs), and of the targets."""

    def add(self, said: Array, targets: Array) -> None:
        """Take in a part of at least one row."""

    def figures(self) -> ClassFigures | OutputFigures | ValueFigures:
        """Return what came of all parts."""


def evaluate(
    manifest: Manifest,
    weights: Vector,
    path: Path,
    columns: Columns,
    done: Callable[[float], None] = lambda _: None,
) -> Evaluation:
    """Measure the model with ``weights`` (count,) on the rows of a file that fit it; ``done`` is told the share read.

    Of arrays that are held out beside others (x_holdout), these alone are measured. Raises DataError without any row
    that can be, ModelError where the model says what is no number, ConfigurationError where Keras is needed and absent.
    """
    rows_of = _Reading(manifest, path, columns, done)
    predict, tally, loss, count = predictor(manifest, weights), _tally(manifest), 0.0, 0
    for rows, targets in rows_of:
        said = np.asarray(predict(rows), np.float64)
        if bad := int(np.count_nonzero(~np.isfinite(one_line_each(said)).all(axis=1))):
            raise ModelError(
                f"{path}: the model says what is no number for {bad} of {len(rows)} rows",
                "its weights have diverged, or values are far beyond those it was trained on: look at the data, or "
                "take another version (learnae versions)",
            )
        tally.add(said, targets)
        loss += manifest.objective.value(said, targets) * len(rows)
        count += len(rows)
    if not count:
        raise DataError(f"{path} has no row to measure the model on, {rows_of.skipped} were skipped", rows_of.why)
    why = rows_of.why if rows_of.skipped else ""
    return Evaluation(count, rows_of.skipped, why, rows_of.note, rows_of.held_out, loss / count, tally.figures())


class _Reading:
    """Reads a file's rows that fit, and counts the others."""

    def __init__(self, manifest: Manifest, path: Path, columns: Columns, done: Callable[[float], None]) -> None:
        self.held_out = False
        self.note = ""
        self._manifest = manifest
        self._done = done
        self._complaint = ""
        self._left_out = 0
        self._data = Dataset(
            manifest.model, manifest.objective, autoencoder=manifest.is_autoencoder, tokens=token_count(manifest.config)
        )
        self._found = open_examples(path, columns, manifest)

    @property
    def skipped(self) -> int:
        """Count the rows that cannot be measured."""
        return self._data.skipped + self._left_out

    @property
    def why(self) -> str:
        """Say what rows must be, and what was found."""
        classes = f" ({', '.join(self._manifest.classes)})" if self._manifest.classes else ""
        return "; ".join(filter(None, (self._data.demand + classes, self._complaint)))

    def __iter__(self) -> Iterator[tuple[Array, Array]]:
        """Yield rows and targets; the last share is done when all are taken."""
        found = self._found
        if isinstance(found, Recording):
            yield from self._windows(found)
            return
        quality = DataQuality(found.names)
        for chunk in found.chunks():
            self._done(chunk.done)
            if chunk.held_out is False:
                continue
            self.held_out = bool(chunk.held_out)
            quality.add(chunk)
            rows, targets = self._data.usable(chunk.rows, chunk.targets)
            if len(rows):
                yield rows, targets
        most = f"most often {quality.worst} is not" if quality.worst else ""
        self._complaint = "; ".join(filter(None, (most, found.complaint)))
        if quality.rounded:
            self.note = f"{quality.rounded} has numbers beyond 2^24, which float32 rounds, as training does"

    def _windows(self, recording: Recording) -> Iterator[tuple[Array, Array]]:
        manifest, data = self._manifest, self._data
        assert manifest.features is not None
        _, self._left_out = add_recording(data, manifest, recording, 0.0)
        if not len(data.train):
            self._complaint = recording.why_no_window(manifest.features, bool(manifest.class_count))
        for start in range(0, len(data.train), _BATCH):
            part = slice(start, start + _BATCH)
            yield data.train.rows[part], data.train.targets[part]
            self._done(min(1.0, (start + _BATCH) / len(data.train)))


def _tally(manifest: Manifest) -> _Tally:
    if manifest.class_count:
        names = manifest.classes or tuple(map(str, range(manifest.class_count)))
        return _Classes(names, is_binary=manifest.model.output_shape == (1,))
    names = _output_names(manifest)
    return _Outputs(names) if manifest.task == CLASSIFICATION else _Values(names, manifest.is_autoencoder)


def _output_names(manifest: Manifest) -> tuple[str, ...]:
    """Name the numbers that a model says, in their order."""
    count, features = math.prod(manifest.model.output_shape), manifest.features
    if manifest.task == FORECAST and features is not None:
        steps = range(1, features.ahead + 1)
        return tuple(f"{channel} +{step / features.rate:g} s" for step in steps for channel in features.channels)
    if manifest.is_autoencoder and manifest.columns:
        return manifest.columns
    return tuple(f"output {place}" for place in range(count)) if count > 1 else ("output",)


class _Ranks:
    """Keeps what rows are ranked by, and which of them are positive."""

    def __init__(self) -> None:
        self._scores: list[Array] = [np.empty(0, np.float32)]
        self._positive: list[Array] = [np.empty(0, np.bool_)]

    def add(self, scores: Array, positive: Array) -> None:
        self._scores.append(scores.astype(np.float32))  # as the model said them
        self._positive.append(positive)

    def auc(self) -> float | None:
        return roc_auc(np.concatenate(self._scores), np.concatenate(self._positive))


class _Classes(_Tally):
    """Counts one class a row, said by the largest of several outputs, or by a single one above a half."""

    def __init__(self, names: tuple[str, ...], is_binary: bool) -> None:
        self._names = names
        self._is_binary = is_binary
        self._right, self._rows, self._said = (np.zeros(len(names), np.int64) for _ in range(3))
        size = len(names)
        self._table: Counts | None = np.zeros((size, size), np.int64) if size <= MOST_CLASSES else None
        self._sure = reliability(np.empty(0), np.empty(0))
        self._ranks = _Ranks() if size == 2 else None

    @override
    def add(self, said: Array, targets: Array) -> None:
        if self._is_binary:
            likely = said[:, 0]
            chosen, sure = (likely > 0.5).astype(np.int64), np.maximum(likely, 1 - likely)
        else:
            likely = said[:, -1]
            chosen, sure = said.argmax(axis=1), said.max(axis=1)
        actual, size = one_line_each(targets)[:, 0].astype(np.int64), len(self._names)
        right = chosen == actual
        self._right += np.bincount(actual[right], minlength=size)
        self._rows += np.bincount(actual, minlength=size)
        self._said += np.bincount(chosen, minlength=size)
        if self._table is not None:
            self._table += confusion(chosen, actual, size)
        self._sure += reliability(np.clip(sure, 0, 1), right)
        if self._ranks:
            self._ranks.add(likely, actual == 1)

    @override
    def figures(self) -> ClassFigures:
        auc, usual = self._ranks.auc() if self._ranks else None, int(self._rows.argmax())
        why = "" if auc is not None else f"all rows are of the class {self._names[usual]}"
        each = zip(self._right.tolist(), self._rows.tolist(), self._said.tolist(), strict=True)
        classes = class_scores(self._table) if self._table is not None else [class_score(*of) for of in each]
        accuracy = int(self._right.sum()) / int(self._rows.sum())
        if not self._ranks:
            why = f"it is of two classes, and there are {len(self._names)}"
        return ClassFigures(self._names, accuracy, usual, classes, self._table, self._sure, auc, why)


class _Outputs(_Tally):
    """Counts several answers a row, each yes above a half."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names
        self._right, self._rows, self._said = (np.zeros(len(names), np.int64) for _ in range(3))
        self._agree = self._count = 0
        self._ranks = [_Ranks() for _ in names] if len(names) <= MOST_RANKED else []

    @override
    def add(self, said: Array, targets: Array) -> None:
        flat, actual = one_line_each(said), one_line_each(targets) > 0.5
        chosen = flat > 0.5
        self._right += (chosen & actual).sum(axis=0)
        self._rows += actual.sum(axis=0)
        self._said += chosen.sum(axis=0)
        self._agree += int(np.count_nonzero(chosen == actual))
        self._count += actual.size
        for place, ranks in enumerate(self._ranks):
            ranks.add(flat[:, place], actual[:, place])

    @override
    def figures(self) -> OutputFigures:
        each = zip(self._right.tolist(), self._rows.tolist(), self._said.tolist(), strict=True)
        aucs = [ranks.auc() for ranks in self._ranks]
        return OutputFigures(self._names, self._agree / self._count, [class_score(*of) for of in each], aucs)


class _Values(_Tally):
    """Adds up errors of values; of an autoencoder also how unusual each row looks."""

    def __init__(self, names: tuple[str, ...], is_autoencoder: bool) -> None:
        self._names = names
        self._is_autoencoder = is_autoencoder
        self._errors: Errors | None = None
        self._rows: list[Array] = []

    @override
    def add(self, said: Array, targets: Array) -> None:
        flat, actual = one_line_each(said), one_line_each(targets).astype(np.float64)
        errors = Errors.of(flat, actual)
        self._errors = self._errors + errors if self._errors else errors
        own = reconstruction_error(flat, actual) if self._is_autoencoder else np.abs(flat - actual).mean(axis=1)
        self._rows.append(own)

    @override
    def figures(self) -> ValueFigures:
        assert self._errors is not None
        return ValueFigures(self._names, self._errors, quantiles(np.concatenate(self._rows)), self._is_autoencoder)
