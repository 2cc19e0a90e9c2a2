"""What peers of one process compute alike, and do once for all of them: bounded, and read-only."""

from __future__ import annotations

from collections.abc import Sequence

from learnae.basics.bounded_dict import BoundedDict
from learnae.protocol.bodies import FrameHeader
from learnae.weights.codecs import Data, Vector
from learnae.weights.frames import decode_frame

_MOST_BYTES = 256 << 20  # of decoded frames: old ones are not asked for again
_MOST_FRAMES = 1 << 17


class SharedDecoder:
    """Does ``decode_frame`` once a frame: all followers compute the same.

    >>> import numpy as np
    >>> from learnae.weights.frames import FramePolicy, encode_frame
    >>> frame = encode_frame(np.ones(2, np.float32), None, None, FramePolicy(keyframe="f32"))
    >>> decoder = SharedDecoder()
    >>> first, again = (decoder(frame.header, frame.blocks, None, 2) for _ in range(2))
    >>> first.tolist(), again is first, first.flags.writeable
    ([1.0, 1.0], True, False)
    """

    def __init__(self) -> None:
        self._decoded = BoundedDict[tuple[FrameHeader, tuple[Data, ...], int], tuple[Vector | None, Vector]](
            _MOST_FRAMES
        )

    def __len__(self) -> int:
        return len(self._decoded)

    def __call__(self, header: FrameHeader, blocks: Sequence[Data], replica: Vector | None, count: int) -> Vector:
        """Return what ``decode_frame`` does; raises what it raises, each time anew."""
        key = (header, tuple(map(bytes, blocks)), id(replica))  # the replica is kept below, so its id stays its own
        known = self._decoded.get(key)
        if known is not None:
            return known[1]
        vector = decode_frame(header, blocks, replica, count)
        vector.setflags(write=False)
        self._decoded.limit = max(1, min(_MOST_FRAMES, _MOST_BYTES // max(1, vector.nbytes)))
        self._decoded[key] = replica, vector
        return vector
