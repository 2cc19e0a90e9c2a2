import contextlib
import struct
from typing import Any

import cbor2
import libipld
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trees import TREES

from learnae.errors import EncodingError
from learnae.ipld import dagcbor
from learnae.ipld.cid import RAW, Cid

LINK = Cid.of(RAW, b"x")


def _for_libipld(value: Any) -> Any:
    if isinstance(value, Cid):
        return value.to_bytes()
    if isinstance(value, list):
        return [_for_libipld(item) for item in value]
    if isinstance(value, dict):
        return {key: _for_libipld(item) for key, item in value.items()}
    return value


@settings(max_examples=300)
@given(TREES)
def test_libipld_agrees_in_both_directions(tree: Any) -> None:
    data = dagcbor.encode(tree)
    assert data == libipld.encode_dag_cbor(_for_libipld(tree))
    assert libipld.decode_dag_cbor(data) == _for_libipld(tree)
    decoded = dagcbor.decode(data)
    assert decoded == tree
    assert dagcbor.encode(decoded) == data


def test_minus_zero_and_types_survive() -> None:
    for value in (-0.0, 1.0, 1, True, b"a", "a"):
        decoded = dagcbor.decode(dagcbor.encode(value))
        assert (type(decoded), repr(decoded)) == (type(value), repr(value))


def test_keys_are_sorted_by_length_then_bytes() -> None:
    assert dagcbor.encode({"aa": 1, "b": 2, "é": 3, "a": 4}) == bytes.fromhex("a4 6161 04 6162 02 626161 01 62c3a9 03")


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("keys in wrong order", "a2 6162 01 6161 02"),
        ("longer key first", "a2 626161 01 6162 02"),
        ("duplicate key", "a2 6161 01 6161 02"),
        ("integer key", "a1 01 02"),
        ("bytes key", "a1 4161 02"),
        ("half float", "f9 3c00"),
        ("single float", "fa 3f800000"),
        ("NaN", "fb 7ff8000000000000"),
        ("infinity", "fb 7ff0000000000000"),
        ("minus infinity", "fb fff0000000000000"),
        ("half NaN", "f9 7e00"),
        ("long integer", "18 01"),
        ("longer integer", "1b 0000000000000001"),
        ("long negative integer", "38 00"),
        ("long string length", "7801 61"),
        ("long list length", "9801 00"),
        ("indefinite list", "9f 00 ff"),
        ("indefinite map", "bf 6161 00 ff"),
        ("indefinite text", "7f 6161 ff"),
        ("indefinite bytes", "5f 4161 ff"),
        ("undefined", "f7"),
        ("simple value", "f8ff"),
        ("bignum", "c2 49 010000000000000000"),
        ("small bignum", "c2 41 01"),
        ("beyond 64 bits", "1b ffffffffffffffff"),
        ("date", "c1 1a 00000001"),
        ("decimal", "c4 82 00 01"),
        ("set", "d90102 81 00"),
        ("self-described", "d9d9f7 00"),
        ("foreign tag", "d82b 4100"),
        ("long tag", "d9002a 5825 00" + LINK.to_bytes().hex()),
        ("link in text", "d82a 6161"),
        ("link in a number", "d82a 00"),
        ("link in a map", "d82a a0"),
        ("link without its zero", "d82a 5824" + LINK.to_bytes().hex()),
        ("link to nothing", "d82a 4100"),
        ("link of version 0", "d82a 5823 00 1220" + "00" * 32),
        ("text that is not Unicode", "62 c328"),
        ("surrogate", "63 eda080"),
        ("trailing byte", "00 00"),
        ("nothing", ""),
        ("cut", "82 00"),
        ("huge list", "9b 7fffffffffffffff"),
        ("huge bytes", "5b 7fffffffffffffff"),
        ("break", "ff"),
        ("reserved", "1c"),
    ],
    ids=lambda value: value if " " in value or value.isalpha() else "",
)
def test_other_forms_are_refused(name: str, data: str) -> None:
    with pytest.raises(EncodingError):
        dagcbor.decode(bytes.fromhex(data))


def test_depth_is_bounded() -> None:
    deepest = b"\x81" * dagcbor.MAX_DEPTH + b"\x00"
    assert dagcbor.encode(dagcbor.decode(deepest)) == deepest
    for depth in (dagcbor.MAX_DEPTH + 1, 1000, 200_000):
        with pytest.raises(EncodingError):
            dagcbor.decode(b"\x81" * depth + b"\x00")
    tree: Any = 0
    for _ in range(dagcbor.MAX_DEPTH + 1):
        tree = {"a": tree}
    with pytest.raises(EncodingError):
        dagcbor.encode(tree)


def test_size_is_bounded() -> None:
    data = dagcbor.encode(b"x" * 100)
    assert dagcbor.decode(data, len(data)) == b"x" * 100
    with pytest.raises(EncodingError, match="at most"):
        dagcbor.decode(data, len(data) - 1)


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        2**63,
        -(2**63) - 1,
        {1: 2},
        {"a": {b"b": 1}},
        "\ud800",
        {"\ud800": 1},
        {1, 2},
        object(),
    ],
    ids=repr,
)
def test_values_without_a_form_are_not_encoded(value: object) -> None:
    with pytest.raises(EncodingError):
        dagcbor.encode([value])


_LOOSE_TREES = st.recursive(
    st.none() | st.integers() | st.floats() | st.text(max_size=4) | st.binary(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=3)
        | st.builds(cbor2.CBORTag, st.integers(0, 300), inner)
    ),
    max_leaves=8,
)


def _loose(tree: Any) -> bytes:
    try:
        return cbor2.dumps(tree)
    except (cbor2.CBOREncodeError, UnicodeEncodeError):
        return b"\xf6"


@settings(max_examples=500)
@given(st.binary(max_size=48) | _LOOSE_TREES.map(_loose))
def test_any_bytes_decode_to_what_encodes_to_them_or_are_refused(data: bytes) -> None:
    try:
        value = dagcbor.decode(data)
    except EncodingError:
        return
    assert dagcbor.encode(value) == data


@settings(max_examples=200)
@given(TREES, st.data())
def test_a_changed_byte_is_another_value_or_refused(tree: Any, draw: st.DataObject) -> None:
    data = bytearray(dagcbor.encode(tree))
    data[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.integers(0, 255))
    with contextlib.suppress(EncodingError):
        assert dagcbor.encode(dagcbor.decode(bytes(data))) == data


def _nested_references(levels: int) -> bytes:
    """A list of two: a shared list (tag 28) made in the same way, and a reference to it (tag 29)."""
    data = b"\xd8\x1c\x80"
    for index in range(levels, 0, -1):
        data = b"\xd8\x1c\x82" + data + b"\xd8\x1d" + struct.pack(">BB", 0x18, index)
    return data


def test_references_to_shared_values_are_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each level doubles what the value is once it is written out: it is refused before."""
    data = _nested_references(18)
    monkeypatch.setattr(dagcbor, "encode", lambda _: pytest.fail("it was written out"))
    with pytest.raises(EncodingError):
        dagcbor.decode(data)
