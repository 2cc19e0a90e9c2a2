"""Small files that unpack to gigabytes: refused by their headers, or read in bounded pieces."""

import gzip
import io
import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from limited import run_limited
from numpy.lib import format as npy

from learnae.errors import DataError
from learnae.tables.arrays import Arrays
from learnae.tables.numbers import Numbers
from learnae.tables.opening import open_table

ZEROS = bytes(1 << 20)
READ = """
import sys, warnings
from pathlib import Path
from learnae.errors import DataError
from learnae.samples.recordings import read_recording
from learnae.tables.opening import is_called_arrays, open_table
from learnae.tables.numbers import Numbers
from learnae.tables.arrays import Arrays
from learnae.tables.numbers import Numbers
from learnae.tables.opening import open_table
path = Path(sys.argv[1])
try:
    if sys.argv[2] == "recording":
        read_recording(path, ("a",), 10.0)
    elif is_called_arrays(path):
        arrays = Arrays(path)
        for name in arrays.headers:
            for part in arrays.pieces(name, 1000):
                pass
    else:
        table = open_table(path)
        for piece in table.pieces([(table.names[0], Numbers())]):
            pass
    print("read")
except DataError as error:
    print("refused:", error)
"""


def header(shape: tuple[int, ...], descr: str = "<f4", fortran: bool = False) -> bytes:
    buffer = io.BytesIO()
    npy.write_array_header_1_0(buffer, {"descr": descr, "fortran_order": fortran, "shape": shape})
    return buffer.getvalue()


def npz(path: Path, name: str, head: bytes, size: int) -> Path:
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open(f"{name}.npy", "w", force_zip64=True) as member,
    ):
        member.write(head)
        for _ in range(size >> 20):
            member.write(ZEROS)
    return path


def test_an_array_whose_rows_are_gigabytes_is_refused_by_its_header(tmp_path: Path) -> None:
    path = npz(tmp_path / "a.npz", "x", header((1, 1 << 29)), 0)
    with pytest.raises(DataError, match="a row of x has 2,147,483,648 bytes"):
        list(Arrays(path).pieces("x", 1))
    npz(path, "y", header((3,), "<U500000000"), 0)
    with pytest.raises(DataError, match="a row of y has 2,000,000,000 bytes"):
        Arrays(path).read("y")


@pytest.mark.parametrize("shape", [(1 << 45,), (1 << 40, 2), (-5, 3), (5, -1)])
def test_an_array_larger_than_memory_or_of_no_size_is_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    path = npz(tmp_path / "a.npz", "label", header(shape), 0)
    with pytest.raises(DataError, match=r"MiB of memory are free|has the shape"):
        Arrays(path).read("label")


def test_a_transposed_one_that_the_disk_has_no_room_for_is_refused(tmp_path: Path) -> None:
    path = npz(tmp_path / "a.npz", "x", header((1 << 45, 4), fortran=True), 0)
    with pytest.raises(DataError, match="goes through the disk"):
        next(Arrays(path).pieces("x", 1))


def test_an_archive_of_very_many_arrays_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        for number in range(1025):
            archive.writestr(f"{number}.npy", b"")
    with pytest.raises(DataError, match="1025 arrays, of which at most 1024"):
        Arrays(tmp_path / "a.npz")


def zipped_lines(path: Path, line: bytes, count: int, first: bytes = b"") -> Path:
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(first)
        for _ in range(count):
            file.write(line)
    return path


def long_json(tmp_path: Path) -> tuple[Path, str]:
    line = json.dumps({"a": 1, "b": "x" * (3 << 20)}).encode() + b"\n"
    return zipped_lines(tmp_path / "long.jsonl.gz", line, 45), "table"


def many_samples(tmp_path: Path) -> tuple[Path, str]:
    return zipped_lines(tmp_path / "many.csv.gz", b"0\n" * (1 << 19), 4, b"a\n"), "recording"


def many_samples_in_lines(tmp_path: Path) -> tuple[Path, str]:
    return npz(tmp_path / "signal.npz", "signal", header((300 << 20, 1)), 0), "recording"


def long_arrays(tmp_path: Path) -> tuple[Path, str]:
    return npz(tmp_path / "x.npz", "x", header((32 << 18,)), 32 << 20), "arrays"


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (long_json, "read"), (long_arrays, "read"),
        (many_samples, "refused: .*of memory are free"), (many_samples_in_lines, "refused: .*of memory are free"),
    ],
)  # fmt: skip
def test_what_unpacks_to_more_than_memory_is_read_in_pieces_or_refused(
    tmp_path: Path, make: Callable[[Path], tuple[Path, str]], said: str
) -> None:
    path, kind = make(tmp_path)
    assert path.stat().st_size < 20 << 20
    done = run_limited(READ, 270, path, kind)
    assert done.returncode == 0, done.stderr[-2000:]
    assert re.match(said, done.stdout), done.stdout


def test_a_row_group_that_unpacks_to_very_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "zeros.parquet"
    parquet.write_table(arrow.table({"a": [0.0] * 100_000}), path, compression="zstd", use_dictionary=False)
    table = open_table(path)
    assert sum(len(piece.values) for piece in table.pieces([("a", Numbers())])) == 100_000
    monkeypatch.setattr("learnae.tables.arrow_table._MOST_UNPACKED", 1000)
    monkeypatch.setattr("learnae.tables.arrow_table._MOST_RATIO", 100)
    with pytest.raises(DataError, match=r"row group 0 unpacks to 800,.* bytes, and at most"):
        list(table.pieces([("a", Numbers())]))
