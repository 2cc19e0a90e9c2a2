import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from learnae.models.dataset import Rows
from learnae.privacy.floors import Floors, ReleaseFloor

KEPT = Floors(rows=100, draws=256)


def rows_of(values: np.ndarray, capacity: int = 4096) -> Rows:
    rows = Rows((1,), (), np.int64, capacity)
    rows.append(np.asarray(values, np.float32).reshape(-1, 1), np.zeros(len(values), np.int64))
    return rows


def test_copies_of_one_row_are_one_row() -> None:
    floor = ReleaseFloor(KEPT, rows_of(np.full(1000, 0.5)))
    assert floor.why_held_back() == "1 of 100 distinct rows"
    assert not floor.wants_more, "training on leads nowhere: others are merged meanwhile"


def test_what_is_missing_is_said_with_numbers_until_nothing_is() -> None:
    rows = rows_of(np.arange(48))
    floor = ReleaseFloor(Floors(100, 256, merge_first=True), rows)
    assert floor.why_held_back() == "48 of 100 distinct rows"
    rows.append(np.arange(48, 200, dtype=np.float32).reshape(-1, 1), np.zeros(152, np.int64))
    rows.draw(np.arange(99))
    assert floor.why_held_back() == "99 of 100 distinct rows drawn since the last update or merge"
    rows.draw(np.arange(200).repeat(1)[:101])
    assert floor.why_held_back() == "200 of 256 rows drawn since the last update or merge"
    assert floor.wants_more
    rows.draw(np.arange(56))
    assert floor.why_held_back() == "nothing of others was merged yet"
    assert not floor.wants_more
    floor.note_merged()
    assert floor.why_held_back() == ""
    floor.begin()
    assert floor.why_held_back() == "0 of 100 distinct rows drawn since the last update or merge"


def test_rows_that_are_never_drawn_do_not_keep_a_peer_from_merging_for_ever() -> None:
    rows = rows_of(np.arange(100))
    floor = ReleaseFloor(KEPT, rows)
    for _ in range(1000):
        rows.draw(np.zeros(64, np.intp))
    assert (floor.wants_more, floor.why_held_back()[:10]) == (False, "1 of 100 d")


@given(
    values=st.lists(st.integers(0, 30), max_size=120),
    pieces=st.lists(st.integers(0, 40), max_size=6),
    least=st.integers(0, 25),
    capacity=st.integers(1, 64),
)
def test_distinct_rows_are_counted_as_they_come_also_in_a_ring(
    values: list[int], pieces: list[int], least: int, capacity: int
) -> None:
    """What the ring has lost between two looks is not counted; all else is, in whatever pieces it came."""
    rows, seen, start = Rows((1,), (), np.int64, capacity), set[int](), 0
    floor = ReleaseFloor(Floors(rows=least), rows)
    for piece in [*pieces, len(values)]:
        part = values[start : start + piece]
        start += len(part)
        rows.append(np.array(part, np.float32).reshape(-1, 1), np.zeros(len(part), np.int64))
        seen |= {int(value) for value in rows.rows[:, 0][-capacity:] if value in set(part[-capacity:])}
        why = floor.lacks_rows()
        assert why == ("" if len(seen) >= least else f"{len(seen)} of {least} distinct rows")


def test_no_more_digests_are_kept_than_the_floor_has() -> None:
    rows = rows_of(np.arange(4000))
    floor = ReleaseFloor(Floors(10, 10), rows)
    rows.draw(np.arange(4000))
    assert floor.why_held_back() == ""
    assert (len(floor._here), len(floor._drawn)) == (10, 10)
