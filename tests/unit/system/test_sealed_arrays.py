"""Arrays with a digest: what is written is read, and nothing else is."""

import hashlib
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from learnae.system.sealed_arrays import DamagedArraysError, open_arrays, seal_arrays

KINDS = st.sampled_from(["float32", "float64", "int64", "uint8", "bool"])
ARRAYS = st.dictionaries(st.text(max_size=9), hnp.arrays(KINDS, hnp.array_shapes(min_dims=0, min_side=0)), max_size=4)


def sealed(data: bytes) -> bytes:
    return hashlib.sha256(data).digest() + data


def listing(*entries: object) -> bytes:
    listed = json.dumps(entries).encode()
    return len(listed).to_bytes(4, "big") + listed


@given(ARRAYS)
def test_what_is_written_is_read_and_may_be_changed(arrays: dict[str, np.ndarray]) -> None:
    read = open_arrays(b"".join(seal_arrays(arrays)))
    assert list(read) == list(arrays)
    for name, array in arrays.items():
        assert (read[name].dtype, read[name].shape) == (array.dtype, array.shape)
        assert read[name].tobytes() == array.tobytes()
        assert read[name].flags.writeable
        assert read[name].flags.aligned


def test_a_large_array_is_not_copied_when_it_is_written() -> None:
    array = np.zeros(1000, np.float32)
    *_, piece = seal_arrays({"weights": array})
    assert np.shares_memory(np.frombuffer(piece, np.uint8), array)


@given(st.integers(0, 200), st.integers(1, 255))
def test_any_changed_byte_is_found(place: int, change: int) -> None:
    data = bytearray(b"".join(seal_arrays({"weights": np.arange(40.0)})))
    data[place] ^= change
    with pytest.raises(DamagedArraysError):
        open_arrays(bytes(data))


@given(st.integers(0, 300))
def test_a_part_of_it_is_refused(length: int) -> None:
    data = b"".join(seal_arrays({"weights": np.arange(40.0)}))
    with pytest.raises(DamagedArraysError):
        open_arrays(data[: min(length, len(data) - 1)])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0\0",
        b"\xff\xff\xff\xff[]",
        listing()[:-1],
        listing(1),
        listing(["a", "<f4"]),
        listing(["a", "<f4", [1]]),
        listing(["a", "<f4", [-1]]) + bytes(8),
        listing(["a", "<f4", [2**62, 2**62]]) + bytes(8),
        listing(["a", "|O", [1]]) + bytes(8),
        listing(["a", "<U2", [1]]) + bytes(8),
        listing(["a", "nonsense", [1]]) + bytes(8),
        listing(["a", "<f4", ["b"]]) + bytes(8),
    ],
)
def test_what_is_no_list_of_arrays_is_refused_in_one_kind_of_error(data: bytes) -> None:
    with pytest.raises(DamagedArraysError):
        open_arrays(sealed(data))
