"""Tables as programs write them: what was written is what is read, or the reason why not is said."""

import bz2
import gzip
import lzma
import random
import zipfile
from pathlib import Path

import numpy as np
import pytest
from dialects import CLASSES, random_dialect, random_truth, write
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from learnae.errors import DataError
from learnae.tables.labels import Classes
from learnae.tables.numbers import Numbers
from learnae.tables.opening import open_table
from learnae.tables.table import Floats, Table

LOGGED = "time,a,b,label\n" + "".join(f"{n},{n}.125,7.375,{n % 3}\n" for n in range(30))


def read(table: Table, *names: str) -> Floats:
    wanted = [(name, Numbers()) for name in names]
    return np.concatenate([np.empty((0, len(names))), *(piece.values for piece in table.pieces(wanted))])


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize("seed", range(150))
def test_what_was_written_is_what_is_read(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    dialect, truth = random_dialect(rng), random_truth(rng, rng.choice((1, 5, 40, 400)))
    write(tmp_path / "data.csv", truth, dialect)
    wanted = [("b", Numbers()), ("label", Classes(CLASSES, len(CLASSES))), ("a", Numbers())]
    table = open_table(tmp_path / "data.csv", rng.choice((64, 500, 1 << 18)))
    got = np.concatenate([piece.values for piece in table.pieces(wanted)])
    nan = float("nan")
    expected = [
        [nan if b is None else b, CLASSES.index(label), nan if a is None else a]
        for a, b, _, label in zip(*truth, strict=True)
    ]
    assert table.names == ["a", "note", "label", "b"]
    np.testing.assert_array_equal(got, expected)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@example(cut=33, zeros=0, block=16)  # up to the last separator of the second row
@given(cut=st.integers(51, len(LOGGED)), zeros=st.sampled_from([0, 1, 5000]), block=st.sampled_from([16, 1 << 18]))
def test_a_power_cut_costs_the_line_that_was_being_written_and_no_other(
    tmp_path: Path, cut: int, zeros: int, block: int
) -> None:
    """Wherever a file ends, all that is read was written, and all whole lines are read.

    Three rows before it tell how many decimals a number has; with fewer, one that is cut short looks like another.
    """
    lines = ["time,b,label,a\n", *(f"{n},x,{n % 3},{n}.125\n" for n in range(30))]
    text = "".join(lines)[: max(cut, len(lines[0]))]
    path = written(tmp_path / "data.csv", text.encode() + b"\0" * zeros)
    got = read(open_table(path, block), "time", "a")
    whole = text.count("\n") - 1
    assert len(got) in (whole, whole + 1)
    assert got.tolist() == [[n, n + 0.125] for n in range(len(got))]


def test_what_is_passed_over_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    text = "a,b\n1,2\n# pause\na,b\n3,\0\0\0\n\0\0\0\0\n5,6\n7"
    path = written(tmp_path / "data.csv", text)
    assert read(open_table(path), "a").tolist() == [[1], [3], [5]]
    for words in (
        "1 line passed over that begin with #",
        "1 line passed over that repeat the header",
        "1 line passed over with zeros in it",
        "1 line passed over at the end that is cut off",
    ):
        assert words in caplog.text


@pytest.mark.parametrize("block", [16, 1 << 18])
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,b\n" + "1,2\n" * 9 + '"1,2\n' + "3,4\n" * 9, "line 11: a quotation mark is never closed"),
        ("a,b\n" + "1,2\n" * 9 + '1,"2"x\n' + "3,4\n" * 9, "line 11: ',' expected after '\"'"),
        ("a,b\n" + "1,2\n" * 9 + "1,2,3\n" + "3,4\n" * 9, "line 11: 3 fields; the header has 2; found '1,2,3'"),
        ("a,b\n" + "1,2\n" * 9 + "1\n" + "3,4\n" * 9, "line 11: 1 fields; the header has 2; found '1'"),
        ("a;b\n" + "1,5;2\n" * 9 + "1.5;2\n", "line 11, column 'a': '1.5', but '1,5' before it"),
        ("a;b\n" + "1.5;2\n" * 9 + "1,5;2\n" * 9, "line 11, column 'a': '1,5', but '1.5' before it"),
    ],
)
def test_the_line_is_named_that_cannot_be_read(tmp_path: Path, text: str, words: str, block: int) -> None:
    table = open_table(written(tmp_path / "data.csv", text), block)
    with pytest.raises(DataError) as caught:
        read(table, "a", "b")
    assert f"{tmp_path / 'data.csv'}, {words}" in str(caught.value)


@pytest.mark.parametrize(
    ("header", "names"),
    [
        ("# time a,b", ["time a", "b"]),
        ("# written by a logger\n# \na,b", ["a", "b"]),
        ("sep=;\na;b", ["a", "b"]),
        ('\n\n"a ",b', ["a", "b"]),
    ],
)
def test_the_header_is_found(tmp_path: Path, header: str, names: list[str]) -> None:
    separator = ";" if ";" in header else ","
    table = open_table(written(tmp_path / "data.csv", f"{header}\n" + f"1{separator}2\n" * 3))
    assert table.names == names
    assert read(table, *names).tolist() == [[1, 2]] * 3


def zipped(content: bytes, path: Path, *names: str) -> bytes:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, content)
    return path.read_bytes()


def zstd(content: bytes) -> bytes:
    pyarrow = pytest.importorskip("pyarrow")
    return bytes(pyarrow.compress(content, codec="zstd", asbytes=True))


@pytest.mark.parametrize("name", ["data.csv", "data.csv.gz", "data.csv.zst"])
@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, zstd, None])
def test_packed_files_are_known_by_their_bytes(tmp_path: Path, name: str, pack: object) -> None:
    content = pack(LOGGED.encode()) if callable(pack) else zipped(LOGGED.encode(), tmp_path / "zip", "some/x.csv")
    table = open_table(written(tmp_path / name, content))
    assert read(table, "a")[:, 0].tolist() == [n + 0.125 for n in range(30)]


def test_a_zip_archive_holds_one_table(tmp_path: Path) -> None:
    zipped(LOGGED.encode(), tmp_path / "data.zip", "inner.csv", "__MACOSX/._inner.csv")
    assert len(read(open_table(tmp_path / "data.zip"), "a")) == 30
    zipped(LOGGED.encode(), tmp_path / "data.zip", "a.csv", "b.csv")
    with pytest.raises(DataError, match="holds 2 files; give an archive of one table"):
        open_table(tmp_path / "data.zip")


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_a_packed_file_that_is_cut_short_is_named(tmp_path: Path, pack: object) -> None:
    assert callable(pack)
    path = written(tmp_path / "data.csv.gz", pack(LOGGED.encode() * 50)[:-9])
    with pytest.raises(DataError, match=f"cannot read {path}"):
        read(open_table(path), "a")


def test_without_a_library_for_zstandard_the_remedy_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "data.csv.zst", b"\x28\xb5\x2f\xfd rest")
    monkeypatch.setattr("learnae.tables.compression._ZSTD_LIBRARIES", ("no_such_library",))
    with pytest.raises(DataError, match=r"needs Python 3\.14, zstandard or pyarrow; unzstd data\.csv\.zst, or "):
        open_table(path)


def test_json_lines_are_read_by_their_keys(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    text = '{"a": 1, "b": 2.5, "s": "x"}\n\n{"b": null, "a": true}\n{"a": "7", "c": {"d": 1}}\n{"a": 9, "b"'
    table = open_table(written(tmp_path / "data.jsonl", text))
    assert table.names == ["a", "b", "s", "c"]
    np.testing.assert_array_equal(read(table, "a", "b"), [[1, 2.5], [1, np.nan], [7, np.nan]])
    assert "line 5 is cut off" in caplog.text
    with pytest.raises(DataError, match=r"line 4, column 'c': '\{\"d\": 1\}'; give numbers"):
        read(table, "c")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a": 1}\n{"a": 1,\n{"a": 2}\n', "line 2 is no JSON"),
        ('{"a": 1}\n[1, 2]\n', r"line 2: '\[1, 2\]'; give an object a line"),
        ('{"a": 1, "a": 2}\n', "line 1 is no JSON: a key is there twice"),
        ("[" * 100_000 + "\n", "line 1 is no JSON"),
        ("", "has no line with a key"),
    ],
)
def test_json_that_is_no_table_is_named(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        read(open_table(written(tmp_path / "data.ndjson", text)), "a")
