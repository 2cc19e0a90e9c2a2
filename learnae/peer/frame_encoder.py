"""Encoding the own frames: what others decode of the own weights, and when to publish them whole."""

from dataclasses import dataclass, replace
from typing import Any

from learnae.ipld.cid import Cid
from learnae.peer.state import PeerState
from learnae.protocol.bodies import KEY
from learnae.protocol.messages import Message
from learnae.weights.codecs import Vector
from learnae.weights.frames import Frame, FramePolicy, encode_frame
from learnae.weights.merge import Vote


@dataclass(eq=False)
class FrameEncoder:
    """Encodes a stream of keyframes and deltas.

    ``own_vote`` is the own replica as a merge sees it: what others have decoded at the own newest update; None before
    the first. The second keyframe comes ``phase`` updates early, so that peers that start together do not go on
    sending keyframes together.
    """

    policy: FramePolicy
    horizon: int
    phase: int = 0
    own_vote: Vote | None = None
    _update: Cid | None = None
    _since_keyframe: int = 0
    _keyframe_time: int = 0

    def __post_init__(self) -> None:
        self.phase %= self.policy.every

    def encode(self, weights: Vector, samples: int, now: int) -> Frame:
        """Return the next frame of ``weights`` (n,), trained on ``samples``: a keyframe if one is due at ``now`` ms.

        Raises FrameError, with nothing changed, if the weights are no weights.
        """
        replica = self.own_vote.vector if self.own_vote else None
        frame = encode_frame(weights, replica, self._update if self._may_send_delta(now) else None, self.policy)
        if frame.header.kind == KEY:
            self._since_keyframe, self._keyframe_time = (self.phase if replica is None else 0), now
        self._since_keyframe += 1
        self.own_vote = Vote(frame.replica, samples, now)
        return frame

    def published(self, update: Message) -> None:
        """Note the signed update with the frame that ``encode`` gave last: the next delta stands on it."""
        assert self.own_vote is not None
        self._update, self.own_vote = update.cid, replace(self.own_vote, time=update.time)

    def forget(self) -> None:
        """Let the next frame stand alone: others hold a replica that this peer does not know."""
        self._update, self.own_vote = None, None
        self._since_keyframe, self._keyframe_time = 0, 0

    def give_up(self) -> None:
        """Let the next frame be a keyframe: the one that ``encode`` gave last was not published."""
        self._since_keyframe = self.policy.every

    def to_state(self) -> dict[str, Any]:
        """Return this part's fields of PeerState."""
        vote = self.own_vote
        return {
            "update": self._update,
            "since_keyframe": self._since_keyframe,
            "keyframe_time": self._keyframe_time,
            "replica": vote.vector if vote else None,
            "samples": vote.samples if vote else 0,
            "time": vote.time if vote else 0,
        }

    def restore(self, state: PeerState) -> None:
        """Go on from the saved fields; an own vote without samples weighs nothing until the next update."""
        self._update = state.update
        self._since_keyframe, self._keyframe_time = state.since_keyframe, state.keyframe_time
        self.own_vote = None if state.replica is None else Vote(state.replica, state.samples, state.time)

    def _may_send_delta(self, now: int) -> bool:
        """Return False where a keyframe is due: often enough that a newcomer finds one within the horizon."""
        old = now - self._keyframe_time > self.horizon // 2
        return self._since_keyframe < self.policy.every and not old
