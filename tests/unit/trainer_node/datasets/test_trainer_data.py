"""Large files of trainers: formats, the cache, and how little memory reading them takes.

The HEPMASS files here are generated: the header, columns and number format of the real ones, random values.
"""

import gzip
import importlib
import io
import logging
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import write_parquet

from learnae.errors import DataError
from learnae.models.dataset import Dataset
from learnae.samples.files.array_source import ArraySource
from learnae.samples.files.source import USUAL_LIMITS, ReadingLimits
from learnae.swarm.manifest import Manifest
from learnae.swarm.presets import dense_config, preset
from learnae.system.installation import how_to_install
from learnae.tables.arrays import Arrays
from trainer_node.config import DataSection
from trainer_node.datasets.loading import load_dataset

pytestmark = pytest.mark.usefixtures("own_home")
CLASSES = Manifest("classes", dense_config(2, (), 3, "softmax"), "sparse_categorical_crossentropy")
HEPMASS = preset("hepmass", 0)
HEADER = "# label," + ",".join(f"f{index}" for index in range(27))


def load(path: Path, manifest: Manifest = CLASSES, limits: ReadingLimits = USUAL_LIMITS, **section: Any) -> Dataset:
    return load_dataset(DataSection(str(path), **section), manifest, limits)


def hepmass_rows(rows: int, mass: bool = True) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(1)
    columns = [np.arange(rows) % 2, rng.standard_normal((rows, 27))]
    return np.column_stack([*columns, np.full(rows, 1000.0)] if mass else columns)


def hepmass_text(table: np.ndarray[Any, Any]) -> bytes:
    text = io.BytesIO()
    np.savetxt(text, table, fmt="%.18e", delimiter=",")
    return text.getvalue()


def write_hepmass(path: Path, rows: int, mass: bool = True) -> np.ndarray[Any, Any]:
    table = hepmass_rows(rows, mass)
    text = (HEADER + (",mass" if mass else "") + "\n").encode() + hepmass_text(table)
    path.write_bytes(gzip.compress(text, 1) if path.suffix == ".gz" else text)
    return table


# -- HEPMASS


@pytest.mark.parametrize("name", ["all_train.csv.gz", "all_train.csv"])
@pytest.mark.parametrize("mass", [True, False])
def test_hepmass_files_are_read_as_they_come(tmp_path: Path, name: str, mass: bool) -> None:
    table = write_hepmass(tmp_path / name, 100, mass)

    data = load(tmp_path / name, HEPMASS, holdout=0.2)

    assert data.train.rows.tobytes() == table[:80, 1:28].astype(np.float32).tobytes()
    assert data.train.targets.tolist() == table[:80, :1].tolist()
    assert data.holdout.rows.tobytes() == table[80:, 1:28].astype(np.float32).tobytes()
    assert data.skipped == 0


def test_a_model_of_28_inputs_gets_the_mass(tmp_path: Path) -> None:
    write_hepmass(tmp_path / "all.csv", 10)
    manifest = Manifest("mass", dense_config(28, (), 1, "sigmoid"), "binary_crossentropy")

    assert load(tmp_path / "all.csv", manifest).train.rows[0, 27] == 1000


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["csv.gz", "npz", pytest.param("parquet", marks=pytest.mark.modules("pyarrow"))])
def test_reading_takes_at_most_1_2_times_the_array(tmp_path: Path, kind: str) -> None:
    """Peak memory of a process of its own, mapped pages included, over what its imports take."""
    path = tmp_path / f"large.{kind}"
    size = {"csv.gz": write_large_csv, "npz": write_large_npz, "parquet": write_large_parquet}[kind](path)
    program = f"""
import importlib, re
from pathlib import Path
from learnae.swarm.presets import preset
from trainer_node.config import DataSection
from trainer_node.datasets.loading import load_dataset
from learnae.samples.files.source import USUAL_LIMITS, ReadingLimits
if {kind == "parquet"}:
    importlib.import_module("pyarrow.parquet")
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024
before = peak()
data = load_dataset(DataSection({str(path)!r}), preset("hepmass", 0))
total = sum(float(part.rows.sum()) for part in (data.train, data.holdout))  # touches every page
print(peak() - before, sum(part.rows.nbytes for part in (data.train, data.holdout)))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True, env=os.environ
    )
    taken, array = map(int, done.stdout.split())

    assert array == size
    assert taken <= 1.2 * array


def write_large_csv(path: Path) -> int:
    """One block of rows, compressed once and written many times: gzip files may have many members."""
    rows, times = 10_000, 90
    line = ",".join(str(index % 10) for index in range(29))  # short numbers: that is quick to parse
    block = gzip.compress("".join(f"{row % 2}{line[1:]}\n" for row in range(rows)).encode(), 1)
    with path.open("wb") as file:
        file.write(gzip.compress((HEADER + ",mass\n").encode()))
        for _ in range(times):
            file.write(block)
    return rows * times * 27 * 4


def write_large_npz(path: Path) -> int:
    x = np.ones((1_000_000, 27), np.float32)
    np.savez(path, x=x, y=np.arange(len(x)) % 2)
    return x.nbytes


def write_large_parquet(path: Path) -> int:
    rows = 3_000_000
    columns = {"label": np.arange(rows, dtype=np.int8) % 2}
    columns |= {f"f{index}": np.random.default_rng(index).random(rows, np.float32) for index in range(27)}
    write_parquet(path, columns, use_dictionary=False)
    return rows * 27 * 4


# -- CSV


def test_a_field_that_is_no_number_costs_only_its_row_and_is_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "data.csv"
    path.write_text("u,v,label\n1,2,0\n3,x,1\n\n5,6,1\n7,nan,0\n1e39,2,0\n9,8,5\n1,,0\n3,4,?\n")

    with caplog.at_level(logging.WARNING, "trainer_node"):
        data = load(path, holdout=0.0)

    assert data.train.rows.tolist() == [[1, 2], [5, 6]]
    assert data.skipped == 6
    assert "6 of 8 rows skipped" in caplog.text
    assert "column 'v'" in caplog.text


@pytest.mark.parametrize("data", [b"", b"no gzip", gzip.compress(b"u,v,label\n1,2,0\n" * 9)[:-9]])
def test_a_damaged_gzip_file_is_said(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "data.csv.gz"
    path.write_bytes(data)

    with pytest.raises(DataError, match=r"data\.csv\.gz"):
        load(path)


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_bytes("\ufefflabel,u,v\r\n0,1,2\r\n1,3,4\r\n".encode())

    assert load(path, holdout=0.0).train.rows.tolist() == [[1, 2], [3, 4]]


# -- Parquet


@pytest.mark.modules("pyarrow")
def test_parquet_columns_of_any_number_are_read(tmp_path: Path) -> None:
    columns = {"u": [1, 2, None, 4], "label": [0, 1, 0, 2], "v": [True, False, True, True]}
    path = write_parquet(tmp_path / "data.parquet", columns, row_group_size=3)

    data = load(path, holdout=0.0)

    assert data.train.rows.tolist() == [[1, 1], [2, 0], [4, 1]]
    assert data.train.targets.tolist() == [0, 1, 2]
    assert data.skipped == 1


@pytest.mark.modules("pyarrow")
@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"u": [1.0], "place": ["north"], "label": [0]}, "column 'place' is of type string"),
        ({"u": [1], "label": [0], "__index_level_0__": [0]}, r"has 1 feature columns \(u\)"),  # pandas' row numbers
    ],
)
def test_parquet_columns_that_cannot_be_used_are_named(tmp_path: Path, columns: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        load(write_parquet(tmp_path / "data.parquet", columns))


@pytest.mark.modules("pyarrow")
def test_what_is_no_parquet_is_said(tmp_path: Path) -> None:
    (tmp_path / "data.parquet").write_bytes(b"PAR1 not really PAR1")

    with pytest.raises(DataError, match=r"cannot read .*data.parquet"):
        load(tmp_path / "data.parquet")


def test_without_pyarrow_the_remedy_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "data.parquet").write_bytes(b"")

    with pytest.raises(DataError, match=re.escape(how_to_install("parquet"))):
        load(tmp_path / "data.parquet")


# -- npz


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_are_read_in_pieces(tmp_path: Path, save: Any, order: Any) -> None:
    x = np.random.default_rng(1).standard_normal((50, 2))
    save(tmp_path / "data.npz", x=np.asarray(x, order=order), y=np.zeros(50, np.uint8))

    data = load(tmp_path / "data.npz", limits=ReadingLimits(chunk_bytes=100), holdout=0.2)

    assert data.train.rows.tolist() == x[:40].astype(np.float32).tolist()
    assert data.holdout.rows.tolist() == x[40:].astype(np.float32).tolist()


def test_an_array_that_is_cut_short_is_said(tmp_path: Path) -> None:
    import zipfile

    whole = io.BytesIO()
    np.save(whole, np.zeros((9, 2)))
    with zipfile.ZipFile(tmp_path / "data.npz", "w") as archive:
        archive.writestr("x.npy", whole.getvalue()[:-8])
        archive.writestr("y.npy", b"")

    with pytest.raises(DataError, match="cannot read"):
        load(tmp_path / "data.npz")


# -- what is held out


def test_classes_are_split_alike_however_the_file_is_sorted(tmp_path: Path) -> None:
    y = np.repeat([0, 1, 2], [100, 10, 40])
    np.savez(tmp_path / "data.npz", x=np.zeros((150, 2)), y=y)

    data = load(tmp_path / "data.npz", holdout=0.3)

    assert np.bincount(data.holdout.targets).tolist() == [30, 3, 12]


def test_no_more_is_held_out_than_an_evaluation_needs(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", x=np.zeros((1000, 2)), y=np.arange(1000) % 2)

    data = load(tmp_path / "data.npz", limits=ReadingLimits(holdout_rows=20), holdout=0.3)

    assert (len(data.train), np.bincount(data.holdout.targets).tolist()) == (980, [10, 10])


# -- what nobody notices


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (",u,label\n0,2,0\n", "column 1 has no name"),
        ("Unnamed: 0,u,label\n0,2,0\n", "column 1 has no name"),
        ("1,2,nan\n1,2,0\n", "no usable header"),
        ("u,v,label\n1,2,0.99999999\n", "no row to train on, 1 were skipped"),
        ("u,v,label\n1_000,2,0\n", "no row to train on, 1 were skipped"),
        ("u,place,label\n" + "1,north,0\n" * 5, "no row to train on, 5 were skipped.*'place'"),
        ("u,v,label\n" + "1,2,0\n" * 1000 + "1,2\n" + "1,2,0\n" * 1000, "line 1002: 2 fields; the header has 3"),
        ("# label,f0,f1,mass\n0,1,2,3\n1,2,3,4\n", r"3 feature columns \(f0, f1, mass\).*takes \(27,\)"),
    ],
)
def test_columns_and_fields_that_only_look_right_are_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "data.csv"
    path.write_text(text)

    with pytest.raises(DataError, match=words):
        load(path, HEPMASS if "mass" in text else CLASSES, ReadingLimits(text_bytes=64))


def test_numbers_that_float32_rounds_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "data.csv"
    path.write_text("u,v,label\n1700000001,2,0\n3,4,1\n")
    np.savez(tmp_path / "data.npz", x=np.full((4, 2), 1 << 25), y=[0, 1, 2, 0])

    load(path)
    assert "column 'u' has numbers beyond 2^24" in caplog.text
    caplog.clear()
    load(tmp_path / "data.npz")
    assert "beyond" not in caplog.text  # float32 has this one


def test_a_line_without_end_is_not_collected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("learnae.tables.lines.LONGEST_LINE", 100)
    path = tmp_path / "data.csv.gz"
    path.write_bytes(gzip.compress(b"u,v,label\n1,2,0\n" + b"1" * 1000))

    with pytest.raises(DataError, match="line 3 has more than 100 characters"):
        load(path, limits=ReadingLimits(text_bytes=16))


def test_lines_are_whole_wherever_the_text_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_bytes(b"u,v,label\r\n1,2,0\r\n \r\n3,4,1\r5,6,2\n7,8,0")
    for size in range(1, 40):
        assert load(path, limits=ReadingLimits(text_bytes=size), holdout=0.0).train.rows.tolist() == [
            [1, 2],
            [3, 4],
            [5, 6],
            [7, 8],
        ]


@pytest.mark.parametrize("name", ["data.csv", "data.csv.gz"])
@pytest.mark.parametrize("packed", [True, False])
def test_gzip_is_known_by_its_bytes(tmp_path: Path, name: str, packed: bool) -> None:
    text = b"u,v,label\n1,2,0\n3,4,1\n"
    (tmp_path / name).write_bytes(gzip.compress(text) if packed else text)

    assert load(tmp_path / name).train.rows.tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize("shape", [(900, 2), (900, 2, 3), (700, 300)])
def test_a_large_array_in_fortrans_order_goes_through_a_file(tmp_path: Path, shape: tuple[int, ...]) -> None:
    path, limits = tmp_path / "data.npz", ReadingLimits(chunk_bytes=1000, array_bytes=10)
    x, y = np.asfortranarray(np.random.default_rng(1).random(shape)), np.arange(shape[0])
    np.savez(path, x=x, y=y)

    chunks = list(ArraySource(Arrays(path), limits=limits).chunks())

    assert len(chunks) > 1
    assert np.concatenate([chunk.rows for chunk in chunks]).tolist() == x.tolist()
    assert np.concatenate([chunk.targets for chunk in chunks]).tolist() == y.tolist()


@pytest.mark.modules("pyarrow")
def test_parquet_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    arrow = importlib.import_module("pyarrow")
    table = arrow.Table.from_arrays([arrow.array([1, 2])] * 3, names=["u", "u", "label"])
    importlib.import_module("pyarrow.parquet").write_table(table, tmp_path / "data.parquet")

    with pytest.raises(DataError, match="several columns of one name"):
        load(tmp_path / "data.parquet")
