"""Rows on a device that has no room for all of them."""

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
