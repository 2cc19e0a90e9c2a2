"""Merging: the own weights move towards the others', and what all agree on is estimated."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from learnae.ipld.cid import Cid
from learnae.peer.following import Following
from learnae.peer.frame_encoder import FrameEncoder
from learnae.peer.state import PeerState
from learnae.ports import Learner
from learnae.protocol.bodies import NAME_BYTES
from learnae.swarm.manifest import Manifest
from learnae.weights.codecs import Vector
from learnae.weights.merge import ConsensusEstimate, Vote, consensus, merge


class Merging:
    """Merges the replicas that a peer follows, and its own, into the learner's weights and into ``estimate``.

    ``unsaid`` holds the names (NAME_BYTES each) of updates that were merged since the own last one. ``replaced`` is called
    when the learner's weights are no more what its rows have made of them.
    """

    def __init__(
        self,
        manifest: Manifest,
        learner: Learner,
        following: Following,
        frames: FrameEncoder,
        replaced: Callable[[], None] = lambda: None,
    ) -> None:
        self._start: Vector = np.zeros(manifest.model.count, np.float32)
        self._estimate = ConsensusEstimate(self._start, manifest.merge.half_life, learner.moments)
        self.unsaid: tuple[bytes, ...] = ()
        self._manifest = manifest
        self._learner = learner
        self._following = following
        self._frames = frames
        self._replaced = replaced
        self._fresh_learner = {name: array.copy() for name, array in learner.state().items()}
        self._merged: dict[bytes, Cid] = {}  # replicas that the weights already contain
        self._is_restored = False

    @property
    def estimate(self) -> Vector:
        """Return the consensus estimate (count,)."""
        return self._estimate.vector

    def begin(self, start: Vector) -> None:
        """Note the weights (count,) that the swarm starts from, and take them unless a saved state has others."""
        self._start = start
        if not self._is_restored:
            self._learner.load(start)
            self._estimate.vector = start

    def adopt(self, now: int) -> None:
        """Take what the swarm believes in place of the own weights, which are a newcomer's."""
        replicas = self._following.replicas
        if replicas:
            self.believe(None, now)
            self._learner.load(self.estimate)
            self._replaced()
            self._note(list(replicas))

    def to_state(self) -> dict[str, Any]:
        """Return this part's fields of PeerState."""
        return {"estimate": self.estimate}

    def restore(self, state: PeerState) -> None:
        """Go on from the saved estimate; the weights are restored, too (Training)."""
        self._estimate.vector, self._is_restored = state.estimate, True

    def merge(self, now: int) -> int:
        """Move the weights towards the replicas as they count at ``now`` (ms), if any is new; return how many are."""
        replicas = self._following.replicas
        new = [author for author, replica in replicas.items() if self._merged.get(author) != replica.cid]
        if not new:
            return 0
        policy = self._manifest.merge
        self._learner.load(merge(self._learner.weights(), self._votes(), policy, now, self._learner.moments))
        self._replaced()
        self._note(new)
        return len(new)

    def _note(self, new: Sequence[bytes]) -> None:
        """Note that all replicas have gone into the weights, those of ``new`` authors for the first time."""
        self._merged = {author: replica.cid for author, replica in self._following.replicas.items()}
        names = [self._merged[author].digest[:NAME_BYTES] for author in new]
        self.unsaid = (*self.unsaid, *names)[-self._manifest.limits.merged :]

    def said(self, count: int) -> None:
        """Forget the first ``count`` of ``unsaid``: an update that names them is published."""
        self.unsaid = self.unsaid[count:]

    def believe(self, own: Vote | None, now: int) -> None:
        """Renew the consensus estimate; ``own`` is None where nothing of the own weights is published now."""
        votes: list[Vote] = list(self._following.replicas.values())
        live = len(self._following.others(now))
        if own is not None:
            votes.append(own)
            live += 1
        self._estimate.renew(votes, live, now)

    def believe_own(self, samples: int, now: int) -> None:
        """Renew the estimate with the own weights as they are, trained on ``samples``, which no other has seen."""
        if not np.isfinite(self._learner.weights()).all():
            self.start_over(now)
        self.believe(Vote(self._learner.weights(), samples, now, settled=False), now)

    def start_over(self, now: int) -> None:
        """Go on from what the swarm believes at ``now`` (ms): own training has diverged."""
        self._learner.restore(self._fresh_learner)
        votes, half_life = self._votes(), self._manifest.merge.half_life
        self._learner.load(consensus(votes, half_life, now, self._learner.moments) if votes else self._start)
        self._replaced()

    def _votes(self) -> list[Vote]:
        own = self._frames.own_vote
        return [*self._following.replicas.values(), *([own] if own else [])]
