"""One's own frames: what everybody believes one's weights to be, and when to say them whole."""

from __future__ import annotations

from learnae.ipld.cid import Cid
from learnae.protocol.bodies import KEY
from learnae.weights.codecs import Vector
from learnae.weights.frames import Frame, FramePolicy, encode_frame


class FrameEncoder:
    """The stream's state: ``replica`` is what others have decoded at the update ``update``.

    The second keyframe comes ``phase`` updates early, so that peers that start together do not go on
    sending keyframes together.
    """

    def __init__(self, policy: FramePolicy, horizon: int, phase: int = 0) -> None:
        self.update: Cid | None = None
        self.replica: Vector | None = None
        self.since_keyframe = 0
        self.keyframe_time = 0
        self._policy = policy
        self._phase = phase % policy.every
        self._horizon = horizon

    def encode(self, weights: Vector, now: int) -> Frame:
        """The next frame of ``weights`` (n,), a keyframe if one is due at ``now`` ms.

        Raises FrameError, with nothing changed, if the weights are no weights.
        """
        frame = encode_frame(weights, self.replica, self.update if self._may_send_delta(now) else None, self._policy)
        if frame.header.kind == KEY:
            self.since_keyframe, self.keyframe_time = (self._phase if self.replica is None else 0), now
        self.since_keyframe += 1
        self.replica = frame.replica
        return frame

    def forget(self) -> None:
        """Others believe what this peer does not know: the next frame stands alone."""
        self.update, self.replica = None, None
        self.since_keyframe, self.keyframe_time = 0, 0

    def give_up(self) -> None:
        """The frame that ``encode`` gave last was not published: nobody believes it, so the next one is whole."""
        self.since_keyframe = self._policy.every

    def _may_send_delta(self, now: int) -> bool:
        """Keyframes come often enough that a newcomer finds one within the horizon."""
        old = now - self.keyframe_time > self._horizon // 2
        return self.since_keyframe < self._policy.every and not old
