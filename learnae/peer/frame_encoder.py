"""Encoding the own frames: what others decode of the own weights, and when a checkpoint is due."""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from learnae.basics.light_numpy import norm
from learnae.ipld.cid import Cid
from learnae.peer.state import PeerState
from learnae.ports import Keep, in_memory
from learnae.protocol.bodies import KEY
from learnae.protocol.limits import MINUTE
from learnae.protocol.messages import Message
from learnae.weights.codecs import LADDER, WHOLE, Vector
from learnae.weights.frames import Frame, FramePolicy, block_sizes, encode_frame
from learnae.weights.merge import Vote, distance

MESSAGE_BYTES = 700  # of an update without its frame: about, in a sealed swarm of eight
_OFTEN = 8  # times what a keyframe takes beyond a delta
_LONGEST_MS = 15 * MINUTE  # from one checkpoint to the next while learning


@dataclass(eq=False)
class FrameEncoder:
    """Encodes a stream of keyframes, which are checkpoints, and deltas.

    A keyframe is due when what came since the last, messages included, weighs as much: a newcomer fetches at most twice
    a keyframe, and so much more is sent at most. Where deltas are coarser than keyframes ever are it is eight times
    what a keyframe takes beyond one: at most nine keyframes' worth, and an eighth more. ``own_vote`` is the own replica
    as a merge sees it: what others have decoded at the own newest update; None before the first.

    Where updates ``may_be_coarser`` than the policy's, each is in the finest codec with which it takes ``room`` bytes
    at most, its message and its share of a keyframe included; in the coarsest if none does.
    """

    policy: FramePolicy
    own_vote: Vote | None = None
    may_be_coarser: bool = False
    room: float = math.inf
    keep: Keep = in_memory
    _update: Cid | None = None
    _key_bytes: int = 0
    _since_bytes: int = 0
    _since_updates: int = 0
    _key_time: int = 0
    _message_bytes: int = MESSAGE_BYTES

    def change(self, weights: Vector) -> float:
        """Return how far ``weights`` (n,) are from what others hold, in its norm; infinite where they hold nothing."""
        if self.own_vote is None:
            return math.inf
        replica = self.own_vote.vector
        return distance(replica, weights) / max(norm(replica), float(np.finfo(np.float32).tiny))

    def encode(self, weights: Vector, samples: int, now: int, whole: bool = False) -> Frame:
        """Return the next frame of ``weights`` (n,), trained on ``samples``: a keyframe if one is due at ``now`` ms.

        One that must be ``whole`` stands alone. Raises FrameError, with nothing changed, if the weights are no weights.
        """
        replica = self.own_vote.vector if self.own_vote else None
        codec = self.codec(len(weights))
        is_due = self._is_key_due(now, codec, len(weights))
        base = None if whole or is_due else self._update
        frame = encode_frame(weights, replica, base, replace(self.policy, delta=codec))
        if frame.header.kind == KEY:
            self._key_bytes, self._key_time = sum(map(len, frame.blocks)), now
            self._since_bytes, self._since_updates = 0, 0
        frame = replace(frame, replica=self.keep(frame.replica))
        self.own_vote = Vote(frame.replica, samples, now, settled=False)
        return frame

    def published(self, update: Message, frame: Frame, settled: bool) -> None:
        """Note the signed update with the frame that ``encode`` gave last: the next delta stands on it."""
        assert self.own_vote is not None
        self._update, self.own_vote = update.cid, replace(self.own_vote, time=update.time, settled=settled)
        self._since_updates += 1
        self._message_bytes = len(update.data)
        if frame.header.kind != KEY:
            self._since_bytes += len(update.data) + sum(map(len, frame.blocks))

    def codec(self, count: int) -> str:
        """Return the codec of a delta of ``count`` values now."""
        if not self.may_be_coarser or self.policy.delta not in LADDER or self.room == math.inf:
            return self.policy.delta
        names = LADDER[LADDER.index(self.policy.delta) :]
        return next((name for name in names if self._mean_bytes(name, count) <= self.room), names[-1])

    def _mean_bytes(self, codec: str, count: int) -> float:
        """Return what an update with deltas in ``codec`` takes in the mean over a keyframe and the deltas until it."""
        key, delta = (sum(block_sizes(name, count)) for name in (self.policy.keyframe, codec))
        deltas = min(self.policy.every, -(-_due(key, codec, count) // (delta + self._message_bytes)))
        return (key + deltas * delta) / (1 + deltas) + self._message_bytes

    def settle(self) -> None:
        """Note that the newest update is a settled peer's: its vote does not age."""
        self.own_vote = replace(self.own_vote, settled=True) if self.own_vote else None

    def forget(self) -> None:
        """Let the next frame stand alone: others hold a replica that this peer does not know."""
        self._update, self.own_vote = None, None

    def go_back(self, weights: Vector) -> None:
        """Vote for ``weights`` (n,) in place of what others hold, until the next frame, which stands alone."""
        self._update = None
        self.own_vote = replace(self.own_vote, vector=weights) if self.own_vote else None

    def give_up(self) -> None:
        """Let the next frame be a keyframe: the one that ``encode`` gave last was not published."""
        self._update = None

    def to_state(self) -> dict[str, Any]:
        """Return this part's fields of PeerState."""
        vote = self.own_vote
        return {
            "update": self._update,
            "key_bytes": self._key_bytes,
            "key_time": self._key_time,
            "since_bytes": self._since_bytes,
            "since_updates": self._since_updates,
            "replica": vote.vector if vote else None,
            "samples": vote.samples if vote else 0,
            "time": vote.time if vote else 0,
        }

    def restore(self, state: PeerState) -> None:
        """Go on from the saved fields."""
        self._update = state.update
        self._key_bytes, self._key_time = state.key_bytes, state.key_time
        self._since_bytes, self._since_updates = state.since_bytes, state.since_updates
        self.own_vote = (
            None if state.replica is None else Vote(self.keep(state.replica), state.samples, state.time, settled=False)
        )

    def _is_key_due(self, now: int, codec: str, count: int) -> bool:
        """Return True if a newcomer would fetch much beside the last one, or that one is old."""
        is_heavy = self._since_bytes >= _due(self._key_bytes, codec, count) or self._since_updates >= self.policy.every
        return is_heavy or not 0 <= now - self._key_time < _LONGEST_MS


def _due(key: int, codec: str, count: int) -> int:
    """Return how many bytes come after a keyframe of ``key`` until the next, with deltas of ``count`` values."""
    return key if codec in WHOLE else max(key, _OFTEN * (key - sum(block_sizes(codec, count))))
