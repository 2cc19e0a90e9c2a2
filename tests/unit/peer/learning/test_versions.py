import numpy as np
import pytest
from builders import some_cid
from hypothesis import given
from hypothesis import strategies as st

from learnae.errors import StateError
from learnae.peer.learning.versions import Version, VersionPolicy, is_better, number_of
from learnae.protocol.bodies import Metrics

VERSION = Version(
    swarm=some_cid(1),
    time=1_700_000_000_000,
    steps=26,
    metrics=Metrics(0.5, 0.9, 120),
    merged={f"peer{number}": some_cid(number) for number in range(3)},
    vector=np.arange(5, dtype=np.float32),
)


def test_a_version_comes_back_as_it_was() -> None:
    again = Version.from_bytes(b"".join(VERSION.to_pieces()))
    assert again.vector.tobytes() == VERSION.vector.tobytes()
    assert (again.swarm, again.time, again.steps, again.metrics) == (some_cid(1), VERSION.time, 26, VERSION.metrics)
    assert again.merged == VERSION.merged


@given(st.data())
def test_damage_is_one_kind_of_error(data: st.DataObject) -> None:
    whole = bytearray(b"".join(VERSION.to_pieces()))
    if data.draw(st.booleans()):
        whole = whole[: data.draw(st.integers(0, len(whole) - 1))]
    else:
        whole[data.draw(st.integers(0, len(whole) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(StateError, match="a version is damaged"):
        Version.from_bytes(bytes(whole))


def test_names_of_merged_updates_are_bounded() -> None:
    many = {f"peer{number}": some_cid(number % 250) for number in range(500)}
    again = Version.from_bytes(b"".join(Version(some_cid(1), 1, 1, None, many, VERSION.vector).to_pieces()))
    assert len(again.merged) == 64
    assert again.metrics is None


@pytest.mark.parametrize(
    ("found", "best", "better"),
    [
        ((0.5, 0.9), None, True),
        (None, (0.5, 0.9), False),
        ((9.0, 0.91), (0.5, 0.9), True),
        ((0.4, 0.9), (0.5, 0.9), True),
        ((0.5, 0.9), (0.5, 0.9), False),
        ((0.4, None), (0.5, None), True),
        ((0.6, None), (0.5, None), False),
    ],
)
def test_more_accuracy_is_better_and_then_less_loss(
    found: tuple[float, float | None] | None, best: tuple[float, float | None] | None, better: bool
) -> None:
    assert is_better(*(None if pair is None else Metrics(*pair, rows=9) for pair in (found, best))) == better


def test_the_oldest_numbered_ones_are_superfluous() -> None:
    names = ["v9", "v10", "best", "v2", "v11", "mine"]
    assert VersionPolicy(last=2).superfluous(names) == ["v2", "v9"]
    assert VersionPolicy(last=5).superfluous(names) == []


def test_only_names_that_a_peer_gives_have_numbers() -> None:
    assert [number_of(name) for name in ("v1", "v012", "best", "v", "../v1", "v-1", "v٣")] == [1, 12, 0, 0, 0, 0, 0]
