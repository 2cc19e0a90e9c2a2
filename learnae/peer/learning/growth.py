"""Growth: when a swarm has many more rows than it began with, what was learnt by heart of the fewer is partly left.

Weights that have fitted few rows to the last one have no gradient left to leave what only those had in common: trained
on from there, on all rows, they stay 1 to 3 points behind weights that saw all rows at once. Moved most of the way back
to where all began, they do not. (Ash & Adams 2020, "On Warm-Starting Neural Network Training": shrink and perturb. What
they perturb with is the swarm's start here, which all have, so that they stay near one another.) Pure.
"""

import math
from collections.abc import Sequence

from learnae.weights.merge import counted

KEPT = 0.1  # of the way from the start, when it is left
_POWERS = 1.5  # of rows
_LEAST = 1.3  # times as many rows as are known by heart: some pass a power by one row
_BY_HEART = 0.1  # of the loss of saying of each row how often classes are


class Growth:
    """Tells when the rows that a peer knows of have passed the next power of 1.5, and grown by three tenths.

    All peers that know the same claims pass it together, and none goes back more often than there are powers. What is
    gone and comes back counts once.

    >>> growth = Growth()
    >>> few, more = [400], [400, 400]
    >>> [growth.note(claims, by_heart=True) for claims in (few, more, more, few, more, [*more, 400, 10**9])]
    [False, True, False, False, False, True]
    """

    def __init__(self) -> None:
        self._most = self._rows = 0

    def note(self, claims: Sequence[int], by_heart: bool) -> bool:
        """Take in how many samples each author claims, the own included; return True if they have grown.

        What is not known ``by_heart`` yet is learnt with as many rows as there are.
        """
        rows, before = sum(counted(claims)), self._most
        self._most = max(before, int(math.log(rows) / math.log(_POWERS)) if rows else 0)
        has_grown = by_heart and self._most > before and rows >= _LEAST * self._rows > 0
        if has_grown or not by_heart or not self._rows:
            self._rows = max(self._rows, rows)
        return has_grown


def is_by_heart(loss: float | None, chance: float) -> bool:
    """Return True if rows are known by heart at this training ``loss``, where saying the same of all has ``chance``.

    Rows of nearly one class have a small loss whatever is known of them; of one alone, and of values, it is unknown.

    >>> is_by_heart(0.01, chance=1.9), is_by_heart(0.01, chance=0.04), is_by_heart(None, 1.9), is_by_heart(0.0, 0.0)
    (True, False, False, False)
    """
    return loss is not None and loss < _BY_HEART * chance
