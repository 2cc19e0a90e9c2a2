"""A race of several parts runs all of them, the one that is asked for, and no other."""

from functools import partial

import pytest

from bench.harness import Race


@pytest.mark.parametrize(("part", "run"), [("", ["first", "second"]), ("second", ["second"])])
def test_all_parts_or_the_one_that_is_asked_for(part: str, run: list[str]) -> None:
    found: list[str] = []
    parts = {name: partial(lambda name, _: found.append(name), name) for name in ("first", "second")}
    Race("some", quick=True, part=part).run_parts(parts)
    assert found == run


def test_a_part_that_is_none_is_said_and_not_passed_over() -> None:
    with pytest.raises(SystemExit, match="some has no part 'thrid': first, third"):
        Race("some", quick=True, part="thrid").run_parts(dict.fromkeys(["first", "third"], lambda _: None))
