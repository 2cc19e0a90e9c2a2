import os
import stat
from pathlib import Path

import pytest

from learnae.errors import StateError
from learnae.system import atomic_files as files
from learnae.system.atomic_files import TEMPORARY, create_once, remove_leftovers, write_atomic


def names(directory: Path) -> list[str]:
    return sorted(entry.name for entry in directory.iterdir())


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "state"
    for data, mode in ((b"one", 0o600), (b"", 0o644), (b"three" * 1000, 0o600)):
        write_atomic(path, data, mode=mode)
        assert path.read_bytes() == data
        assert stat.S_IMODE(path.stat().st_mode) == mode
    assert names(tmp_path) == ["state"]


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_failed_write_leaves_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    path = tmp_path / "state"
    write_atomic(path, b"old")

    def fail(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(files.os, failing, fail)
    with pytest.raises(StateError, match="no space"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"


def test_a_directory_that_is_no_directory_is_a_state_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for write in (write_atomic, create_once):
        with pytest.raises(StateError, match="cannot write"):
            write(tmp_path / "file" / "state", b"data")


def test_the_data_is_on_the_disk_before_the_name_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(files.os, "fsync", lambda fd: (calls.append("fsync"), fsync(fd)))
    monkeypatch.setattr(files.os, "replace", lambda a, b: (calls.append("replace"), replace(a, b)))
    write_atomic(tmp_path / "a", b"data")
    assert calls == ["fsync", "replace", "fsync"]
    calls.clear()
    write_atomic(tmp_path / "a", b"data", durable=False)
    assert calls == ["replace"]


def test_what_exists_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "key"
    assert create_once(path, b"first", 0o600)
    assert not create_once(path, b"second", 0o644)
    assert path.read_bytes() == b"first"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert names(path.parent) == ["key"]


def test_old_leftovers_go_and_nothing_else(tmp_path: Path) -> None:
    for name, changed in ((TEMPORARY + "1", 100), (TEMPORARY + "2", 300), ("block", 100)):
        (tmp_path / name).write_bytes(b"x")
        os.utime(tmp_path / name, (changed, changed))
    assert remove_leftovers(tmp_path, older_than=200) == 1
    assert names(tmp_path) == [TEMPORARY + "2", "block"]


def test_a_leftover_that_vanishes_meanwhile_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / (TEMPORARY + "1")).symlink_to(tmp_path / "gone")  # stat fails as for a vanished file
    assert remove_leftovers(tmp_path, older_than=200) == 0
