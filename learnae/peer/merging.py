"""Merging: the own weights move towards the others', and what all agree on is estimated."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from learnae.ipld.cid import Cid
from learnae.peer.following import Following, Replica
from learnae.peer.frame_encoder import FrameEncoder
from learnae.ports import Learner
from learnae.protocol.bodies import NAME_BYTES
from learnae.swarm.manifest import Manifest
from learnae.weights.codecs import Vector
from learnae.weights.consensus import ConsensusEstimate
from learnae.weights.merge import Vote, consensus, merge


class Merging:
    """What the peer ``author`` makes of the replicas that it follows.

    ``start`` (count,) is where all begin, zeros until it is known; ``unsaid`` names updates (NAME_BYTES each) that were
    merged since the own last one.
    """

    def __init__(
        self, author: bytes, manifest: Manifest, learner: Learner, following: Following, frames: FrameEncoder
    ) -> None:
        self.start: Vector = np.zeros(manifest.model.count, np.float32)
        self.estimate = ConsensusEstimate(self.start, manifest.merge.half_life)
        self.unsaid: list[bytes] = []
        self._author = author
        self._manifest = manifest
        self._learner = learner
        self._following = following
        self._frames = frames
        self._fresh_learner = {name: array.copy() for name, array in learner.state().items()}
        self._merged: dict[bytes, Cid] = {}  # replicas that the weights already contain

    def begin(self) -> None:
        """Take the weights from the start."""
        self._learner.load(self.start)
        self.estimate.vector = self.start

    def merge(self) -> int:
        """Move the weights towards the replicas if any is new; returns how many are."""
        replicas = self._following.replicas
        new = [author for author, replica in replicas.items() if self._merged.get(author) != replica.cid]
        if not new:
            return 0
        votes = self._votes(replicas)
        self._learner.load(merge(self._learner.weights(), votes, self._manifest.merge))
        self._merged = {author: replica.cid for author, replica in replicas.items()}
        self.unsaid += [self._merged[author].digest[:NAME_BYTES] for author in new]
        del self.unsaid[: -self._manifest.limits.merged]
        return len(new)

    def believe(self, own: Vote | None, now: int) -> None:
        """Renew the consensus estimate; ``own`` is missing where a peer only sends summaries, or nothing."""
        votes = [replica.vote() for replica in self._following.replicas.values()]
        live = set(self._following.live(now)) - {self._author}
        if own is not None:
            votes.append(own)
            live.add(self._author)
        self.estimate.renew(votes, len(live), now)

    def start_over(self) -> None:
        """Own training has diverged: go on from what the swarm believes."""
        self._learner.restore(self._fresh_learner)
        votes = self._votes(self._following.replicas)
        self._learner.load(consensus(votes, self._manifest.merge.half_life) if votes else self.start)

    def _votes(self, replicas: Mapping[bytes, Replica]) -> list[Vote]:
        votes = [replica.vote() for replica in replicas.values()]
        own = self._following.news.get(self._author)
        if self._frames.replica is not None and own is not None:
            votes.append(Vote(self._frames.replica, own.update.samples, own.time))
        return votes
