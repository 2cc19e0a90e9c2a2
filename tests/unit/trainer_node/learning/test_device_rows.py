"""Rows on a device that has no room for all of them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from learnae.models.dataset import Rows
from trainer_node.learning.device_rows import DeviceRows


@pytest.mark.modules("jax")
@pytest.mark.parametrize("count", [10, 101, 127, 1000])
def test_no_row_is_trained_on_much_more_often_than_others_where_parts_take_turns(count: int) -> None:
    import jax

    rows: Any = Rows((1,), None, np.float32, count)
    values = np.arange(count, dtype=np.float32)[:, None]
    rows.adopt(values, values)
    resident = DeviceRows(jax, rows)
    while resident.halve(2):
        parts = [np.asarray(resident.part(number).rows)[:, 0] for number in range(resident.parts)]
        visits = np.bincount(np.concatenate(parts).astype(int), minlength=count)

        assert visits.min() == 1
        assert np.count_nonzero(visits > 1) < resident.parts


@pytest.mark.modules("jax")
def test_mapped_rows_are_not_copied_on_a_cpu_also_beside_rows_drawn_from_summaries(tmp_path: Path) -> None:
    import jax

    (path := tmp_path / "rows").write_bytes(np.arange(8192, dtype=np.float32).tobytes())
    mapped = np.asarray(np.memmap(path, np.float32, "r", shape=(4096, 2)))
    own, drawn = (Rows((2,), (1,), np.float32, 1) for _ in range(2))
    own.adopt(mapped, mapped[:, :1])
    resident = DeviceRows(jax, own, drawn)
    for count in (None, 1, 5, 0):
        if count is not None:
            drawn.adopt(np.full((count, 2), -count, np.float32), np.ones((count, 1), np.float32))
        part = resident.part(0)

        assert np.shares_memory(np.asarray(part.rows), mapped)
        assert len(part.rows) == len(part.targets) == 4096
        assert (part.drawn is None) is (not count)
        assert part.drawn is None or np.asarray(part.drawn[0]).tolist() == [[-count, -count]] * count
