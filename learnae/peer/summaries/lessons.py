"""What a peer learns from others' summaries: rows drawn from them, and how far its own are from the swarm's."""

import logging
import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from learnae.models.dataset import Dataset, one_line_each
from learnae.privacy.masking.noise_share import share
from learnae.protocol.bodies import Summary
from learnae.protocol.messages import Message
from learnae.samples.dp_statistics import Layout
from learnae.samples.pooling import Pooled, drift, pool
from learnae.samples.proxy_rows import (
    Group,
    believable,
    draw_proxy,
    draw_rows,
    groups_of,
    is_clear,
    read_groups,
    steadied,
)

_PER_ROW = 2.0  # rows drawn for each of a summary: more tell nothing new
_MOST_ROWS = 8192  # drawn in all: memory of a board
_log = logging.getLogger(__name__)


class Lessons:
    """Keeps the rows of ``dataset.drawn`` like those of the members that send summaries and do not train.

    Those of members that train are in their weights already, exact; drawn rows would add noise and cost steps. They
    help to tell who lies, and how the swarm's columns lie.

    Where summaries are masked all rows that were summed teach: nobody can tell whose they are, nor who lies. There
    ``deviation`` is that of the noise, in steps, which a total has at least.
    """

    def __init__(self, layout: Layout, dataset: Dataset, rng: np.random.Generator, deviation: float = 0.0) -> None:
        self._layout = layout
        self._deviation = deviation
        self._dataset = dataset
        self._rng = rng
        self._pooled: Pooled | None = None
        self._drift: tuple[Pooled, int, str] | None = None  # of which summaries, and of how many own rows, it was told
        self.teachers = 0  # members whose summaries rows are drawn from
        self.believed: Mapping[bytes, Sequence[Group]] = {}  # what each other member says, as far as it is believable

    def note(self, messages: Mapping[bytes, Message]) -> None:
        """Take in the last summary of each other member: a checkpoint if that does not train."""
        bodies = {author: message.body for author, message in sorted(messages.items())}
        said = {a: groups_of(self._layout, body) for a, body in bodies.items() if isinstance(body, Summary)}
        self.believed = kept = believable(said)
        everything = [group for groups in kept.values() for group in groups]
        self._pooled = pool(everything) if everything else None
        silent = {a: groups for a, groups in kept.items() if messages[a].checkpoint and is_clear(groups)}
        self.teachers = sum(1 for groups in silent.values() if groups)
        self._draw([group for groups in silent.values() for group in groups if self._can_teach(group)], everything)

    def note_totals(self, totals: Sequence[tuple[NDArray[np.int64], int]]) -> None:
        """Take in the totals (values,) of masked sums, each with the number of members whose rows are in it."""
        found = [
            (read_groups(self._layout, values, self._deviation * math.sqrt(members * share(members))), members)
            for values, members in totals
            if len(values) == self._layout.groups * self._layout.size
        ]
        everything = [group for groups, _ in found for group in groups]
        self._pooled = pool(everything) if everything else None
        clear = [(groups, members) for groups, members in found if is_clear(groups)]
        self.teachers = sum(members for _, members in clear)
        self._draw([group for groups, _ in clear for group in groups if self._can_teach(group)], everything)

    def proxy(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Draw about ``count`` rows of everybody's kind, and their classes (n,)."""
        return draw_proxy(self._layout, self.believed, count, self._rng)

    def drift(self) -> str:
        """Return which column of the own rows is far from the swarm's, and how far; empty if none is, or it is not
        known. Logged when it begins."""
        pooled, rows, known = self._pooled, self._dataset.train, self._drift
        if pooled is None:
            self._drift = None
            return ""
        if known is None or known[0] is not pooled or known[1] != rows.written:  # each status asks, of all rows
            found = drift(pooled, one_line_each(rows.rows))
            if found and not (known and known[2]):
                _log.warning("own rows are unlike the swarm's: %s", found)
            self._drift = known = pooled, rows.written, found
        return known[2]

    def _can_teach(self, group: Group) -> bool:
        return group.label is not None or not self._layout.classes

    def _draw(self, groups: list[Group], among: Sequence[Group] = ()) -> None:
        groups = steadied(groups, among)
        wanted = np.array([_PER_ROW * group.count for group in groups])
        counts = np.ceil(wanted * min(1.0, _MOST_ROWS / max(wanted.sum(), 1.0))).astype(int)
        self._dataset.teach(*self._shaped(groups, counts.tolist()))

    def _shaped(self, groups: list[Group], counts: list[int]) -> tuple[np.ndarray, np.ndarray]:
        rows, targets = draw_rows(self._layout, groups, counts, self._rng)
        return rows, targets.reshape(len(rows), *self._dataset.train.targets.shape[1:])
