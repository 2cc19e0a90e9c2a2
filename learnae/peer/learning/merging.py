"""Merging: the own weights move towards the others', and what all agree on is estimated."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from learnae.basics.light_numpy import median
from learnae.ipld.cid import Cid
from learnae.peer.following import Following, Replica
from learnae.peer.frame_encoder import FrameEncoder
from learnae.peer.learning.growth import KEPT, Growth
from learnae.peer.learning.guard import Guard, Replicas, Suspicion
from learnae.peer.learning.jury import Jury
from learnae.peer.learning.versions import with_authors
from learnae.peer.state import PeerState
from learnae.ports import Keep, Learner, in_memory
from learnae.protocol.bodies import NAME_BYTES
from learnae.protocol.limits import MINUTE
from learnae.swarm.manifest import Manifest
from learnae.weights.codecs import Vector
from learnae.weights.merge import MEAN, ConsensusEstimate, Vote, between, consensus, merge, vote_weights
from learnae.weights.momentum import LossOf, Momentum, is_near

_log = logging.getLogger(__name__)

_YOUNG = 40  # messages of an author: what it has said by its first sixteen merges, and as much again
_BEGINNING = 500  # messages of an author: a swarm that has said more does not begin anew for who comes
_SAID_SINCE = 2  # messages since others have gone back: the first may have been on its way
_LEARNT_ANEW = 40  # own messages since: what is not as good as before by then was better on own rows alone
BACK_MS = 2 * MINUTE  # in which others go back, too, and publish what they are then


class Merging:
    """Merges the replicas that a peer follows, and its own, into the learner's weights and into ``estimate``.

    ``unsaid`` holds the names (NAME_BYTES each) of updates that were merged since the own last one. ``replaced`` is
    called when the learner's weights are no more what its rows have made of them. ``held`` are the authors whose
    weights have gone into them. What ``suspicion`` takes for a trap
    is not trained on (Guard), what the ``jury`` mutes is not merged. If it ``is_private``, merges ask no row.
    """

    def __init__(
        self,
        manifest: Manifest,
        learner: Learner,
        following: Following,
        frames: FrameEncoder,
        replaced: Callable[[], None] = lambda: None,
        suspicion: Suspicion | None = None,
        jury: Jury | None = None,
        is_private: bool = False,
        keep: Keep = in_memory,
    ) -> None:
        self._keep = keep
        self._start: Vector = np.zeros(manifest.model.count, np.float32)
        self._guard = Guard(suspicion, following.errors, self._start)
        self._growth = Growth()
        self._before: dict[bytes, int] = {}  # when this peer went back: the last seq of others, until they have, too
        self._own_before = 0
        self._kept: Vector | None = None
        self._momentum = Momentum(manifest.merge.momentum, manifest.merge.half_life, learner.moments, keep)
        self._loss_of: LossOf = (lambda _: None) if is_private else self._own_loss
        self._policy = replace(manifest.merge, rule=MEAN) if jury else manifest.merge  # what is judged is not trimmed
        self._estimate = ConsensusEstimate(
            self._start, manifest.merge.half_life, learner.moments, rule=self._policy.rule
        )
        self.unsaid: tuple[bytes, ...] = ()
        self.held: frozenset[bytes] = frozenset()
        self._manifest = manifest
        self._learner = learner
        self._following = following
        self._frames = frames
        self._replaced = replaced
        self.jury = jury
        self._merged: dict[bytes, Cid] = {}  # replicas that the weights already contain
        self._is_restored = False
        self._went_back: int | None = None  # Unix ms; while others may not have

    @property
    def estimate(self) -> Vector:
        """Return the consensus estimate (count,), or that of before this peer went back, while it is the better one."""
        return self._estimate.vector if self._kept is None else self._kept

    def begin(self, start: Vector) -> None:
        """Note the weights (count,) that the swarm starts from, and take them unless a saved state has others."""
        start = self._start = self._guard.start = self._keep(start)
        if self.jury:
            self.jury.note_start(start)
        if not self._is_restored:
            self._learner.load(start)
            self._estimate.vector = start

    def adopt(self, now: int) -> bool:
        """Take what the swarm believes in place of the own weights, which are a newcomer's; False if it is nothing."""
        own = self._learner.weights()
        self._judge(own, now)
        found = self._combined(own, lambda votes: self._consensus(votes, now), now)
        if found is None:
            return False
        self.believe(None, now)
        self._load(found)
        self._note(list(self._heard))
        self._has_grown(by_heart=True)  # the own rows, which this is made without, are the next to count
        return True

    def go_back(self, vector: Vector, held: frozenset[bytes], now: int) -> None:
        """Go on from an estimate (count,) of earlier, made of weights of ``held`` authors; the optimiser begins anew.

        What others published before ``now`` (ms) may hold what this peer has gone back from. For a while only those
        are merged who have published a keyframe since.
        """
        self._learner.begin_optimiser()
        self._load(vector)
        self._estimate.vector, self.held, self._kept = vector, held, None
        self._merged, self.unsaid, self._went_back = {}, (), now
        if self.jury:
            self.jury.note_own(vector)

    def to_state(self) -> dict[str, Any]:
        """Return this part's fields of PeerState."""
        return {"estimate": self.estimate, "held": self.held}

    def restore(self, state: PeerState) -> None:
        """Go on from the saved estimate; the weights are restored, too (Training)."""
        self._estimate.vector, self._is_restored, self.held = self._keep(state.estimate), True, state.held

    def merge(self, now: int, by_heart: Callable[[], bool] = lambda: False) -> int:
        """Move the weights towards the replicas if any is new; return how many are.

        If the own rows are known ``by_heart``, which is asked in a young swarm alone, and the swarm's have grown, they
        move back towards the start, too.
        """
        self._leave_trap()
        self._note_time(now)
        if self._waits():
            return 0
        own, policy, moments = self._keep(self._learner.weights()), self._policy, self._learner.moments
        self._judge(own, now)
        heard = self._heard
        new = [author for author, replica in heard.items() if self._merged.get(author) != replica.cid]
        if not new:
            return 0
        merged = self._combined(own, lambda votes: merge(own, votes, policy, now, moments), now)
        if merged is None:
            return 0
        new = [author for author in new if author in self._heard]
        if new:
            has_grown = self._has_grown(self._are_young(self._heard, _BEGINNING) and by_heart())
            merged = self._gone_back(own, merged) if has_grown else self._gone_on(own, merged, now)
            self._learner.load(merged)
            self._replaced()
            self._note(new)
            if self.jury:
                self.jury.note_own(merged)
        return len(new)

    def _has_grown(self, by_heart: bool) -> bool:
        """Return True if there are many more rows than what is known ``by_heart``; after a restart it is not asked."""
        own = self._frames.own_vote
        claims = [replica.samples for replica in self._known.values()]
        return not self._is_restored and self._growth.note([*claims, own.samples] if own else claims, by_heart)

    def _gone_on(self, own: Vector, merged: Vector, now: int) -> Vector:
        """Return the weights (count,) to train on: what is ``merged``, or what is safe beyond it."""
        heard = self._heard
        fresh, young = self._are_others(heard), self._are_young(heard)
        result = self._momentum.go_on(own, merged, len(heard), now, self._loss_of, fresh, young)
        return self._safe(result, own, merged)

    def _safe(self, result: Vector, own: Vector, merged: Vector) -> Vector:
        """Return what is safe of ``result`` (count,), which was made of what is ``merged``, or else that."""
        if result is merged:
            return merged
        safe = self._guard.safe(result, own, self._heard)
        if safe is None:
            self._guard.note(f"what merges have moved towards: {self._guard.why(result, own, self._heard)}")
            safe = merged
        if safe is not result:
            self._momentum.stop(safe)
        return safe

    def _gone_back(self, own: Vector, merged: Vector) -> Vector:
        """Return the weights (count,) to train on anew: most of the way from what is ``merged`` to the start."""
        result = self._safe(between(self._start, merged, KEPT, self._learner.moments), own, merged)
        if result is merged:
            return merged
        _log.info("there are many more rows than before: going back most of the way to the start")
        self._learner.begin_optimiser()
        self._momentum.forget()
        self._frames.go_back(result)
        self._kept = self.estimate
        self._before = {author: self._said_by(author) for author in self._heard}
        self._own_before = self._said_by(self._following.me)
        return result

    def _waits(self) -> bool:
        """Return True if this peer has gone back, and most others may not have published since what they went back to.

        Judged beside weights that know all by heart, what begins anew is bad: merged too early, it would be undone.
        Where others are slow, this peer has waited long enough after some updates of its own.
        """
        said = [self._said_by(author) - seq for author, seq in self._before.items() if author in self._known]
        own = self._said_by(self._following.me) - self._own_before
        if self._before and (not said or median(said) >= _SAID_SINCE or own >= 2 * _SAID_SINCE):
            self._before = {}
        return bool(self._before)

    def _let_go(self) -> None:
        """Let go of the estimate of before this peer went back, where that of now is as good on own held-out rows."""
        if self._kept is None:
            return
        if self._said_by(self._following.me) - self._own_before < _LEARNT_ANEW:
            before, loss = self._own_loss(self._kept), self._own_loss(self._estimate.vector)
            if before is not None and not is_near(loss, before):
                return
        self._kept = None

    def _said_by(self, author: bytes) -> int:
        return self._following.tangle.seq_of(author)

    def _are_others(self, heard: Replicas) -> bool:
        """Return True if most authors of the last merge are not ``heard`` now, or one is muted or banned."""
        gone, followed = self._merged.keys() - heard.keys(), self._following
        is_refused = any(author in followed.replicas or not followed.is_heard(author) for author in gone)
        return is_refused or 2 * len(gone) > len(self._merged)

    def _are_young(self, heard: Replicas, most: int = _YOUNG) -> bool:
        """Return True if most of ``heard`` have said less than so many messages yet."""
        said = sorted(map(self._said_by, heard))
        return bool(said) and said[len(said) // 2] < most

    def _own_loss(self, weights: Vector) -> float | None:
        metrics = self._learner.evaluate(weights)
        return metrics.loss if metrics else None

    def _load(self, weights: Vector) -> None:
        """Replace the own weights by others (count,) than a merge's."""
        self._learner.load(weights)
        self._momentum.forget()
        self._replaced()

    def _judge(self, own: Vector, now: int) -> None:
        """Let the jury judge what is heard, beside the ``own`` weights (count,); no claim of others is above them."""
        replicas = self._guard.heard(self._known)
        if self.jury and replicas:
            vote = self._frames.own_vote
            samples = vote.samples if vote else max(replica.samples for replica in replicas.values())
            self.jury.sit(Vote(own, samples, now, settled=False), replicas, now)

    def _leave_trap(self) -> None:
        """Begin anew from the seed if the swarm's starting weights, which its author chose, turn out to be a trap.

        The more rows are here the more is seen: they are looked at until something is published.
        """
        if not self._manifest.start or self._manifest.only_keras or self._frames.own_vote is not None:
            return
        seeded = self._manifest.definition.initial(self._manifest.seed)
        self._guard.start = seeded
        if why := self._guard.why(self._learner.weights(), seeded):
            self._guard.note(f"the weights that the swarm starts from: {why}")
            self._start = self._estimate.vector = seeded
            self._load(seeded)

    def _combined(self, own: Vector, function: Callable[[list[Vote]], Vector], now: int) -> Vector | None:
        """Return what ``function`` makes of the votes that are no trap; None without any of others.

        ``own`` are the weights (count,) that it is to replace.
        """

        def of(replicas: Replicas) -> Vector:
            votes = self._votes(replicas)
            return function(votes) if votes else own

        result = self._guard.combine(self._judged, own, of, now)
        return result if self._heard else None

    def _votes(self, replicas: Replicas) -> list[Vote]:
        own = self._frames.own_vote
        return [*replicas.values(), *([own] if own else [])]

    @property
    def _heard(self) -> dict[bytes, Replica]:
        return self._guard.heard(self._judged)

    @property
    def _judged(self) -> Replicas:
        return self.jury.heard(self._known) if self.jury else self._known

    @property
    def _known(self) -> Replicas:
        replicas, since = self._following.replicas, self._went_back
        if since is None:
            return replicas
        return {author: replica for author, replica in replicas.items() if replica.began > since}

    def _note_time(self, now: int) -> None:
        """End the wait for others that have gone back; also where the clock is set back."""
        if self._went_back is not None and not 0 <= now - self._went_back < BACK_MS:
            self._went_back = None

    def shares(self, now: int) -> dict[bytes, float]:
        """Return by author which share of the mean its replica has at ``now`` (ms); the own one's name is b""."""
        own = self._frames.own_vote
        votes: dict[bytes, Vote] = {**self._heard, **({b"": own} if own else {})}
        weights = vote_weights(list(votes.values()), self._policy.half_life, now) if votes else []
        return dict(zip(votes, weights, strict=True))

    def muted(self) -> dict[str, str]:
        """Return by peer why its replica is not merged now: hints, no proof. It is heard again when it does better."""
        return {**self._guard.status(), **(self.jury.status() if self.jury else {})}

    def _note(self, new: Sequence[bytes]) -> None:
        """Note that all replicas have gone into the weights, those of ``new`` authors for the first time."""
        self._merged = {author: replica.cid for author, replica in self._heard.items()}
        self.held = with_authors(self.held, self._merged)
        names = [self._merged[author].digest[:NAME_BYTES] for author in new]
        self.unsaid = (*self.unsaid, *names)[-self._manifest.limits.merged :]

    def said(self, count: int) -> None:
        """Forget the first ``count`` of ``unsaid``: an update that names them is published."""
        self.unsaid = self.unsaid[count:]

    def believe(self, own: Vote | None, now: int) -> None:
        """Renew the consensus estimate; ``own`` is None where nothing of the own weights is published now."""
        self._note_time(now)
        self._judge(own.vector if own else self._learner.weights(), now)
        votes: list[Vote] = list(self._heard.values())
        self.held = with_authors(self.held, self._heard)
        live = self._following.size(now) - (len(self._following.replicas) - len(votes))
        if own is not None:
            votes.append(own)
            live += 1
        if votes:
            self._estimate.renew(votes, live, now)
            self._estimate.vector = self._keep(self._estimate.vector)
            self._let_go()

    def believe_own(self, samples: int, now: int) -> None:
        """Renew the estimate with the own weights as they are, trained on ``samples``, which no other has seen."""
        if not np.isfinite(self._learner.weights()).all():
            self.start_over(now)
        self.believe(Vote(self._learner.weights(), samples, now, settled=False), now)

    def start_over(self, now: int) -> None:
        """Go on from what the swarm believes at ``now`` (ms): own training has diverged."""
        self._learner.begin_optimiser()
        votes = self._votes(self._heard)
        self._load(self._consensus(votes, now) if votes else self._start)

    def _consensus(self, votes: list[Vote], now: int) -> Vector:
        return consensus(votes, self._policy.half_life, now, self._learner.moments, self._policy.rule)
