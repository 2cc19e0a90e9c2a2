"""Models measured on files: what is defined is counted, what is not is said and never made up."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from learnae.cli.main import main
from learnae.errors import DataError, ModelError
from learnae.models.batch_learner import measure
from learnae.peer.learning.versions import Version
from learnae.protocol.bodies import Metrics
from learnae.reports.evaluation import ClassFigures, OutputFigures, ValueFigures, evaluate
from learnae.reports.told import plain, told_tables
from learnae.samples.columns import USUAL_COLUMNS
from learnae.swarm.directory import create_swarm
from learnae.swarm.manifest import Manifest
from learnae.swarm.predictor import predictor
from learnae.swarm.presets import dense_config, preset
from learnae.weights.codecs import Vector

ENTROPY, SQUARED = "sparse_categorical_crossentropy", "mean_squared_error"
THREE = Manifest("pump", dense_config(2, (), 3, "softmax"), ENTROPY, classes=("ok", ">5", "[red]leak[/x]"))
TWO = Manifest("pump", dense_config(2, (), 2, "softmax"), ENTROPY, classes=("ok", "worn"))
YES = Manifest("pump", dense_config(2, (), 1, "sigmoid"), "binary_crossentropy")
POWER = Manifest("power", dense_config(2, (), 1, "linear"), SQUARED)
PAIR = Manifest("pair", dense_config(2, (), 3, "linear"), SQUARED)
AGAIN = Manifest("again", dense_config(2, (2,), 2, "linear"), SQUARED, columns=("heat", "flow"))
MANY = Manifest("many", dense_config(2, (), 3, "sigmoid"), "binary_crossentropy")


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def drawn(manifest: Manifest) -> Vector:
    """Weights of no symmetry."""
    return np.random.default_rng(5).normal(size=manifest.model.count).astype(np.float32)


def found(manifest: Manifest, path: Path, weights: Vector | None = None) -> Any:
    return evaluate(manifest, drawn(manifest) if weights is None else weights, path, USUAL_COLUMNS)


@pytest.mark.parametrize("manifest", [THREE, TWO, YES, POWER, PAIR, AGAIN, MANY])
def test_what_peers_measure_is_measured_here_too(tmp_path: Path, manifest: Manifest) -> None:
    rng, outputs = np.random.default_rng(1), manifest.model.output_shape[-1]
    rows = rng.normal(size=(40_000, 2)).astype(np.float32)  # several pieces
    targets: Any = rng.normal(size=(len(rows), outputs)).astype(np.float32)
    if manifest.loss == ENTROPY:
        targets = rng.integers(0, outputs, len(rows))
    elif manifest.loss == "binary_crossentropy":
        targets = (targets > 0).astype(np.float32)
    targets = rows if manifest.is_autoencoder else targets
    np.savez(tmp_path / "rows.npz", x=rows, y=targets)
    result = found(manifest, tmp_path / "rows.npz")
    known = measure(manifest.objective, predictor(manifest, drawn(manifest)), rows, targets, 1000)
    assert isinstance(known, Metrics)
    assert (result.rows, result.skipped, result.why, result.held_out) == (len(rows), 0, "", False)
    assert result.loss == pytest.approx(known.loss, rel=1e-4)
    figures = result.figures
    if isinstance(figures, ValueFigures):
        assert float(figures.errors.mae().mean()) == pytest.approx(known.mae, rel=1e-6)
        assert figures.errors.r2 == pytest.approx(known.r2, rel=1e-6)
        assert len(figures.names) == len(figures.errors.r2s()) == outputs
        assert figures.are_scores == manifest.is_autoencoder
    else:
        assert isinstance(figures, ClassFigures | OutputFigures)
        assert figures.accuracy == pytest.approx(known.accuracy)
    if isinstance(figures, ClassFigures):
        assert figures.table is not None
        assert figures.table.sum() == len(rows)
        assert sum(figures.calibration.rows) == len(rows)
        assert (figures.auc is None) == (len(figures.names) > 2)


def test_what_cannot_be_measured_is_counted_and_said_why(tmp_path: Path) -> None:
    text = "a,b,label\n1,2,ok\n1,,>5\nnan,2,ok\n1,2,broken\n1e300,1,ok\n2,1,>5\n1,2,\n"
    result = found(THREE, written(tmp_path / "rows.csv", text))
    assert (result.rows, result.skipped) == (2, 5)
    for words in ("finite numbers", "'broken' (1)", "ok, >5"):
        assert words in result.why
    assert [each.rows for each in result.figures.classes] == [1, 1, 0]
    assert result.figures.classes[2].recall is None
    assert result.figures.balanced in (0, 0.5, 1)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,b,label\n", "no row to measure the model on, 0 were skipped"),
        ("", "no usable header"),
        ("a,b,label\n1,2,broken\n", "1 were skipped; .*'broken'"),
        ("a,b,label\n1,2,1\n2,1,3\n", "numbered from 1|are no class"),
        ("a,b,kind\n1,2,ok\n", "no column 'label'.*--label"),
        ("a,b,c,label\n1,2,3,ok\n", "3 feature columns"),
    ],
)
def test_a_file_without_a_row_for_it_is_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        found(THREE, written(tmp_path / "rows.csv", text))


def test_one_class_alone_has_no_auc_and_constant_targets_no_r2(tmp_path: Path) -> None:
    one = found(TWO, written(tmp_path / "one.csv", "a,b,label\n1,2,worn\n2,1,worn\n")).figures
    assert (one.auc, one.why_no_auc) == (None, "all rows are of the class worn")
    assert one.baseline == 1
    flat = found(POWER, written(tmp_path / "flat.csv", "a,b,label\n1,2,0.1\n2,1,0.1\n5,1,0.1\n")).figures
    assert flat.errors.r2 is None
    assert flat.errors.mae()[0] > 0


@pytest.mark.parametrize("count", [3, 40])
def test_of_very_many_answers_no_curve_is_made_up(tmp_path: Path, count: int) -> None:
    manifest = replace(MANY, config=dense_config(2, (), count, "sigmoid"))
    np.savez(tmp_path / "rows.npz", x=np.ones((2, 2)), y=np.ones((2, count)))
    result = found(manifest, tmp_path / "rows.npz")
    (table,) = told_tables(result)
    assert (table.columns[-1], table.rows[0][-1]) == ((">AUC", "one kind") if count == 3 else (">F1", table.rows[0][5]))
    fields = plain(result)
    assert [each["auc"] for each in fields["outputs"]] == [None] * count
    assert bool(fields["why_no_auc"]) == (count == 40)


def test_numbers_that_are_rounded_are_named(tmp_path: Path) -> None:
    path = written(tmp_path / "rows.csv", "a,b,label\n1,2,1714564801\n2,1,3\n")
    assert "column 'label' has numbers beyond 2^24" in found(POWER, path).note


def test_rows_held_out_beside_others_are_measured_alone(tmp_path: Path) -> None:
    x, y = np.ones((5, 2)), np.zeros(5)
    np.savez(tmp_path / "rows.npz", x=x, y=y, x_holdout=x[:2], y_holdout=y[:2] + 1)
    result = found(TWO, tmp_path / "rows.npz")
    assert (result.rows, result.held_out) == (2, True)
    assert [each.rows for each in result.figures.classes] == [0, 2]


@pytest.mark.parametrize("manifest", [TWO, YES, POWER])
def test_a_diverged_model_is_no_model_of_the_first_class(tmp_path: Path, manifest: Manifest) -> None:
    path = written(tmp_path / "rows.csv", "a,b,label\n1,2,0\n2,1,1\n")
    weights = np.full(manifest.model.count, np.nan, np.float32)
    with pytest.raises(ModelError, match=r"no number for 2 of 2 rows.*learnae versions"):
        found(manifest, path, weights)


def test_a_recording_is_measured_window_by_window(tmp_path: Path) -> None:
    manifest = preset("wrist", 1)
    assert manifest.features is not None
    count = 500
    signal = np.random.default_rng(0).normal(size=(count, 6))
    label = np.repeat([0, 3], count // 2)
    np.savez(tmp_path / "wrist.npz", signal=signal, label=label, time=np.arange(count) / 50)
    result = found(manifest, tmp_path / "wrist.npz")
    assert result.rows > 4
    assert [place for place, each in enumerate(result.figures.classes) if each.rows] == [0, 3]
    np.savez(tmp_path / "none.npz", signal=signal[:9], label=label[:9])
    with pytest.raises(DataError, match="a window takes"):
        found(manifest, tmp_path / "none.npz")


# -- learnae evaluate


def kept(home: Path, manifest: Manifest) -> None:
    """Leave the swarm, and a peer that keeps a version of it, in ``home``."""
    create_swarm(manifest, home / "swarms" / str(manifest.swarm))
    version = Version(manifest.swarm, 1_700_000_000_000, 26, None, {}, drawn(manifest))
    (home / "peers" / "ann" / "versions").mkdir(parents=True)
    (home / "peers" / "ann" / "versions" / "best").write_bytes(b"".join(version.to_pieces()))


def said(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", *map(str, arguments)])
    answer = capsys.readouterr()
    return int(ended.value.code or 0), answer.out, answer.err


@pytest.mark.usefixtures("own_home")
def test_people_and_machines_are_told_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept(tmp_path / "home", THREE)
    path = written(tmp_path / "rows.csv", "a,b,label\n" + "1,2,ok\n-1,0,>5\n0,-2,ok\n" * 5 + "1,,ok\n")
    code, out, err = said(capsys, "--data", path, "--version", "best", "--json")
    assert (code, err) == (0, "")
    answer = json.loads(out)
    assert (answer["rows"], answer["skipped"], answer["model"]) == (15, 1, "version best of ann")
    assert [each["recall"] is None for each in answer["classes"]] == [False, False, True]
    assert sum(map(sum, answer["confusion"])) == 15
    assert answer["auc"] is None
    assert "two classes" in answer["why_no_auc"]
    code, out, _ = said(capsys, "--data", path, "--version", "best")
    assert code == 0
    for words in (
        "15 measured; 1 skipped",
        "no rows",
        "ok",
        "[red]leak[/x]",
        " >5 ",
        f"{answer['accuracy']:.3f}",
        "taken for",
    ):
        assert words in out
    assert "\x1b" not in out
    code, _, err = said(capsys, "--data", path, "--version", "v7")
    assert code == 78
    assert "keeps no version v7" in err


@pytest.mark.modules("matplotlib")
@pytest.mark.usefixtures("own_home")
@pytest.mark.parametrize("manifest", [replace(THREE, classes=("$a", "b_{", "c$")), POWER, MANY])
def test_a_picture_is_drawn_whatever_classes_are_called(
    tmp_path: Path, manifest: Manifest, capsys: pytest.CaptureFixture[str]
) -> None:
    kept(tmp_path / "home", manifest)
    y = np.array([[0, 1, 0], [1, 0, 1]]) if manifest is MANY else np.array([0, 1])
    np.savez(tmp_path / "$rows.npz", x=np.array([[1, 2], [2, 1]]), y=y)
    picture = tmp_path / "picture.png"
    code, _, err = said(capsys, "--data", tmp_path / "$rows.npz", "--version", "best", "--picture", picture)
    assert (code, err) == (0, "")
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.usefixtures("own_home")
def test_without_matplotlib_it_is_said_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kept(tmp_path / "home", TWO)
    monkeypatch.setattr("learnae.cli.commands.measure.evaluate.is_installed", lambda _: False)
    code, _, err = said(capsys, "--data", "rows.csv", "--version", "best", "--picture", tmp_path / "picture.png")
    assert code == 78
    assert err.count("\n") == 1
    assert "matplotlib" in err
    assert "demo" in err
