"""The rows of the HEPMASS-like simulation: made of chunks that follow from a seed, and found again after a kill."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.hepmass import collisions, files
from bench.hepmass.collisions import MASSES, TITLE
from bench.hepmass.files import COLUMNS, SPLITS, Files, Table, make_chunk
from bench.hepmass.scores import auc
from learnae.errors import DataError

SMALL = 1000  # rows of a chunk, here
GOLDEN = {
    "train": [-0.15086166560649872, 0.16194535791873932, -0.8782771825790405],
    "test": [0.6230831742286682, 0.1446136087179184, -0.9691448211669922],
    "held-out": [-0.9804439544677734, 0.0694093406200409, -0.2833593487739563],
}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "CHUNK", SMALL)


def arrays(table: Table) -> list[bytes]:
    return [array.tobytes() for array in (table.rows, table.labels, table.masses)]


def test_a_size_is_the_beginning_of_each_larger_one_and_a_chunk_is_made_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    monkeypatch.setattr(files, "make_chunk", lambda *of: made.append(of[-1]) or make_chunk(*of))

    sizes = (1500, 300, 3200, 3200)
    tables = [Files(tmp_path, "train", rows).table() for rows in sizes]

    assert [len(table.labels) for table in tables] == list(sizes)
    assert made == [0, 1, 1, 2, 3]  # the last of 1,500 rows was half a chunk
    largest = tables[-1]
    assert isinstance(largest.rows, np.memmap)
    assert all(arrays(table) == arrays(largest.first(len(table.labels))) for table in tables)
    assert arrays(largest.of(slice(1000, 2000))) == arrays(make_chunk(1, "train", 1))
    names = sorted(path.name for path in tmp_path.iterdir())
    assert all(name.startswith("HEPMASS-like-simulation-") for name in names)
    assert not [name for name in names if ".part" in name]
    assert json.loads(Files(tmp_path, "train", 1).path("json").read_text())["data"] == TITLE


def test_what_a_killed_process_has_written_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = f"""
import os, signal
from pathlib import Path
from bench.hepmass import files
files.CHUNK, make = {SMALL}, files.make_chunk
files.make_chunk = lambda *of: make(*of) if of[-1] < 2 else os.kill(os.getpid(), signal.SIGKILL)
files.Files(Path({str(tmp_path)!r}), "test", 2500).table()
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parents[3], check=False)
    made: list[int] = []
    monkeypatch.setattr(files, "make_chunk", lambda *of: made.append(of[-1]) or make_chunk(*of))

    table = Files(tmp_path, "test", 2500).table()

    assert done.returncode == -signal.SIGKILL
    assert made == [2]
    assert arrays(table) == arrays(Files(tmp_path / "again", "test", 2500).table())


def test_what_was_written_of_other_constants_or_another_size_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Files(tmp_path, "train", 1000).table()
    monkeypatch.setattr(collisions, "POWER", 3.0)
    other = Files(tmp_path, "train", 1000).table()

    assert arrays(other) == arrays(Files(tmp_path / "again", "train", 1000).table())
    Files(tmp_path, "train", 1).path("rows.npy").write_bytes(b"")
    with pytest.raises(DataError, match="remove"):
        Files(tmp_path, "train", 1000).table()


@pytest.mark.parametrize("split", SPLITS)
def test_rows_are_what_they_were(split: str) -> None:
    """The constants are frozen: results of one year are compared with those of another."""
    chunk = make_chunk(1, split, 0)

    assert chunk.labels.sum() == SMALL // 2
    assert np.bincount(chunk.masses[chunk.labels == 1])[list(MASSES)].tolist() == [100] * 5
    assert chunk.rows.shape == (SMALL, COLUMNS)
    assert chunk.rows.dtype == np.float32
    assert np.isfinite(chunk.rows).all()
    assert np.abs(chunk.rows.mean(axis=0)).max() < 0.3
    found = [float(chunk.rows[number, column]) for number, column in ((0, 0), (1, 10), (-1, 26))]
    assert found == pytest.approx(GOLDEN[split], rel=1e-6)


def test_masses_can_be_told_from_the_spectrum_and_the_pair_of_a_w() -> None:
    rng = np.random.default_rng(5)
    rows = collisions.make_rows(rng, 1000, 2000)
    shift, scale = (np.array(each) for each in (collisions._SHIFT, collisions._SCALE))
    whole, w = np.exp(rows[:, [26, 22]] * scale[[26, 22]] + shift[[26, 22]]).T

    assert 900 < np.median(whole) < 1100
    assert 75 < np.median(w) < 95
    assert len(collisions.make_rows(rng, 0, 0)) == 0


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=30))
def test_the_area_under_the_curve_is_the_share_of_pairs_in_order(pairs: list[tuple[int, bool]]) -> None:
    outputs, labels = (np.array(each) for each in zip(*pairs, strict=True))
    signal, background = outputs[labels], outputs[~labels]
    expected = [(one > other) + (one == other) / 2 for one in signal for other in background]

    assert auc(outputs, labels) == pytest.approx(np.mean(expected) if expected else np.nan, nan_ok=True)
