"""Frames: one peer's weights as blocks, like video: a keyframe, then deltas. Pure.

A delta is the compressed difference between the author's weights and its *replica*: what every follower already
believes them to be. Author and followers apply the same decoded delta to the same replica, so the compression error
comes back in the next delta: error feedback (CHOCO-SGD, Koloskova et al. 2019, algorithm 2).

>>> from learnae.ipld.cid import DAG_CBOR
>>> policy, weights = FramePolicy(keyframe="f32"), np.array([0.5, 1.0], np.float32)
>>> key = encode_frame(weights, None, None, policy)
>>> replica = decode_frame(key.header, key.blocks, None, count=2)  # what a follower has then
>>> update = Cid.of(DAG_CBOR, b"the message that announces the keyframe")
>>> delta = encode_frame(weights + np.float32(0.1), replica, update, policy)
>>> decode_frame(delta.header, delta.blocks, replica, count=2)
array([0.6, 1.1], dtype=float32)
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from learnae.errors import BrokenFrameError, FrameError
from learnae.ipld.cid import Cid
from learnae.protocol.bodies import DELTA, KEY, FrameHeader
from learnae.weights.codecs import Data, Vector, codec_named

VALUES_PER_BLOCK = 261_120  # of float32, and sealed: at most 1 MiB, the largest block
_DIVERGED = (
    "training has diverged: scale features and targets to about one, or use a smaller learning rate (docs/tasks.md)"
)
MAX_MAGNITUDE = 1e6  # weights beyond this are a divergence or an attack, not a model


@dataclass(frozen=True, slots=True)
class FramePolicy:
    """Which codecs a swarm uses; a keyframe at the latest after ``every`` updates."""

    keyframe: str = "q8"
    delta: str = "q4"
    every: int = 32


@dataclass(frozen=True, slots=True)
class Frame:
    """An encoded frame, and the replica that every follower has after decoding it."""

    header: FrameHeader
    blocks: list[bytes]
    replica: Vector


def encode_frame(weights: Vector, replica: Vector | None, base: Cid | None, policy: FramePolicy) -> Frame:
    """Encode ``weights`` (n,): a delta on ``replica`` of the update ``base``, or a keyframe without.

    Raises FrameError if the weights are not finite.
    """
    if not all(_are_weights(weights[part]) for part in _parts(len(weights))):
        raise _fault(weights, FrameError, "own weights", _DIVERGED)
    if replica is None or base is None:
        header = FrameHeader(KEY, policy.keyframe, len(weights), None)
    else:
        header = FrameHeader(DELTA, policy.delta, len(weights), base)
    codec, blocks, room = codec_named(header.codec), [], np.empty(min(len(weights), VALUES_PER_BLOCK), np.float32)
    for part in _parts(len(weights)):
        values = weights[part]
        if header.kind != KEY:
            assert replica is not None
            values = np.subtract(values, replica[part], out=room[: len(values)])
        blocks.append(codec.encode(values))
    return Frame(header, blocks, decode_frame(header, blocks, replica, len(weights)))


def decode_frame(header: FrameHeader, blocks: Sequence[Data], replica: Vector | None, count: int) -> Vector:
    """Return the author's new replica (count,); ``replica`` is the one at ``header.base``, unused by a keyframe.

    Raises FrameError for what cannot be decoded; BrokenFrameError where no peer can, on whatever it stands: for what
    ``check_frame`` says, for values that are not finite, and for those of a keyframe that are no weights.
    """
    check_frame(header, [len(block) for block in blocks], count)
    codec, known, result = (
        codec_named(header.codec),
        replica if header.kind != KEY else None,
        np.empty(count, np.float32),
    )
    may_stand = header.kind == KEY or known is not None
    for block, part in zip(
        blocks, _parts(count), strict=True
    ):  # one after another: what was written last is in a cache
        values = result[part]
        values[:] = codec.decode(block, len(values))
        if known is not None:
            with np.errstate(invalid="ignore", over="ignore"):
                values += known[part]
        if not (may_stand and _are_weights(values)):
            raise _why_refused(header, blocks, known, count)
    return result


def _why_refused(header: FrameHeader, blocks: Sequence[Data], known: Vector | None, count: int) -> FrameError:
    """Return the error of a frame that cannot be decoded: what no peer can is looked for first, in all of it."""
    codec, result = codec_named(header.codec), np.empty(count, np.float32)
    for block, part in zip(blocks, _parts(count), strict=True):
        result[part] = codec.decode(block, len(result[part]))
    if header.kind == KEY or not np.isfinite(result).all():
        return _fault(result, BrokenFrameError, "a frame")
    if known is None:
        return FrameError("a delta without the replica that it stands on")
    return _fault(result + known, FrameError, "a frame")


def check_shape(header: FrameHeader, blocks: int, count: int) -> None:
    """Raise BrokenFrameError unless ``blocks`` can hold ``count`` values; FrameError if the codec is not known here."""
    codec_named(header.codec)
    if header.count != count or blocks != block_count(count):
        raise BrokenFrameError(
            f"a frame of {header.count} values in {blocks} blocks", f"this swarm's model has {count} values"
        )


def check_frame(header: FrameHeader, sizes: Sequence[int], count: int) -> None:
    """Raise as ``check_shape``, and unless blocks of these ``sizes`` can hold ``count`` values as ``header`` claims."""
    check_shape(header, len(sizes), count)
    wanted = block_sizes(header.codec, count)
    if list(sizes) != wanted:
        raise BrokenFrameError(
            f"a {header.codec} frame in {len(sizes)} blocks of {sum(sizes)} bytes, not {sum(wanted)}"
        )


def block_sizes(codec: str, count: int) -> list[int]:
    """Return the bytes of each block of a frame of ``count`` values; raises FrameError if the codec is not known."""
    size = codec_named(codec).size
    return [size(min(VALUES_PER_BLOCK, count - start)) for start in range(0, count, VALUES_PER_BLOCK)]


def block_count(count: int) -> int:
    """Return how many blocks a frame of ``count`` values has."""
    return -(-count // VALUES_PER_BLOCK)


def _parts(count: int) -> Iterator[slice]:
    """Give the values of each block."""
    return (slice(start, start + VALUES_PER_BLOCK) for start in range(0, count, VALUES_PER_BLOCK))


def _are_weights(values: Vector) -> bool:
    with np.errstate(invalid="ignore"):  # neither least nor largest is a number where one value is none
        return not len(values) or bool(values.min() >= -MAX_MAGNITUDE and values.max() <= MAX_MAGNITUDE)


def _fault(values: Vector, blame: type[FrameError], thing: str, remedy: str = "") -> FrameError:
    if not np.isfinite(values).all():
        return blame(f"{thing}: not all values are finite", remedy)
    return blame(f"{thing}: a value is beyond {MAX_MAGNITUDE:g}", remedy)
