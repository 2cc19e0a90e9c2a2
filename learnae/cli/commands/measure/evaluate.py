"""``learnae evaluate``: how good a model is on the rows of a file, which stay here."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from rich.text import Text

from learnae.basics.peer_names import harmless
from learnae.cli.estimate_choice import choose_estimate
from learnae.cli.output import Cell, console, print_fields, print_json, table
from learnae.cli.progress import progress
from learnae.cli.swarm_choice import choose_swarm
from learnae.errors import ConfigurationError
from learnae.models.scores.classes import BINS, ClassScore
from learnae.reports.evaluation import ClassFigures, Evaluation, OutputFigures, ValueFigures, evaluate
from learnae.samples.time_column import USUAL_COLUMNS
from learnae.swarm.manifest import Manifest
from learnae.swarm.predictor import predictor
from learnae.system.atomic_files import check_target
from learnae.system.installation import how_to_install, is_installed
from learnae.text import decimal, significant

_MOST_ROWS = 40  # of a table for people; --json has all
_MOST_ACROSS = 12  # classes whose mutual mistakes fit on a screen
_MOST_MISTAKES = 10
_PICTURE = ".png"
_NO_ROWS, _NEVER_SAID = "no rows", "never said"


def evaluate_file(options: argparse.Namespace) -> int:
    """Measure a model on a file, and say it as a table, in JSON or as a picture."""
    if options.picture:
        check_target(options.picture, [_PICTURE])
        if not is_installed("matplotlib"):
            raise ConfigurationError("--picture needs matplotlib", how_to_install("demo"))
    swarm = choose_swarm(options.swarm)
    manifest, columns = swarm.manifest, replace(USUAL_COLUMNS, label=options.label or USUAL_COLUMNS.label)
    with progress("taking in what is published", options.json):
        estimate, which = choose_estimate(swarm, options.peer, options.version)
    with progress(f"measuring on {options.data.name}", options.json) as done:
        found = evaluate(manifest, predictor(manifest, estimate.vector), options.data, columns, done)
    about = {
        "swarm": str(manifest.swarm),
        "name": manifest.name,
        "task": manifest.task,
        "model": which,
        "published": estimate.age(),
        "file": str(options.data),
    }
    if options.picture:
        from learnae.reports.pictures import draw_evaluation  # noqa: PLC0415 - matplotlib

        draw_evaluation(f"{manifest.name} on {options.data.name}", found, options.picture)
    if options.json:
        print_json({**about, **_fields(found)})
    else:
        _tell(manifest, about, found)
    return 0


def _fields(found: Evaluation) -> dict[str, Any]:
    """Return an evaluation as a plain map: None stands for what there is none of."""
    figures = found.figures
    fields = {
        "rows": found.rows,
        "skipped": found.skipped,
        "why_skipped": found.why,
        "held_out": found.held_out,
        "loss": found.loss,
    }
    if isinstance(figures, ClassFigures):
        return fields | _class_fields(figures)
    if isinstance(figures, OutputFigures):
        scores = zip(figures.names, figures.outputs, figures.aucs, strict=True)
        outputs = [{"output": name, **asdict(score), "auc": auc} for name, score, auc in scores]
        return fields | {"accuracy": figures.accuracy, "outputs": outputs}
    errors, spread = figures.errors, "scores" if figures.are_scores else "absolute_errors"
    columns = zip(figures.names, errors.mae(), errors.rmse(), errors.r2s(), errors.bias(), strict=True)
    return fields | {
        "mae": float(errors.mae().mean()),
        "rmse": float(np.sqrt(np.mean(np.square(errors.rmse())))),
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


def _tell(manifest: Manifest, about: Mapping[str, str], found: Evaluation) -> None:
    skipped = f"; {found.skipped:,} skipped: {found.why}" if found.skipped else ""
    kind = "held out" if found.held_out else "measured"
    fields = {
        "model": f"{about['model']}, published {about['published']}",
        "rows": harmless(f"{found.rows:,} {kind}{skipped}"),
        "loss": f"{significant(found.loss)} ({manifest.loss})",
    }
    figures = found.figures
    if isinstance(figures, ClassFigures):
        _tell_classes(fields, figures)
    elif isinstance(figures, OutputFigures):
        print_fields({**fields, "accuracy": f"{decimal(figures.accuracy)} of all answers"})
        rows = [
            [*_score_cells(name, score), "one kind" if auc is None else decimal(auc)]
            for name, score, auc in zip(figures.names, figures.outputs, figures.aucs, strict=True)
        ]
        _print("each answer", ["output", *_SCORES, ">AUC"], rows)
    else:
        _tell_values(fields, figures)


def _tell_classes(fields: dict[str, str], figures: ClassFigures) -> None:
    usual, count = harmless(figures.names[figures.usual]), len(figures.names)
    fields["accuracy"] = f"{decimal(figures.accuracy)} (always saying {usual}: {decimal(figures.baseline)})"
    fields["balanced"] = f"{decimal(figures.balanced)}, the mean recall of the classes that have rows"
    fields["calibration"] = (
        f"off by {decimal(figures.calibration.error)}: how far it is as sure as it is right (ECE, {BINS} bins)"
    )
    if count == 2:
        fields["AUC"] = harmless(
            f"none: {figures.why_no_auc}" if figures.auc is None else f"{decimal(figures.auc)}, of {figures.names[1]}"
        )
    print_fields(fields)
    rows = [_score_cells(*each) for each in zip(figures.names, figures.classes, strict=True)]
    _print("each class", ["class", *_SCORES], rows)
    if figures.table is None:
        return
    if count <= _MOST_ACROSS:
        names = [harmless(name) for name in figures.names]
        cells: list[list[Cell]] = [
            [name, *(Text(f"{value:,}", "bold" if row == column else "") for column, value in enumerate(values))]
            for row, (name, values) in enumerate(zip(names, figures.table.tolist(), strict=True))
        ]
        console.print(table("taken for", ["rows of", *(f">{name}" for name in names)], cells))
    else:
        _print("taken for one another most often", ["rows of", "taken for", ">rows"], _mistakes(figures))


_SCORES = (">rows", ">said", ">recall", ">precision", ">F1")


def _score_cells(name: str, score: ClassScore) -> list[Cell]:
    return [
        harmless(name),
        f"{score.rows:,}",
        f"{score.said:,}",
        _NO_ROWS if score.recall is None else decimal(score.recall),
        _NEVER_SAID if score.precision is None else decimal(score.precision),
        "-" if score.f1 is None else decimal(score.f1),
    ]


def _mistakes(figures: ClassFigures) -> list[list[Cell]]:
    assert figures.table is not None
    wrong = figures.table.copy()
    np.fill_diagonal(wrong, 0)
    most = np.argsort(-wrong, axis=None, kind="stable")[:_MOST_MISTAKES]
    places = [(int(place) // len(wrong), int(place) % len(wrong)) for place in most]
    names = [harmless(name) for name in figures.names]
    return [[names[row], names[column], f"{wrong[row, column]:,}"] for row, column in places if wrong[row, column]]


def _tell_values(fields: dict[str, str], figures: ValueFigures) -> None:
    errors = figures.errors
    fields["MAE"] = significant(float(errors.mae().mean()))
    fields["RMSE"] = significant(float(np.sqrt(np.mean(np.square(errors.rmse())))))
    fields["R²"] = f"none: {_why_no_r2(figures)}" if errors.r2 is None else decimal(errors.r2)
    print_fields(fields)
    what = "anomaly scores" if figures.are_scores else "errors of rows, absolute"
    console.print(table(what, ["share of rows", ">at most"], [[n, significant(v)] for n, v in figures.spread.items()]))
    if len(figures.names) > 1:
        columns = zip(figures.names, errors.mae(), errors.rmse(), errors.r2s(), errors.bias(), strict=True)
        rows: list[list[Cell]] = [
            [
                harmless(name),
                significant(float(mae)),
                significant(float(rmse)),
                "constant" if r2 is None else decimal(r2),
                significant(float(bias)),
            ]
            for name, mae, rmse, r2, bias in columns
        ]
        _print("each output", ["output", ">MAE", ">RMSE", ">R²", ">bias"], rows)


def _print(title: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
    """Print a table of at most so many rows that people read them."""
    shown = table(title, columns, rows[:_MOST_ROWS])
    if len(rows) > _MOST_ROWS:
        shown.caption = Text(f"and {len(rows) - _MOST_ROWS:,} more: --json has all", "italic")
    console.print(shown)
