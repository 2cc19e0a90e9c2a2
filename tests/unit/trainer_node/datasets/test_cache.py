"""The cache of parsed rows: when it is used, when it is written anew, and what it leaves behind."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from learnae.errors import DataError
from learnae.models.dataset import Dataset
from learnae.samples.files.source import USUAL_LIMITS, ReadingLimits
from learnae.samples.files.table_source import TableSource
from learnae.swarm.manifest import Manifest
from learnae.swarm.presets import dense_config
from learnae.system.atomic_files import TEMPORARY
from learnae.system.paths import home
from trainer_node.config import DataSection
from trainer_node.datasets import cache
from trainer_node.datasets.loading import load_dataset

pytestmark = pytest.mark.usefixtures("own_home")
CLASSES = Manifest("classes", dense_config(2, (), 3, "softmax"), "sparse_categorical_crossentropy")


def load(path: Path, manifest: Manifest = CLASSES, file_bytes: int = 0, **section: Any) -> Dataset:
    """Load through the cache, whatever the file's size, unless ``file_bytes`` say otherwise."""
    return load_dataset(DataSection(str(path), **section), manifest, ReadingLimits(file_bytes=file_bytes))


def test_a_file_is_parsed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "data.csv"
    path.write_text("u,v,label\n" + "1,2,0\n3,4,1\n5,nan,1\n" * 4)
    first = load(path)
    monkeypatch.delattr(TableSource, "chunks")

    again = load(path)

    assert again.train.rows.tolist() == first.train.rows.tolist()
    assert again.holdout.targets.tolist() == first.holdout.targets.tolist()
    assert again.skipped == first.skipped == 4


@pytest.mark.parametrize("keeps_time", [True, False])
def test_a_file_that_has_changed_is_parsed_again_and_the_old_rows_go(tmp_path: Path, keeps_time: bool) -> None:
    path = tmp_path / "data.csv"
    path.write_text("u,v,label\n1,2,0\n3,4,1\n")
    time = path.stat().st_mtime_ns if keeps_time else 1
    load(path, holdout=0.0)
    path.write_text("u,v,label\n7,8,0\n3,4,1\n")
    os.utime(path, ns=(time, time))

    assert load(path, holdout=0.0).train.rows[0].tolist() == [7, 8]
    assert len(list((home() / "cache").iterdir())) == 1


def test_what_another_process_finishes_or_removes_meanwhile_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, root, remove = tmp_path / "data.csv", home() / "cache", shutil.rmtree
    path.write_text("u,v,label\n1,2,0\n3,4,1\n")
    load(path)
    (old,) = root.iterdir()
    path.write_text("u,v,label\n7,8,0\n3,4,1\n5,6,1\n")
    (root / f"{TEMPORARY}1-1").symlink_to(tmp_path / "gone")  # stat fails as for a directory that was just renamed
    there = []

    def slowly(entry: Path, **options: Any) -> None:
        there.append(old.exists())  # half of it would be taken for all of it
        remove(entry, **options)

    monkeypatch.setattr(cache.shutil, "rmtree", slowly)
    load(path)
    assert there
    assert not any(there)


def test_other_options_have_rows_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text("u,v,label\n" + "1,0,0\n" * 10 + "2,1,1\n" * 10)

    assert len(load(path, holdout=0.5).holdout) == 10
    assert len(load(path, holdout=0.1).holdout) == 2
    assert load(path, label="v").train.rows[0].tolist() == [1, 0]


def test_an_autoencoder_that_leaves_out_another_column_has_rows_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text("u,v,w\n1,2,3\n4,5,6\n")
    manifest = Manifest("same", dense_config(2, (), 2, "linear"), "mean_squared_error")

    assert load(path, manifest, label="w", holdout=0.0).train.rows.tolist() == [[1, 2], [4, 5]]
    assert load(path, manifest, label="u", holdout=0.0).train.rows.tolist() == [[2, 3], [5, 6]]


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("train.rows", lambda file: file.write_bytes(file.read_bytes()[:-1])),
        ("holdout.targets", lambda file: file.unlink()),
        ("counts.json", lambda file: file.write_text("{}")),
        ("counts.json", lambda file: file.write_bytes(b"")),
    ],
)
def test_a_damaged_cache_is_said_and_written_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, damage: Any
) -> None:
    path = tmp_path / "data.csv"
    path.write_text("u,v,label\n1,2,0\n3,4,1\n")
    load(path)
    damage(next((home() / "cache").glob(f"*/{name}")))

    assert load(path).train.rows.tolist() == [[1, 2], [3, 4]]
    assert "are damaged" in caplog.text
    assert len(list((home() / "cache").iterdir())) == 1


@pytest.mark.parametrize("size", [0, 1 << 24])
def test_a_file_that_grows_while_it_is_read_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    path = tmp_path / "data.csv"
    path.write_text("u,v,label\n1,2,0\n3,4,1\n")
    read = TableSource.chunks

    def chunks_of_a_growing_file(source: TableSource) -> Any:
        yield from read(source)
        path.write_text("u,v,label\n1,2,0\n3,4,1\n5,6,1\n")

    monkeypatch.setattr(TableSource, "chunks", chunks_of_a_growing_file)

    with pytest.raises(DataError, match="has changed while it was read"):
        load(path, file_bytes=size)
    assert not list((home() / "cache").glob("*"))


def test_small_files_leave_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text("u,v,label\n1,2,0\n3,4,1\n")

    assert len(load(path, file_bytes=USUAL_LIMITS.file_bytes).train) == 2
    assert not home().exists()
