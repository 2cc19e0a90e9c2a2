import contextlib
import hashlib
import io
import json
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from builders import SWARM, damaged, escaped, some_cid
from hypothesis import given
from hypothesis import strategies as st

from learnae.errors import StateError
from learnae.ipld import dagcbor
from learnae.peer.state import PeerState
from learnae.system.sealed_arrays import open_arrays

WEIGHTS = np.array([1.5, -2.0, 3e-40], np.float32)
STATE = PeerState(
    swarm=SWARM,
    message=b"message" * 9,
    update=some_cid(1),
    key_bytes=2,
    key_time=3,
    since_bytes=10,
    since_updates=11,
    steps=4,
    bytes_out=5,
    bytes_in=6,
    weights=WEIGHTS,
    replica=WEIGHTS + 1,
    estimate=WEIGHTS + 2,
    learner={"steps": np.array([7], np.int64), "velocity": WEIGHTS + 3},
    samples=8,
    time=9,
    body=b"body" * 5,
)


def plain(state: PeerState) -> dict[str, Any]:
    """The state as values that can be compared."""

    def value(item: Any) -> Any:
        if isinstance(item, np.ndarray):
            return item.dtype.str, item.tobytes()
        return {name: value(array) for name, array in item.items()} if isinstance(item, dict) else item

    return {field.name: value(getattr(state, field.name)) for field in fields(state)}


def test_a_state_reads_back_bit_for_bit() -> None:
    assert plain(PeerState.from_bytes(STATE.to_bytes())) == plain(STATE)
    young = replace(STATE, update=None, replica=None, learner={}, body=b"")
    assert plain(PeerState.from_bytes(young.to_bytes())) == plain(young)


def _archive(**arrays: Any) -> bytes:
    listed = json.dumps([[name, array.dtype.str, array.shape] for name, array in arrays.items()]).encode()
    data = len(listed).to_bytes(4, "big") + listed + b"".join(array.tobytes() for array in arrays.values())
    return hashlib.sha256(data).digest() + data


def header(**changes: Any) -> dict[str, Any]:
    arrays = open_arrays(STATE.to_bytes())
    values = {**dagcbor.decode(arrays["header"].tobytes()), **changes}
    return {**arrays, "header": np.frombuffer(dagcbor.encode(values), np.uint8)}


def test_the_archive_can_be_built_by_hand() -> None:
    assert plain(PeerState.from_bytes(_archive(**header()))) == plain(STATE)


@pytest.mark.parametrize(
    "changes",
    [
        {"v": 2},
        {"swarm": None},
        {"message": "text"},
        {"message": None},
        {"update": 1},
        {"body": None},
        {"key_bytes": -1},
        {"key_time": 1.5},
        {"since_bytes": "x"},
        {"since_updates": None},
        {"steps": True},
        {"bytes_out": None},
        {"bytes_in": "x"},
        {"samples": -1},
        {"time": None},
    ],
    ids=str,
)
def test_a_header_out_of_bounds_is_a_state_error(changes: dict[str, Any]) -> None:
    with pytest.raises(StateError, match=r"damaged.*move the state file away"):
        PeerState.from_bytes(_archive(**header(**changes)))


@pytest.mark.parametrize("name", ["header", "weights", "estimate"])
def test_a_missing_array_is_a_state_error(name: str) -> None:
    arrays = header()
    del arrays[name]
    with pytest.raises(StateError):
        PeerState.from_bytes(_archive(**arrays))


def test_a_pickle_is_never_loaded() -> None:
    ran: list[str] = []

    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return ran.append, ("loaded",)

    with pytest.raises(StateError):
        PeerState.from_bytes(_archive(**{**header(), "weights": np.array([Trap()], object)}))
    assert ran == []


def test_every_damage_is_a_state_error_or_harmless() -> None:
    cases = list(damaged(STATE.to_bytes()))[::7]
    assert escaped(PeerState.from_bytes, cases, StateError) == set()


def test_damage_is_never_read_as_another_state() -> None:
    for case in list(damaged(STATE.to_bytes()))[::7]:
        with contextlib.suppress(StateError):
            assert plain(PeerState.from_bytes(case)) == plain(STATE)


def test_an_empty_file_and_a_bare_array_are_state_errors() -> None:
    buffer = io.BytesIO()
    np.save(buffer, WEIGHTS)
    for data in (b"", buffer.getvalue()):
        with pytest.raises(StateError):
            PeerState.from_bytes(data)


def test_arrays_of_another_kind_are_a_state_error() -> None:
    odd = np.zeros(3, [("a", "f4"), ("b", "f4")])
    assert escaped(PeerState.from_bytes, [_archive(**{**header(), "weights": odd})], StateError) == set()


@given(st.binary(min_size=1, max_size=60) | st.binary(max_size=60).map(lambda tail: b"PK\x03\x04" + tail))
def test_any_bytes_are_a_state_error(data: bytes) -> None:
    with pytest.raises(StateError):
        PeerState.from_bytes(data)
