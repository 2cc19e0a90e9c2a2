import itertools
from typing import Any

import numpy as np
import pytest
from builders import some_cid
from hypothesis import given
from hypothesis import strategies as st

from learnae.errors import BrokenFrameError, FrameError
from learnae.protocol.bodies import DELTA, KEY, FrameHeader
from learnae.weights import codecs
from learnae.weights.codecs import Vector, codec_named, q8
from learnae.weights.frames import (
    MAX_MAGNITUDE,
    VALUES_PER_BLOCK,
    FramePolicy,
    block_count,
    check_frame,
    decode_frame,
    encode_frame,
)

# the largest error of one value, as a share of the largest value around it
PRECISION = {"f32": 0.0, "f16": 2**-11, "q8": 0.5001 / 127, "q4": 0.5001 / 7}


def random_weights(seed: int, count: int, scale: float = 1.0) -> Vector:
    return (np.random.default_rng(seed).normal(size=count) * scale).astype(np.float32)


# -- codecs


@pytest.mark.parametrize("name", PRECISION)
@pytest.mark.parametrize("count", [0, 1, 255, 256, 257, 1000])
def test_a_codec_keeps_its_size_and_precision(name: str, count: int) -> None:
    codec, values = codec_named(name), random_weights(1, count, 3.0)
    data = codec.encode(values)
    assert len(data) == codec.size(count)
    decoded = codec.decode(data, count)
    assert (decoded.dtype, decoded.shape) == (np.float32, (count,))
    for start in range(0, count, 256):
        group = values[start : start + 256]
        error = np.abs(decoded[start : start + 256] - group).max()
        assert error <= PRECISION[name] * np.abs(group).max()


@pytest.mark.parametrize("name", codecs.NAMES)
def test_zeros_stay_zeros(name: str) -> None:
    codec = codec_named(name)
    with np.errstate(all="raise"):
        assert not codec.decode(codec.encode(np.zeros(300, np.float32)), 300).any()


def test_bytes_are_little_endian() -> None:
    one = np.array([1.0, -2.0], np.float32)
    assert codec_named("f32").encode(one).hex() == "0000803f000000c0"
    assert codec_named("f16").encode(one).hex() == "003c00c0"
    assert codec_named("q8").encode(np.array([127.0, -1.0], np.float32)).hex() == "0000803f7fff"


def test_float16_clips_what_it_cannot_hold() -> None:
    codec = codec_named("f16")
    assert codec.decode(codec.encode(np.array([1e6, -1e6], np.float32)), 2).tolist() == [65504.0, -65504.0]


def test_one_large_value_coarsens_only_its_own_group() -> None:
    values = random_weights(2, 512, 0.01)
    values[0] = 1000.0
    error = np.abs(q8.decode(q8.encode(values), 512) - values)
    assert error[256:].max() < 0.001


def test_an_unknown_codec_says_what_to_do() -> None:
    with pytest.raises(FrameError, match="upgrade"):
        codec_named("q2")


@given(st.sampled_from(codecs.NAMES), st.integers(0, 300), st.randoms(use_true_random=False))
def test_any_bytes_of_the_right_size_decode_or_are_broken(name: str, count: int, rng: Any) -> None:
    codec = codec_named(name)
    try:
        decoded = codec.decode(rng.randbytes(codec.size(count)), count)
    except BrokenFrameError:
        assert name not in codecs.EXACT
        return
    assert (decoded.dtype, decoded.shape) == (np.float32, (count,))


@given(
    st.sampled_from(list(PRECISION)),
    st.lists(st.floats(-1e6, 1e6, width=32, allow_subnormal=True), min_size=1, max_size=40),
)
def test_any_weights_decode_to_finite_values_near_them(name: str, values: list[float]) -> None:
    codec, vector = codec_named(name), np.array(values, np.float32)
    decoded = codec.decode(codec.encode(vector), len(vector))
    near = np.clip(vector, -65504, 65504) if name == "f16" else vector
    assert np.abs(decoded - near).max() <= PRECISION[name] * np.abs(near).max() + 1e-7


# -- frames


def published(name: str, weights: list[Vector]) -> list[tuple[FrameHeader, list[bytes], Vector]]:
    """A keyframe and deltas of one author, with its own replica after each."""
    policy = FramePolicy(keyframe=name, delta=name)
    frames, replica = [], None
    for index, vector in enumerate(weights):
        base = some_cid(index - 1) if index else None
        frame = encode_frame(vector, replica, base, policy)
        replica = frame.replica
        frames.append((frame.header, frame.blocks, frame.replica))
    return frames


@pytest.mark.parametrize("name", codecs.NAMES)
def test_a_follower_has_the_authors_replica_bit_for_bit(name: str) -> None:
    count = 700
    weights = [random_weights(0, count)]
    for step in range(1, 12):
        weights.append(weights[-1] + random_weights(step, count, 0.1))
    follower = None
    for index, (header, blocks, replica) in enumerate(published(name, weights)):
        assert (header.kind, header.codec, header.count) == (DELTA if index else KEY, name, count)
        assert header.base == (some_cid(index - 1) if index else None)
        follower = decode_frame(header, blocks, follower, count)
        assert follower.tobytes() == replica.tobytes()


@pytest.mark.parametrize("name", codecs.WHOLE)
def test_the_error_of_a_frame_comes_back_in_the_next(name: str) -> None:
    weights = random_weights(3, 600)
    errors = [float(np.abs(replica - weights).max()) for _, _, replica in published(name, [weights] * 6)]
    assert errors[-1] <= 1e-6
    assert all(later <= earlier for earlier, later in itertools.pairwise(errors))


def test_values_beyond_a_codecs_range_arrive_with_later_deltas() -> None:
    weights = np.array([3e5, -3e5], np.float32)
    replicas = [replica for _, _, replica in published("f16", [weights] * 8)]
    assert replicas[0].tolist() == [65504.0, -65504.0]
    assert replicas[-1] == pytest.approx(weights, rel=1e-5)


def test_a_keyframe_ignores_the_replica_and_a_delta_uses_the_policys_codec() -> None:
    policy = FramePolicy(keyframe="f32", delta="q8")
    weights = random_weights(4, 10)
    key = encode_frame(weights, np.full(10, 7, np.float32), None, policy)
    assert (key.header, key.replica.tobytes()) == (FrameHeader(KEY, "f32", 10, None), weights.tobytes())
    assert encode_frame(weights, None, some_cid(1), policy).header.kind == KEY
    assert encode_frame(weights, key.replica, some_cid(1), policy).header == FrameHeader(DELTA, "q8", 10, some_cid(1))


def test_large_models_span_blocks_that_every_store_takes() -> None:
    count = 2 * VALUES_PER_BLOCK + 5
    weights = random_weights(5, count)
    for name in codecs.NAMES:
        key, delta = published(name, [weights, weights * np.float32(1.5)])
        for header, blocks, _ in (key, delta):
            assert len(blocks) == block_count(count) == 3
            assert max(map(len, blocks)) <= 1 << 20
            check_frame(header, [len(block) for block in blocks], count)
        replica = decode_frame(delta[0], delta[1], decode_frame(key[0], key[1], None, count), count)
        assert replica.tobytes() == delta[2].tobytes()
        if name in codecs.WHOLE:
            assert np.abs(replica - weights * 1.5).max() < 0.1
    assert [block_count(n) for n in (1, VALUES_PER_BLOCK, VALUES_PER_BLOCK + 1)] == [1, 1, 2]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, MAX_MAGNITUDE * 1.01, -MAX_MAGNITUDE * 1.01])
def test_diverged_weights_are_not_published(value: float) -> None:
    weights = np.zeros(300, np.float32)
    weights[299] = value
    with pytest.raises(FrameError, match=r"own weights.*scale features and targets"):
        encode_frame(weights, None, None, FramePolicy())


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, MAX_MAGNITUDE * 1.01, -MAX_MAGNITUDE * 1.01])
@pytest.mark.parametrize("kind", [KEY, DELTA])
def test_frames_with_values_that_are_no_weights_are_refused(kind: str, value: float) -> None:
    data = np.array([0, 0, value], "<f4").tobytes()
    header = FrameHeader(kind, "f32", 3, some_cid(1) if kind == DELTA else None)
    with pytest.raises(FrameError, match="a frame"):
        decode_frame(header, [data], np.zeros(3, np.float32), 3)


def test_deltas_that_add_up_to_no_weights_are_refused() -> None:
    data = np.full(3, 0.9 * MAX_MAGNITUDE, "<f4").tobytes()
    with pytest.raises(FrameError):
        decode_frame(FrameHeader(DELTA, "f32", 3, some_cid(1)), [data], np.full(3, 0.9e6, np.float32), 3)


def test_what_no_peer_can_decode_is_found_behind_what_this_replica_alone_cannot_take() -> None:
    count = VALUES_PER_BLOCK + 1
    known, header = np.full(count, 0.9e6, np.float32), FrameHeader(DELTA, "f32", count, some_cid(1))
    beyond = [np.full(VALUES_PER_BLOCK, 0.9e6, "<f4").tobytes(), np.array([0], "<f4").tobytes()]
    with pytest.raises(FrameError) as raised:
        decode_frame(header, beyond, known, count)
    assert not isinstance(raised.value, BrokenFrameError), "its author may have another replica: no offence"
    with pytest.raises(BrokenFrameError):
        decode_frame(header, [beyond[0], np.array([np.nan], "<f4").tobytes()], known, count)


def test_a_hostile_scale_is_refused() -> None:
    for scale in (np.nan, np.inf, 3e38):
        data = np.array([scale], "<f4").tobytes() + b"\x7f\x7f\x7f"
        with pytest.raises(FrameError):
            decode_frame(FrameHeader(KEY, "q8", 3, None), [data], None, 3)


@pytest.mark.parametrize(
    ("header", "blocks"),
    [
        (FrameHeader(KEY, "f32", 4, None), [bytes(16)]),
        (FrameHeader(KEY, "f32", 2**53, None), [bytes(12)]),
        (FrameHeader(KEY, "f32", 3, None), []),
        (FrameHeader(KEY, "f32", 3, None), [bytes(11)]),
        (FrameHeader(KEY, "f32", 3, None), [bytes(13)]),
        (FrameHeader(KEY, "f32", 3, None), [bytes(6), bytes(6)]),
        (FrameHeader(KEY, "f32", 3, None), [bytes(12), b""]),
        (FrameHeader(KEY, "f16", 3, None), [bytes(12)]),
        (FrameHeader(KEY, "zip", 3, None), [bytes(12)]),
        (FrameHeader(DELTA, "f32", 3, some_cid(1)), [bytes(12)]),
    ],
    ids=["count", "huge count", "none", "short", "long", "split", "extra", "codec", "unknown codec", "no base"],
)
def test_frames_that_do_not_fit_are_refused(header: FrameHeader, blocks: list[bytes]) -> None:
    with pytest.raises(FrameError):
        decode_frame(header, blocks, None, 3)


@given(
    st.sampled_from((KEY, DELTA)),
    st.sampled_from((*codecs.NAMES, "zip", "")),
    st.sampled_from((1, 3, 4, 300, 2**53)),
    st.lists(st.binary(max_size=20), max_size=3)
    | st.sampled_from((6, 7, 12)).flatmap(lambda size: st.lists(st.binary(min_size=size, max_size=size), max_size=1)),
    st.booleans(),
)
def test_any_frame_gives_weights_or_a_frame_error(
    kind: str, codec: str, count: int, blocks: list[bytes], known: bool
) -> None:
    header = FrameHeader(kind, codec, count, some_cid(1) if kind == DELTA else None)
    replica = np.zeros(3, np.float32) if known else None
    try:
        vector = decode_frame(header, blocks, replica, 3)
    except FrameError:
        return
    assert vector.shape == (3,)
    assert np.isfinite(vector).all()
    assert np.abs(vector).max() <= MAX_MAGNITUDE


def test_decoding_leaves_the_replica_before_it_alone() -> None:
    before = np.ones(3, np.float32)
    after = decode_frame(FrameHeader(DELTA, "f32", 3, some_cid(1)), [np.ones(3, "<f4").tobytes()], before, 3)
    assert (before.tolist(), after.tolist()) == ([1.0] * 3, [2.0] * 3)
