"""Judging replicas on own held-out rows, where no rows of everybody's kind can be drawn: values, raw windows. Pure.

Own rows are few and of one kind, but no liar knows them. An honest member whose rows differ may do badly on them, so
no more is asked of a replica than that it knows something, or is nearly as good as the best.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from learnae.basics.overriding import override
from learnae.weights.judging import Judge, Judgement, JudgingPolicy
from learnae.weights.merge import Vote

NOTHING = 1.0  # loss of what says the same of all rows, the best that this can: the unit of losses here
_BEST_RATIO = 1.5  # where no one knows anything yet, all that are not far worse than the best are heard
OWN_POLICY = JudgingPolicy(least_length=1 / 3)


@dataclass(eq=False)
class OwnJudge(Judge):
    """Mutes what is beyond NOTHING once anyone knows more, the own weights included; and what Judge mutes by weights.

    The best counts, not the own weights: a newcomer, and who has been spoiled, hears those who know something. While no
    one does, what is beyond _BEST_RATIO times the best is muted.

    >>> import numpy as np
    >>> def loss_of(weights):
    ...     return float((weights - 1) @ (weights - 1) / (weights @ weights))
    >>> own, good, bad = (Vote(np.full(4, value, np.float32), 100, 0, False) for value in (0.9, 1.1, -1.0))
    >>> OwnJudge(loss_of).judge(own, {b"good": good, b"bad": bad}, half_life=1000, now=0)
    Judgement(kept=(b'good',), muted={b'bad': 'a loss of 4.00 on own rows, knowing nothing has 1, the own 0.01'})
    """

    policy: JudgingPolicy = OWN_POLICY

    @override
    def _among(
        self,
        own: Vote,
        own_loss: float,
        heard: Sequence[tuple[bytes, Vote]],
        losses: Mapping[bytes, float],
        most: float,
        half_life: int,
        now: int,
    ) -> Judgement:
        kept = sorted((author for author, _ in heard if losses[author] <= most), key=losses.__getitem__)
        why = f"on own rows, knowing nothing has 1, the own {own_loss:.2f}"
        return Judgement(
            tuple(kept), {author: f"a loss of {losses[author]:.2f} {why}" for author, _ in heard if author not in kept}
        )

    @override
    def _suspect_above(self, own_loss: float, losses: Mapping[bytes, float]) -> float:
        best = min([own_loss, *losses.values()])
        return NOTHING if best < NOTHING else _BEST_RATIO * best
