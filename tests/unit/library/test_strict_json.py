"""JSON for other programs: every number is one that JSON has a word for."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from learnae.basics.strict_json import dumps

VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.tuples(inner) | st.dictionaries(st.text(), inner),
)


def refuse(word: str) -> None:
    raise AssertionError(f"{word} is no JSON")


@given(VALUES, st.sampled_from([None, 1]))
def test_a_strict_reader_gets_what_was_written_and_null_for_what_is_no_number(value: Any, indent: int | None) -> None:
    read = json.loads(dumps(value, indent), parse_constant=refuse)
    lenient = json.loads(json.dumps(value), parse_constant=lambda _: None)
    assert read == lenient
