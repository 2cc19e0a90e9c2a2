"""Tables of swarms that name their columns: any order is the same rows, and what is missing is named."""

import gzip
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import write_parquet

from learnae.errors import DataError
from learnae.models.dataset import Dataset
from learnae.samples.files.source import ReadingLimits
from learnae.swarm.manifest import Manifest
from learnae.swarm.presets import convolution_config, dense_config
from learnae.system.paths import home
from learnae.tables import csv_table
from trainer_node.config import DataSection
from trainer_node.datasets.loading import load_dataset

pytestmark = pytest.mark.usefixtures("own_home")
COLUMNS = ("flow", "heat", "load")
NAMED = Manifest("pump", dense_config(3, (), 2, "softmax"), "sparse_categorical_crossentropy", columns=COLUMNS)
SAME = Manifest("same", dense_config(3, (), 3, "linear"), "mean_squared_error", columns=COLUMNS)
ROWS = {"flow": [1.5, 4], "heat": [2, 5], "load": [3, 6], "label": [1, 0], "note": ["a", '"b, c"'], "room": [7, 8]}
ORDERS = [
    "flow,heat,load,label",
    "load,label,flow,heat",
    "room,heat,load,note,label,flow",
    "# heat,room,flow,load,label",
]
KINDS = ["csv", "csv.gz", pytest.param("parquet", marks=pytest.mark.modules("pyarrow"))]


def table(path: Path, order: str) -> Path:
    names = [name.removeprefix("# ") for name in order.split(",")]
    if path.suffix == ".parquet":
        return write_parquet(path, {name: ROWS[name] for name in names})
    lines = [order, *(",".join(str(ROWS[name][row]) for name in names) for row in range(2))]
    text = "".join(f"{line}\n" for line in lines).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


def load(path: Path, manifest: Manifest = NAMED, **section: Any) -> Dataset:
    return load_dataset(DataSection(str(path), **{"holdout": 0.0, **section}), manifest)


def refused(path: Path, manifest: Manifest = NAMED, **section: Any) -> str:
    with pytest.raises(DataError) as caught:
        load(path, manifest, **section)
    return str(caught.value)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("kind", KINDS)
def test_any_order_is_the_same_rows(tmp_path: Path, kind: str, order: str) -> None:
    data = load(table(tmp_path / f"data.{kind}", order))
    assert data.train.rows.tolist() == [[1.5, 2, 3], [4, 5, 6]]
    assert data.train.targets.tolist() == [1, 0]
    assert data.skipped == 0


def test_the_order_is_the_swarms_not_the_alphabets(tmp_path: Path) -> None:
    other = replace(NAMED, columns=("load", "flow", "heat"))
    assert load(table(tmp_path / "data.csv", ORDERS[0]), other).train.rows.tolist() == [[3, 1.5, 2], [6, 4, 5]]


def test_numbered_columns_go_by_the_swarm_too(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text("f0,f1,f10,label\n0,1,10,1\n")
    assert load(path, replace(NAMED, columns=("f10", "f0", "f1"))).train.rows.tolist() == [[10, 0, 1]]


def test_what_is_left_out_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "learnae"):
        load(table(tmp_path / "data.csv", ORDERS[2]))
        load(table(tmp_path / "whole.csv", ORDERS[0]))
    said = [record.message for record in caplog.records if "left out" in record.message]
    assert said == ["data.csv: columns that the swarm does not name are left out: room, note"]


def test_text_in_columns_that_are_left_out_does_not_slow_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "data.csv"
    path.write_text("flow,note,heat,load,label\n1,warm,2,3,1\n4,,5,6,0\n")
    monkeypatch.delattr(csv_table._Reading, "_parse_slowly")
    assert load(path).train.rows.tolist() == [[1, 2, 3], [4, 5, 6]]


def test_lines_are_still_as_long_as_the_header(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text("note,flow,heat,load,label\na,1,2,3,1\nb,c,1,2,3,1\n")
    assert "line 3: 6 fields; the header has 5" in refused(path)


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (
            "flow,heat,label",
            "has no column load; besides the swarm's it has none; name the columns as the swarm does: ",
        ),
        ("flow,Heat,last,label", "has no column heat, load; besides the swarm's it has Heat, last;"),
        ("a,b,c,label", "has no column flow, heat, load; besides the swarm's it has a, b, c; "),
        ("flow,heat,load", "has no column 'label'; it has flow, heat, load; set data.label (or --label)"),
    ],
)
@pytest.mark.parametrize(
    "manifest", [NAMED, replace(NAMED, loss="mean_squared_error", config=dense_config(3, (), 1, "linear"))]
)
def test_missing_columns_are_named_with_the_remedy(tmp_path: Path, header: str, words: str, manifest: Manifest) -> None:
    path = tmp_path / "data.csv"
    path.write_text(f"{header}\n")
    said = refused(path, manifest)
    assert words in said
    assert str(path) in said
    assert said.endswith("flow, heat, load") or "data.label" in said


def test_a_feature_is_not_the_target(tmp_path: Path) -> None:
    path = table(tmp_path / "data.csv", ORDERS[0])
    assert "the target 'load' is one of the swarm's columns; set data.label (or --label)" in refused(path, label="load")


def test_an_autoencoder_needs_its_columns_alone(tmp_path: Path) -> None:
    for name, order in (("a.csv", "load,heat,flow"), ("b.csv", ORDERS[2])):
        assert load(table(tmp_path / name, order), SAME).train.rows.tolist() == [[1.5, 2, 3], [4, 5, 6]]
    data = load(table(tmp_path / "c.csv", ORDERS[1]), replace(SAME, columns=("label", "load", "heat")))
    assert data.train.rows.tolist() == [[1, 3, 2], [0, 6, 5]]


def test_rows_of_several_dimensions_are_filled_value_by_value(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text("label,f,e,d,c,b,a\n1,6,5,4,3,2,1\n0,12,11,10,9,8,7\n")
    config = convolution_config((3, 2), ((4, 2, 1),), 1, "sigmoid")
    manifest = Manifest("series", config, "binary_crossentropy", columns=("a", "b", "c", "d", "e", "f"))
    data = load(path, manifest)
    assert data.train.rows.tolist() == [[[1, 2], [3, 4], [5, 6]], [[7, 8], [9, 10], [11, 12]]]
    assert data.train.targets.tolist() == [[1], [0]]


def test_arrays_have_no_names_and_are_taken_as_they_are(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", x=np.arange(6.0).reshape(2, 3), y=np.array([0, 1]))
    assert load(tmp_path / "data.npz").train.rows.tolist() == [[0, 1, 2], [3, 4, 5]]


def test_rows_kept_in_another_order_are_not_used(tmp_path: Path) -> None:
    path = table(tmp_path / "data.csv", ORDERS[0])
    unnamed = replace(NAMED, columns=())
    for manifest in (unnamed, replace(NAMED, columns=COLUMNS[::-1]), NAMED, SAME):
        section = DataSection(str(path), holdout=0.0)
        rows = load_dataset(section, manifest, ReadingLimits(file_bytes=0)).train.rows.tolist()
        assert rows == ([[3, 2, 1.5], [6, 5, 4]] if manifest.columns == COLUMNS[::-1] else [[1.5, 2, 3], [4, 5, 6]])
    assert len(list((home() / "cache").iterdir())) == 3  # one serves both who have the same rows
