from collections.abc import Callable
from typing import Any

import pytest

from learnae.errors import ManifestError, MessageError
from learnae.ipld.cid import RAW, Cid
from learnae.ipld.fields import Fields

A, B = Cid.of(RAW, b"a"), Cid.of(RAW, b"b")
Read = Callable[[Fields], object]


def fields(value: object) -> Fields:
    return Fields({"x": value}, "thing", MessageError)


@pytest.mark.parametrize(
    ("value", "read", "result"),
    [
        (5, lambda f: f.integer("x", 5, 5), 5),
        (None, lambda f: f.integer("y", 0, 9, default=7), 7),
        (1, lambda f: f.number("x"), 1.0),
        (-1.5, lambda f: f.number("x", -1.5, 0), -1.5),
        ("é" * 64, lambda f: f.text("x"), "é" * 64),
        ("b", lambda f: f.choice("x", ("a", "b")), "b"),
        (False, lambda f: f.boolean("x"), False),
        (b"ab", lambda f: f.octets("x", 2), b"ab"),
        (A, lambda f: f.link("x"), A),
        (A, lambda f: f.optional_link("x"), A),
        (None, lambda f: f.optional_link("x"), None),
        (0, lambda f: f.optional_link("y"), None),
        ([A, B], lambda f: f.links("x", 2), (A, B)),
        ([1, 2.5], lambda f: f.numbers("x", 2), (1.0, 2.5)),
        (["a", ""], lambda f: f.texts("x", 2), ("a", "")),
        ({"y": 1}, lambda f: f.fields("x").integer("y"), 1),
        (None, lambda f: f.value("x"), None),
    ],
)
def test_what_fits_is_read(value: object, read: Read, result: Any) -> None:
    got = read(fields(value))
    assert got == result
    assert type(got) is type(result)


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (True, lambda f: f.integer("x")),
        (1.0, lambda f: f.integer("x")),
        (4, lambda f: f.integer("x", 5, 6)),
        (7, lambda f: f.integer("x", 5, 6)),
        (-1, lambda f: f.integer("x")),
        (2**53 + 1, lambda f: f.integer("x")),
        ("1", lambda f: f.integer("x")),
        (True, lambda f: f.number("x")),
        ("1", lambda f: f.number("x")),
        (float("nan"), lambda f: f.number("x")),
        (float("inf"), lambda f: f.number("x")),
        (1e16, lambda f: f.number("x")),
        (-1e16, lambda f: f.number("x")),
        (1.1, lambda f: f.number("x", 0, 1)),
        ("a" * 65, lambda f: f.text("x")),
        ("a\nb", lambda f: f.text("x")),
        ("\x1b[31m", lambda f: f.text("x")),
        ("\u202e", lambda f: f.text("x")),
        (b"a", lambda f: f.text("x")),
        ("c", lambda f: f.choice("x", ("a", "b"))),
        (["a"], lambda f: f.choice("x", ("a", "b"))),
        (0, lambda f: f.boolean("x")),
        (b"abc", lambda f: f.octets("x", 2)),
        ("ab", lambda f: f.octets("x", 2)),
        (b"a", lambda f: f.link("x")),
        (None, lambda f: f.link("x")),
        (0, lambda f: f.optional_link("x")),
        ([A, B], lambda f: f.links("x", 1)),
        ([A, A], lambda f: f.links("x", 2)),
        ([A, b"b"], lambda f: f.links("x", 2)),
        (A, lambda f: f.links("x", 2)),
        ([1, 2], lambda f: f.numbers("x", 1)),
        ([1, "2"], lambda f: f.numbers("x", 2)),
        ("12", lambda f: f.numbers("x", 2)),
        (["a", "b"], lambda f: f.texts("x", 1)),
        (["a", 1], lambda f: f.texts("x", 2)),
        ("ab", lambda f: f.texts("x", 2)),
        ([], lambda f: f.fields("x")),
        (1, lambda f: f.value("y")),
        (1, lambda f: f.integer("y")),
        (1, lambda f: f.links("y", 2)),
    ],
)
def test_what_does_not_fit_is_refused_by_name(value: object, read: Read) -> None:
    with pytest.raises(MessageError, match=r"thing.*[xy]"):
        read(fields(value))


def test_the_error_is_the_callers_and_names_the_inner_field() -> None:
    with pytest.raises(ManifestError, match=r"outer\.inner\.x is 'a'; it must be an integer from 0 to 9"):
        Fields({"inner": {"x": "a"}}, "outer", ManifestError).fields("inner").integer("x", 0, 9)
    with pytest.raises(ManifestError, match="outer is a list"):
        Fields([], "outer", ManifestError)


def test_a_long_value_is_shown_short() -> None:
    with pytest.raises(MessageError) as caught:
        fields("a" * 10_000).integer("x")
    assert len(str(caught.value)) < 200


def test_names_can_be_looked_at() -> None:
    some = fields(None)
    assert "x" in some
    assert "y" not in some
    assert list(some) == ["x"]


def test_a_huge_integer_is_refused_as_a_number() -> None:
    with pytest.raises(MessageError):
        fields(10**400).number("x")
