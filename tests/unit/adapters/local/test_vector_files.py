"""Large vectors are mapped from files, keep their values, and leave no name behind."""

import os
from pathlib import Path

import numpy as np
import pytest

from learnae.adapters.local.vector_files import LARGE, is_mapped, keep


def test_a_large_vector_is_mapped_with_its_values_and_no_name(tmp_path: Path) -> None:
    vector = np.arange(2 * LARGE, dtype=np.float32)[::2]  # not in one piece
    kept = keep(tmp_path, vector)
    assert is_mapped(kept)
    assert not is_mapped(vector)
    assert np.array_equal(kept, vector)
    assert kept.dtype == np.float32
    assert not os.listdir(tmp_path)
    assert keep(tmp_path, kept) is kept, "what is in a file is not written again"


def test_a_small_vector_stays_where_it_is(tmp_path: Path) -> None:
    vector = np.zeros(LARGE - 1, np.float32)
    assert keep(tmp_path, vector) is vector


def test_what_is_mapped_cannot_be_changed_by_mistake(tmp_path: Path) -> None:
    kept = keep(tmp_path, np.zeros(LARGE, np.float32))
    with pytest.raises(ValueError, match="read-only"):
        kept += 1


def test_where_the_disk_takes_nothing_it_stays_in_memory(tmp_path: Path) -> None:
    vector = np.ones(LARGE, np.float32)
    assert keep(tmp_path / "gone", vector) is vector


def mapped_bytes() -> int:
    """What of this process' memory are pages of files."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssFile"))
    return 1024 * int(line.split()[1])


def test_what_was_looked_at_takes_no_memory_once_another_is_kept(tmp_path: Path) -> None:
    first = keep(tmp_path, np.ones(8 * LARGE, np.float32))
    before = mapped_bytes()
    assert first.sum() == 8 * LARGE
    assert mapped_bytes() - before > first.nbytes / 2
    second = keep(tmp_path, np.zeros(LARGE, np.float32))
    assert mapped_bytes() - before < first.nbytes / 8
    assert first.sum() == 8 * LARGE
    assert not second.any()
