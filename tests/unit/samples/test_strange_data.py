"""Data files as people have them: nothing wrong in them may be learned from without a word."""

import dataclasses
import gzip
import importlib
import logging
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from learnae.errors import DataError
from learnae.models.dataset import Dataset
from learnae.samples.files.array_source import ArraySource
from learnae.samples.files.source import ReadingLimits
from learnae.swarm.features import WindowStatistics
from learnae.swarm.manifest import Manifest
from learnae.swarm.presets import dense_config, preset
from learnae.tables import lines
from learnae.tables.arrays import Arrays
from trainer_node.config import DataSection
from trainer_node.datasets.loading import load_dataset

CLASSES = Manifest("classes", dense_config(2, (), 3, "softmax"), "sparse_categorical_crossentropy")
FEATURES = WindowStatistics(("a",), 10.0, window=4, hop=2, shift=(0.0,) * 5, scale=(1.0,) * 5)
MOTION = Manifest("motion", dense_config(5, (), 3, "softmax"), "sparse_categorical_crossentropy", features=FEATURES)
LOADED = "u,v,label\n1,2,0\n3,4,1\n"


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEARNAE_HOME", str(tmp_path / "home"))


def load(path: Path, manifest: Manifest = CLASSES, **section: Any) -> Dataset:
    return load_dataset(DataSection(str(path), **{"holdout": 0.0, **section}), manifest)


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


# -- CSV: what says the same in other words


@pytest.mark.parametrize(
    "text",
    [
        LOADED.replace("\n", "\r\n"),
        LOADED.replace("\n", "\r"),
        LOADED[:-1],
        LOADED + "\n \n\n",
        "\ufeff" + LOADED,
        '"u","v","label"\n"1","2","0"\n3,4,"1"\n',
        "u, v ,label\n 1 ,2e0, 0\n3,+4., 1.0\n",
        "label,v,u\n0,1,2\n1,3,4\n",  # in the file's order
        LOADED.replace(",", ";"),
        LOADED.replace(",", "\t"),
        "u;v;label\n1,0;2,0;0\n3,0;4,0;1\n",
        "u,v,label\n1,2,0,\n3,4,1,\n",
        "u,v,label,\n1,2,0,\n3,4,1,\n",
    ],
)
def test_the_same_rows_otherwise_written(tmp_path: Path, text: str) -> None:
    data = load(written(tmp_path / "data.csv", text))
    assert data.train.rows.tolist() == [[1, 2], [3, 4]]
    assert data.train.targets.tolist() == [0, 1]
    assert data.skipped == 0


@pytest.mark.parametrize("name", ["data.csv", "data.csv.gz"])
@pytest.mark.parametrize("content", [LOADED.encode(), gzip.compress(b"u,v,label\n1,2") + gzip.compress(b",0\n3,4,1\n")])
def test_gzip_is_known_by_its_bytes(tmp_path: Path, name: str, content: bytes) -> None:
    assert load(written(tmp_path / name, content)).train.rows.tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig"])
def test_any_unicode_encoding_is_read(tmp_path: Path, encoding: str) -> None:
    named = dataclasses.replace(CLASSES, classes=("links", "über", "up"))
    path = written(tmp_path / "data.csv", "u,v,label\n1,2,links\n3,4,über\n".encode(encoding))
    assert load(path, named).train.targets.tolist() == [0, 1]


# -- CSV: fields that are no numbers


@pytest.mark.parametrize("field", ["1_000", "1e999", "-inf", "NA", "", "0x10", "1·5", "1 2", "\0", "1\0"])
def test_a_field_that_is_no_finite_number_costs_its_row(tmp_path: Path, field: str) -> None:
    data = load(written(tmp_path / "data.csv", f"{LOADED}{field},6,0\n"))
    assert data.train.rows.tolist() == [[1, 2], [3, 4]]
    assert data.skipped == 1


@pytest.mark.parametrize("label", ["0.99999999", "3", "-1", "one", "nan", "1e30"])
def test_a_label_that_is_no_class_costs_its_row(tmp_path: Path, label: str) -> None:
    data = load(written(tmp_path / "data.csv", f"{LOADED}5,6,{label}\n"))
    assert (len(data.train), data.skipped) == (2, 1)


def test_names_of_classes_are_text_for_any_numpy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """NumPy 1 hands bytes to converters unless told the encoding, and all lines went through the slow parser."""
    asked: list[Any] = []
    parse = np.loadtxt
    monkeypatch.setattr(np, "loadtxt", lambda *args, **options: asked.append(options) or parse(*args, **options))
    named = dataclasses.replace(CLASSES, classes=("left", "right", "up"))
    data = load(written(tmp_path / "data.csv", "u,v,label\n1,2,left\n3,4,right\n"), named)
    assert data.train.targets.tolist() == [0, 1]
    assert asked[0]["encoding"] == "utf-8"


# -- CSV: files that are refused


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("u v label\n1 2 0\n", "is separated by spaces"),
        ("u;v;label\n1,5;2.5;0\n", "line 2, column 'v': '2.5', but '1,5' before it"),
        ("u\tv\tlabel\n1,250\t2\t0\n", "'1,250' may be 1.250 or 1250"),
        ("u,v;w,label\n1,2;3,0\n", "may be separated by commas (3 columns) or semicolons (2 columns)"),
        ("ü,v,label\n1,2,0\n".encode("latin-1"), "line 1 has the byte 0xfc, which is no utf-8; save it as UTF-8"),
        ("u,u,label\n1,2,0\n", "columns 1, 2 are all called 'u'"),
        ("1,2,0\n3,4,1\n", "no usable header"),
        ("1,nan,0\n3,4,1\n", "no usable header"),
        ("u,v,label\n1,2,0\n3,4,1,\n", "line 3: 4 fields; the header has 3; found '3,4,1,'"),
        ("u,v,label,\n1,2,0,5\n", "column 4 has no name"),
        (",u,label\n0,1,0\n1,3,1\n", "column 1 has no name"),
        ("Unnamed: 0,u,label\n0,1,0\n", "column 1 has no name"),
        ('u,v,label\n1,2,0\n"3,4,1\n', "line 3: a quotation mark is never closed"),
        (gzip.compress(LOADED.encode())[:-4], "cannot read"),
        (gzip.compress(LOADED.encode()) + b"rest", "cannot read"),
    ],
)
def test_a_table_that_would_be_read_wrong_is_refused(tmp_path: Path, content: str | bytes, words: str) -> None:
    with pytest.raises(DataError) as caught:
        load(written(tmp_path / "data.csv", content))
    assert words in str(caught.value)


@pytest.mark.parametrize("content", ["u" * 5000, "u,v,label\n" + "1" * 5000, "u,v,label\n1,2,0\n" + "1" * 5000])
def test_a_line_without_end_is_not_collected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    monkeypatch.setattr(lines, "LONGEST_LINE", 1000)
    with pytest.raises(DataError, match=r"line \d has more than 1000 characters; give one row a line"):
        load(written(tmp_path / "data.csv", content))


# -- columns


def test_columns_that_are_numbered_go_by_their_numbers(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    names = sorted(f"f{number}" for number in range(11))
    text = f"{','.join(names)},label\n{','.join(name[1:] for name in names)},0\n"
    eleven = Manifest("eleven", dense_config(11, (), 3, "softmax"), "sparse_categorical_crossentropy")
    with caplog.at_level(logging.INFO, "learnae"):
        assert load(written(tmp_path / "data.csv", text), eleven).train.rows.tolist() == [list(range(11))]
    assert "in the order of their numbers: f0, f1, f2" in caplog.text


def test_the_mass_does_not_stand_in_for_a_feature(tmp_path: Path) -> None:
    names = [f"f{number}" for number in range(26)]
    text = f"# label,{','.join(names)},mass\n{','.join(['0'] * 28)}\n"
    with pytest.raises(DataError, match="has no column f26; mass is no measurement"):
        load(written(tmp_path / "data.csv", text), preset("hepmass", 0))


# -- what is said


def test_numbers_that_float32_rounds_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    load(written(tmp_path / "data.csv", "u,v,label\n1700000001,2,0\n1700000002,4,1\n"))
    assert "column 'u' has numbers beyond 2^24, which float32 rounds" in caplog.text


def test_numbers_that_float32_has_are_not(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    load(written(tmp_path / "data.csv", "u,v,label\n16777216,0.1,0\n33554432,4,1\n"))
    assert "2^24" not in caplog.text


def test_it_is_said_if_no_row_is_held_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    load(written(tmp_path / "data.csv", LOADED), holdout=0.2)
    assert "no row is held out" in caplog.text


# -- Parquet


@pytest.mark.modules("pyarrow")
def test_the_row_numbers_of_pandas_are_no_column(tmp_path: Path) -> None:
    data = load(parquet(tmp_path, ["u", "v", "label", "__index_level_0__"], [[1, 3], [2, 4], [0, 1], [7, 8]]))
    assert data.train.rows.tolist() == [[1, 2], [3, 4]]


@pytest.mark.modules("pyarrow")
@pytest.mark.parametrize(
    ("names", "columns", "words"),
    [
        (["u", "u", "label"], [[1], [2], [0]], "several columns of one name"),
        (["u", "v", "label"], [[2**53 + 1], [2], [0]], "column 'u'"),
        (["u", "v", "label"], [["1"], [2], [0]], "column 'u' is of type string"),
    ],
)
def test_parquet_that_would_be_read_wrong_is_refused(
    tmp_path: Path, names: list[str], columns: list[list[Any]], words: str
) -> None:
    with pytest.raises(DataError) as caught:
        load(parquet(tmp_path, names, columns))
    assert words in str(caught.value)


@pytest.mark.modules("pyarrow")
def test_nulls_cost_their_row(tmp_path: Path) -> None:
    data = load(parquet(tmp_path, ["u", "v", "label"], [[1, None, 3], [2, 5, 4], [0, 1, 1]]))
    assert data.train.rows.tolist() == [[1, 2], [3, 4]]
    assert data.skipped == 1


def parquet(directory: Path, names: list[str], columns: list[list[Any]]) -> Path:
    pyarrow, files = (importlib.import_module(name) for name in ("pyarrow", "pyarrow.parquet"))
    path = directory / "data.parquet"
    files.write_table(pyarrow.Table.from_arrays([pyarrow.array(column) for column in columns], names=names), path)
    return path


# -- .npz


@pytest.mark.parametrize("kind", [">f8", ">i4", "<f2", "u1", "g"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("small", [0, 1 << 24])
def test_arrays_of_any_kind_and_order(tmp_path: Path, kind: str, order: Any, small: int) -> None:
    limits = ReadingLimits(chunk_bytes=64, array_bytes=small, array_rows=3)  # 0 bytes: through a file
    x = np.arange(20 * 2 * 3).reshape(20, 2, 3).astype(kind)
    y = x[:, 0].astype(float)
    np.savez(tmp_path / "data.npz", x=np.asarray(x, order=order), y=np.asarray(y, order=order))
    source = ArraySource(Arrays(tmp_path / "data.npz"), limits=limits)
    chunks = list(source.chunks())
    assert len(chunks) > 1
    assert np.concatenate([chunk.rows for chunk in chunks]).tolist() == x.tolist()
    assert np.concatenate([chunk.targets for chunk in chunks]).tolist() == y.tolist()


def test_an_array_in_columns_that_is_cut_short_is_said(tmp_path: Path) -> None:
    np.savez(tmp_path / "whole.npz", x=np.asarray(np.zeros((20, 2)), order="F"), y=np.zeros(20))
    with zipfile.ZipFile(tmp_path / "whole.npz") as whole, zipfile.ZipFile(tmp_path / "cut.npz", "w") as cut:
        cut.writestr("x.npy", whole.read("x.npy")[:-9])
        cut.writestr("y.npy", whole.read("y.npy"))
    with pytest.raises(DataError, match="an array has 311 bytes of 320"):
        load(tmp_path / "cut.npz")


# -- recordings


@pytest.mark.parametrize("rate", [9.5, 10.0, 10.5])
def test_a_recording_at_about_the_rate_of_the_swarm_is_read(tmp_path: Path, rate: float) -> None:
    assert len(load(recording(tmp_path, rate), MOTION).train) == 9


@pytest.mark.parametrize("rate", [8.0, 12.0, 20.0, 100.0])
def test_a_recording_at_another_rate_is_refused(tmp_path: Path, rate: float) -> None:
    with pytest.raises(DataError, match=r"s apart; the swarm's are 0\.1 s apart: resample them"):
        load(recording(tmp_path, rate), MOTION)


def recording(directory: Path, rate: float) -> Path:
    rows = "".join(f"{1_700_000_000 + index / rate:.3f},{index},0\n" for index in range(20))
    return written(directory / "data.csv", f"time,a,label\n{rows}")
