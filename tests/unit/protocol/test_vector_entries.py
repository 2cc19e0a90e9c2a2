"""The announcement: bounded both ways, and nothing but a named error for anything else."""

from typing import Any

import pytest
from builders import damaged, escaped, some_cid
from hypothesis import given, settings
from hypothesis import strategies as st
from trees import TREES

from learnae.errors import EncodingError, LimitError, PeerError
from learnae.ipld import dagcbor
from learnae.protocol.announcements import MAX_BYTES, PREFIX_BYTES, Announcement, Entry
from learnae.protocol.limits import MAX_SEQ, Limits

LIMITS = Limits()
AUTHOR = b"\x01\x02\x03\x04\x05\x06\x07\x08"


def entry(number: int = 1, seq: int = 7) -> Entry:
    return Entry(bytes([number]) * PREFIX_BYTES, seq, some_cid(2 * number), some_cid(2 * number + 1))


def wire(**changes: Any) -> bytes:
    fields = {"v": 1, "kept": [], "authors": [[AUTHOR, 7, some_cid(1), None]], **changes}
    return dagcbor.encode({name: value for name, value in fields.items() if value is not None})


def test_what_is_said_is_read_back() -> None:
    said = Announcement((entry(1), entry(2, 0), entry(3, MAX_SEQ)), (some_cid(9), some_cid(8)))
    assert Announcement.from_bytes(said.to_bytes()) == said
    assert said
    assert not Announcement()
    assert Announcement((), (some_cid(1),))


def test_a_head_that_is_a_checkpoint_is_named_once() -> None:
    said = Announcement((Entry(AUTHOR, 7, some_cid(1), some_cid(1)),))
    assert said.to_bytes() == wire()
    assert Announcement.from_bytes(wire()) == said


def test_as_much_as_may_be_said_fits_and_no_more_is_said() -> None:
    most = tuple(entry(number, MAX_SEQ) for number in range(LIMITS.entries))
    kept = tuple(some_cid(1000 + number) for number in range(LIMITS.kept))
    data = Announcement(most, kept).to_bytes()
    assert len(data) <= MAX_BYTES
    assert Announcement.from_bytes(data) == Announcement(most, kept)
    for entries, names in (((*most, entry(99)), ()), ((), (*kept, some_cid(1)))):
        with pytest.raises(LimitError, match="at most 64 and 16"):
            Announcement(entries, names).to_bytes()
        with pytest.raises(EncodingError):
            Announcement.from_bytes(wire(authors=[each.to_list() for each in entries], kept=list(names)))


@pytest.mark.parametrize(
    "changes",
    [
        {"v": 2},
        {"v": None},
        {"v": True},
        {"kept": None},
        {"kept": [b"x"]},
        {"kept": [some_cid(1), some_cid(1)]},
        {"authors": None},
        {"authors": {}},
        {"authors": [None]},
        {"authors": [[]]},
        {"authors": [[AUTHOR, 7, some_cid(1)]]},
        {"authors": [[AUTHOR, 7, some_cid(1), None, None]]},
        {"authors": [[AUTHOR[1:], 7, some_cid(1), None]]},
        {"authors": [[AUTHOR.decode(), 7, some_cid(1), None]]},
        {"authors": [[AUTHOR, -1, some_cid(1), None]]},
        {"authors": [[AUTHOR, MAX_SEQ + 1, some_cid(1), None]]},
        {"authors": [[AUTHOR, 7, None, some_cid(1)]]},
        {"authors": [[AUTHOR, 7, some_cid(1), False]]},
    ],
    ids=repr,
)
def test_any_other_shape_is_refused(changes: dict[str, Any]) -> None:
    assert Announcement.from_bytes(wire())
    with pytest.raises(EncodingError):
        Announcement.from_bytes(wire(**changes))


def test_fields_of_later_versions_are_ignored() -> None:
    assert Announcement.from_bytes(wire(later=[1])) == Announcement.from_bytes(wire())


def test_size_is_bounded_before_anything_is_read() -> None:
    pad = MAX_BYTES - len(wire(later=bytes(4000))) + 4000
    assert Announcement.from_bytes(wire(later=bytes(pad)))
    with pytest.raises(EncodingError, match="at most 8192"):
        Announcement.from_bytes(wire(later=bytes(pad + 1)))


def test_every_damage_is_read_or_refused_with_a_named_error() -> None:
    data = Announcement((entry(1), entry(2)), (some_cid(9),)).to_bytes()
    assert escaped(Announcement.from_bytes, list(damaged(data)), PeerError) == set()


_VALUES = TREES | st.sampled_from([[], {}, 0, None, True, [[AUTHOR, 7, some_cid(1), None]]])


@settings(max_examples=200)
@given(st.sampled_from(["v", "kept", "authors", "later"]), _VALUES, st.lists(_VALUES, max_size=5))
def test_any_value_is_read_or_refused_with_a_named_error(name: str, value: Any, items: list[Any]) -> None:
    cases = [wire(**{name: value}), wire(authors=[items]), dagcbor.encode(value)]
    assert escaped(Announcement.from_bytes, cases, PeerError) == set()
    assert escaped(Announcement.from_fields, [value, items], PeerError) == set()  # type: ignore[list-item]
