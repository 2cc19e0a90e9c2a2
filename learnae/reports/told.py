"""An evaluation in words: as fields and tables for people, as a plain map for machines. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from learnae.models.scores.classes import BINS, ClassScore
from learnae.reports.evaluation import MOST_RANKED, ClassFigures, Evaluation, OutputFigures, ValueFigures
from learnae.text import decimal, significant

_MOST_ACROSS = 12  # classes whose mutual mistakes fit on a screen
_MOST_MISTAKES = 10
_NO_ROWS, _NEVER_SAID = "no rows", "never said"
_SCORES = (">rows", ">said", ">recall", ">precision", ">F1")


@dataclass(frozen=True, slots=True)
class Told:
    """A table for people: columns whose names have > before them are numbers. Names are others' words."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def plain(found: Evaluation) -> dict[str, Any]:
    """Return an evaluation for machines: None stands for what there is none of."""
    figures = found.figures
    fields = {
        "rows": found.rows,
        "skipped": found.skipped,
        "why_skipped": found.why,
        "note": found.note,
        "held_out": found.held_out,
        "loss": found.loss,
    }
    if isinstance(figures, ClassFigures):
        return fields | _class_fields(figures)
    if isinstance(figures, OutputFigures):
        aucs = figures.aucs or [None] * len(figures.names)
        scores = zip(figures.names, figures.outputs, aucs, strict=True)
        outputs = [{"output": name, **asdict(score), "auc": auc} for name, score, auc in scores]
        why = "" if figures.aucs else f"it is reckoned of at most {MOST_RANKED} answers"
        return fields | {"accuracy": figures.accuracy, "why_no_auc": why, "outputs": outputs}
    errors, spread = figures.errors, "scores" if figures.are_scores else "absolute_errors"
    columns = zip(figures.names, errors.mae(), errors.rmse(), errors.r2s(), errors.bias(), strict=True)
    return fields | {
        "mae": float(errors.mae().mean()),
        "rmse": errors.whole_rmse(),
        "r2": errors.r2,
        "why_no_r2": _why_no_r2(figures),
        "bias": float(errors.bias().mean()),
        spread: figures.spread,
        "outputs": [
            {"output": name, "mae": float(mae), "rmse": float(rmse), "r2": r2, "bias": float(bias)}
            for name, mae, rmse, r2, bias in columns
        ],
    }


def _class_fields(figures: ClassFigures) -> dict[str, Any]:
    sure = figures.calibration
    bins = [
        {
            "from": place / BINS,
            "to": (place + 1) / BINS,
            "rows": rows,
            "confidence": confidence / rows if rows else None,
            "accuracy": right / rows if rows else None,
        }
        for place, (rows, confidence, right) in enumerate(
            zip(sure.rows.tolist(), sure.confidence.tolist(), sure.right.tolist(), strict=True)
        )
    ]
    return {
        "accuracy": figures.accuracy,
        "balanced_accuracy": figures.balanced,
        "baseline": {"class": figures.names[figures.usual], "accuracy": figures.baseline},
        "auc": figures.auc,
        "why_no_auc": figures.why_no_auc,
        "classes": [
            {"class": name, **asdict(score)} for name, score in zip(figures.names, figures.classes, strict=True)
        ],
        "confusion": None if figures.table is None else figures.table.tolist(),
        "calibration": {"error": sure.error, "bins": bins},
    }


def _why_no_r2(figures: ValueFigures) -> str:
    return "the targets do not vary: there is nothing to explain" if figures.errors.r2 is None else ""


def told_fields(found: Evaluation, loss: str) -> dict[str, str]:
    """Return what is said of an evaluation as a whole; ``loss`` is the name of the loss."""
    skipped = f"; {found.skipped:,} skipped: {found.why}" if found.skipped else ""
    said = {
        "rows": f"{found.rows:,} {'held out' if found.held_out else 'measured'}{skipped}",
        "loss": f"{significant(found.loss)} ({loss})",
        **({"note": found.note} if found.note else {}),
    }
    figures = found.figures
    if isinstance(figures, ClassFigures):
        return said | _of_classes(figures)
    if isinstance(figures, OutputFigures):
        return said | {"accuracy": f"{decimal(figures.accuracy)} of all answers"}
    errors = figures.errors
    return said | {
        "MAE": significant(float(errors.mae().mean())),
        "RMSE": significant(errors.whole_rmse()),
        "R²": f"none: {_why_no_r2(figures)}" if errors.r2 is None else decimal(errors.r2),
    }


def told_tables(found: Evaluation) -> Iterator[Told]:
    """Yield what is said of each class, answer or output, and of mistakes or errors."""
    figures = found.figures
    if isinstance(figures, ClassFigures):
        scores = zip(figures.names, figures.classes, strict=True)
        yield Told("each class", ["class", *_SCORES], [_score_cells(*each) for each in scores])
        yield from _mistakes(figures)
    elif isinstance(figures, OutputFigures):
        rows = [_score_cells(*each) for each in zip(figures.names, figures.outputs, strict=True)]
        for row, auc in zip(rows, figures.aucs, strict=False):
            row.append("one kind" if auc is None else decimal(auc))
        yield Told("each answer", ["output", *_SCORES, *([">AUC"] if figures.aucs else [])], rows)
    else:
        yield from _errors(figures)


def _of_classes(figures: ClassFigures) -> dict[str, str]:
    usual = figures.names[figures.usual]
    said = {
        "accuracy": f"{decimal(figures.accuracy)} (always saying {usual}: {decimal(figures.baseline)})",
        "balanced": f"{decimal(figures.balanced)}, the mean recall of the classes that have rows",
        "calibration": (
            f"off by {decimal(figures.calibration.error)}: how far it is as sure as it is right (ECE, {BINS} bins)"
        ),
    }
    if len(figures.names) == 2:
        auc = figures.auc
        said["AUC"] = f"none: {figures.why_no_auc}" if auc is None else f"{decimal(auc)}, of {figures.names[1]}"
    return said


def _score_cells(name: str, score: ClassScore) -> list[str]:
    return [
        name,
        f"{score.rows:,}",
        f"{score.said:,}",
        _NO_ROWS if score.recall is None else decimal(score.recall),
        _NEVER_SAID if score.precision is None else decimal(score.precision),
        "-" if score.f1 is None else decimal(score.f1),
    ]


def _mistakes(figures: ClassFigures) -> Iterator[Told]:
    """Yield who is taken for whom: of many classes, only the most frequent mistakes."""
    found, names = figures.table, figures.names
    if found is None:
        return
    if len(names) <= _MOST_ACROSS:
        rows = [[name, *(f"{value:,}" for value in row)] for name, row in zip(names, found.tolist(), strict=True)]
        yield Told("taken for", ["rows of", *(f">{name}" for name in names)], rows)
        return
    wrong = found.copy()
    np.fill_diagonal(wrong, 0)
    most = np.argsort(-wrong, axis=None, kind="stable")[:_MOST_MISTAKES]
    places = [divmod(int(place), len(wrong)) for place in most]
    rows = [[names[row], names[column], f"{wrong[row, column]:,}"] for row, column in places if wrong[row, column]]
    yield Told("taken for one another most often", ["rows of", "taken for", ">rows"], rows)


def _errors(figures: ValueFigures) -> Iterator[Told]:
    errors = figures.errors
    what = "anomaly scores" if figures.are_scores else "errors of rows, absolute"
    rows = [[share, significant(value)] for share, value in figures.spread.items()]
    yield Told(what, ["share of rows", ">at most"], rows)
    if len(figures.names) > 1:
        columns = zip(figures.names, errors.mae(), errors.rmse(), errors.r2s(), errors.bias(), strict=True)
        rows = [
            [
                name,
                significant(float(mae)),
                significant(float(rmse)),
                "constant" if r2 is None else decimal(r2),
                significant(float(bias)),
            ]
            for name, mae, rmse, r2, bias in columns
        ]
        yield Told("each output", ["output", ">MAE", ">RMSE", ">R²", ">bias"], rows)
