"""The coarse codecs: what one frame leaves out is bounded, and comes back in those that follow."""

import hashlib
from collections.abc import Iterator

import numpy as np
import pytest
from builders import some_cid
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from learnae.errors import BrokenFrameError
from learnae.weights import codecs
from learnae.weights.codecs import Vector, codec_named
from learnae.weights.codecs.groups import GROUP, LEAST_SCALE
from learnae.weights.frames import FramePolicy, decode_frame, encode_frame

COARSE = [name for name in codecs.NAMES if name not in codecs.WHOLE]
ARRIVED = {"q4": 2, "ternary": 20, "sign": 50, "top10": 10}  # updates until a twentieth of the norm is left


def random_weights(seed: int, count: int, scale: float = 1.0) -> Vector:
    return (np.random.default_rng(seed).normal(size=count) * scale).astype(np.float32)


def square(values: Vector) -> float:
    return float(np.sum(values.astype(np.float64) ** 2))


def groups_of(values: Vector) -> Iterator[Vector]:
    yield from (values[start : start + GROUP] for start in range(0, len(values), GROUP))


def least_told(name: str, values: Vector) -> float:
    """What of the squared norm one frame tells at least, as the codec's docstring says; of q4 by the worst error."""
    sizes = np.abs(values.astype(np.float64))
    if name == "q4":
        return square(values) - sum(len(group) * (group.max(initial=0) / 14) ** 2 for group in groups_of(sizes))
    if name == "top10":
        kept = np.sort(sizes)[len(sizes) - -(-len(sizes) // 10) :]
        return kept.sum() ** 2 / max(len(kept), 1) if len(kept) <= GROUP else 0.0
    share = {"ternary": 1 / 16, "sign": 1.0}[name]
    return share * sum(group.sum() ** 2 / len(group) for group in groups_of(sizes))


vectors = hnp.arrays(np.float32, st.integers(1, 600), elements=st.floats(-1e6, 1e6, width=32)) | st.builds(
    random_weights, st.integers(0, 99), st.integers(1, 3000), st.sampled_from([1e-35, 1e-3, 1.0, 1e5])
)


@given(st.sampled_from(COARSE), vectors)
def test_one_frame_tells_at_least_what_its_codec_promises(name: str, values: Vector) -> None:
    codec = codec_named(name)
    data = codec.encode(values)
    assert len(data) == codec.size(len(values))
    decoded = codec.decode(data, len(values))
    assert np.isfinite(decoded).all()
    slack = 1e-5 * square(values) + len(values) * float(LEAST_SCALE) ** 2
    assert square(values - decoded) <= square(values) - least_told(name, values) + slack


@given(st.sampled_from([name for name in codecs.NAMES if name != "f16"]), vectors)
def test_nothing_is_decoded_that_a_cpu_could_take_for_zero(name: str, values: Vector) -> None:
    codec = codec_named(name)
    decoded = np.abs(codec.decode(codec.encode(values), len(values)))
    assert not ((decoded > 0) & (decoded < LEAST_SCALE)).any()


@pytest.mark.parametrize("name", COARSE)
def test_constant_weights_arrive(name: str) -> None:
    weights, replica = random_weights(3, 2000), None
    for index in range(ARRIVED[name] + 1):
        replica = encode_frame(weights, replica, some_cid(index), FramePolicy("q8", name)).replica
        if not index:
            replica = np.zeros_like(weights)  # from nothing: all of it has to come by deltas
    assert square(weights - replica) < 0.05**2 * square(weights)


@pytest.mark.parametrize("name", COARSE)
def test_a_thousand_deltas_leave_the_authors_replica_bit_for_bit_and_near_its_weights(name: str) -> None:
    count, rng = 300, np.random.default_rng(4)
    weights, policy = random_weights(5, count), FramePolicy("q8", name)
    frame = encode_frame(weights, None, None, policy)
    follower = decode_frame(frame.header, frame.blocks, None, count)
    lags = []
    for index in range(1000):
        step = (rng.normal(size=count) * 0.01).astype(np.float32)
        weights = weights + step
        frame = encode_frame(weights, frame.replica, some_cid(index), policy)
        follower = decode_frame(frame.header, [bytes(block) for block in frame.blocks], follower, count)
        lags.append(np.sqrt(square(weights - follower) / square(step)))
    assert follower.tobytes() == frame.replica.tobytes()
    assert max(lags[-100:]) < 12, "what is left out does not pile up: some steps' worth at most"


DIGESTS = {
    "f32": "fee11aa9f28310df",
    "f16": "aeef51aab61e0b14",
    "q8": "ea0144731e8f413b",
    "q4": "d36867d5b7f48f87",
    "ternary": "494d7126aab16fa3",
    "sign": "40eb80ede94010cc",
    "top10": "6af918bc10eced2e",
}


@pytest.mark.parametrize("name", DIGESTS)
def test_a_keyframe_and_a_thousand_deltas_are_the_same_bytes_on_all_machines(name: str) -> None:
    count, replica, digest = 515, None, hashlib.sha256()
    weights = np.zeros(count, np.float32)
    for step in range(1001):
        drawn = np.random.PCG64(step).random_raw(count) >> np.uint64(40)  # integers: no machine's own logarithm
        weights = weights + (drawn.astype(np.float32) - np.float32(2**23)) / np.float32(2**26)
        frame = encode_frame(weights, replica, some_cid(step) if step else None, FramePolicy("q8", name))
        replica = decode_frame(frame.header, frame.blocks, replica, count)
        for block in frame.blocks:
            digest.update(block)
        digest.update(replica.astype("<f4").tobytes())
    assert digest.hexdigest()[:16] == DIGESTS[name]


@pytest.mark.parametrize("name", ["q8", *COARSE])
def test_what_no_encoder_writes_is_broken(name: str) -> None:
    codec, count = codec_named(name), 303
    whole = codec.encode(random_weights(6, count))
    for scale in (-1.0, -0.0, 1e-31, np.inf, np.nan):
        with pytest.raises(BrokenFrameError, match="scale"):
            codec.decode(np.float32(scale).astype("<f4").tobytes() + whole[4:], count)
    if name == "q8":
        return
    filled = {"q4": 0xF0, "ternary": 242, "sign": 0x01, "top10": 0x01}[name]
    with pytest.raises(BrokenFrameError):
        codec.decode(whole[:-1] + bytes([whole[-1] | filled]), count)
