"""What other processes put is found without going through all blocks, whatever has been deleted meanwhile."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from learnae.adapters.local import arrivals as arrivals_module
from learnae.adapters.local.arrivals import Arrivals
from learnae.adapters.local.block_store import LocalBlockStore
from learnae.ipld.cid import RAW, Cid

STEPS = st.lists(
    st.tuples(st.sampled_from(["put", "delete", "delete newest", "look"]), st.integers(0, 11)), max_size=60
)


def test_what_was_there_before_has_not_come(tmp_path: Path) -> None:
    store, other = LocalBlockStore(tmp_path), LocalBlockStore(tmp_path)
    old = other.put(RAW, b"old")
    arrivals = Arrivals(store)
    new = [other.put(RAW, b"%d" % number) for number in range(3)]
    other.put(RAW, b"old")
    assert arrivals.look() == new
    assert arrivals.look() == []
    other.delete([old, new[2]])
    assert arrivals.look() == []
    again = other.put(RAW, b"with the number of a deleted one")
    assert arrivals.look() == [again]


def test_more_than_a_look_may_find_is_found_by_the_next_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrivals_module, "_MOST", 5)
    monkeypatch.setattr(arrivals_module, "_REMEMBERED", 3)
    store = LocalBlockStore(tmp_path)
    arrivals = Arrivals(store)
    put = [store.put(RAW, b"%d" % number) for number in range(20)]
    found = []
    while new := arrivals.look():
        assert len(new) <= 8
        found += new
    assert found == put


@given(STEPS)
def test_what_has_come_and_is_still_there_is_found_or_a_look_says_that_it_cannot_tell(
    steps: list[tuple[str, int]],
) -> None:
    with TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrivals_module, "_REMEMBERED", 3)
        store, other = LocalBlockStore(Path(directory)), LocalBlockStore(Path(directory))
        for number in range(4):
            other.put(RAW, b"old %d" % number)
        arrivals, come, found = Arrivals(store), dict[Cid, None](), set[Cid]()
        for step, number in [*steps, ("look", 0)]:
            if step == "put":
                data = b"%d" % number
                cid = Cid.of(RAW, data)
                if not other.has(cid):
                    come[other.put(RAW, data)] = None
            elif step == "look":
                new = arrivals.look()
                if new is None:  # everything is compared then
                    arrivals = Arrivals(store)
                else:
                    found.update(new)
                    assert set(come) <= found
                come, found = {}, set()
            else:
                rows = [Cid.from_bytes(name) for _, name in other.newest_rows(12)]
                victims = rows[-number:] if step == "delete newest" and number else rows[number : number + 1]
                other.delete(victims)
                for cid in victims:
                    come.pop(cid, None)
        store.close()
        other.close()
