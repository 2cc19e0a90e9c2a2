"""Rating: a peer measures now and then how useful others' published weights are to it, and says so, rarely.

What is said follows from what is published alone: replicas, the own one as others hold it, and rows drawn from others'
summaries. No own row is asked, so it tells of none. Without summaries nothing is measured.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Container, Iterable, Mapping

import numpy as np

from learnae.errors import LearnaeError
from learnae.ipld.cid import Cid
from learnae.peer.contributions.book import ContributionBook
from learnae.peer.following import Replica
from learnae.peer.learning.jury import LARGE, LEAST_WITNESSES, POINTS, POINTS_OF_LARGE, CappedLoss
from learnae.peer.summaries.lessons import Lessons
from learnae.ports import StateStore
from learnae.privacy.policy import MASKED
from learnae.protocol.bodies import Contributions
from learnae.protocol.messages import Message
from learnae.samples.dp_statistics import layout_of, why_none
from learnae.swarm.manifest import Manifest
from learnae.weights.contributions import gains
from learnae.weights.merge import Vote

_FEWEST = 2  # others: of one alone it is not told whether it is of more use than usual
# shares of the horizon: by default ten seconds, a minute, ten minutes, three hours, eight hours
_MEASURES, _FIRST, _SAVES, _SAYS, _REPEATS = 8640, 1440, 144, 8, 3
_MOST_ORDERS, _VALUES = 8, 1 << 22  # of a measurement; weights in all means that it makes: a tick stays short
_PAUSE = 50  # times what a measurement took: at most so small a part of a core

_log = logging.getLogger(__name__)


def why_unrated(manifest: Manifest) -> str:
    """Return why no contributions can be told in a swarm; empty if they can."""
    if manifest.only_keras:
        return "what only Keras builds, or programs of their own train, is not judged here"
    if layout_of(manifest) is None:
        return f"the swarm has no summaries: {why_none(manifest)}"
    if manifest.privacy.summary.sharing == MASKED:
        return (
            "the swarm masks summaries: of a total it cannot be told who lies in it, so no rows are drawn to judge by"
        )
    return (
        "" if manifest.class_count else "the swarm has no classes: replicas are judged on rows of known classes alone"
    )


class Rating:
    """Measures others on rows drawn from ``lessons``, and keeps the book of contributions in ``store``.

    ``is_saved`` says whether all of it is on the disk. ``seed`` makes its choices repeatable, in tests.
    """

    def __init__(
        self, manifest: Manifest, me: bytes, lessons: Lessons, store: StateStore, seed: int | None = None
    ) -> None:
        self._manifest = manifest
        self._model = manifest.definition
        self._lessons = lessons
        self._store = store
        self._rng = np.random.default_rng(seed)
        self.book = ContributionBook(manifest.swarm, me, manifest.limits.horizon)
        self._judged: frozenset[Cid] = frozenset()
        self._next: float = 0  # uptime of the next measurement
        self._has_news = True  # of what is to be said: a process before this one may have measured
        self.is_saved = True
        self._saved: int | None = None  # uptime

    def begin(self) -> None:
        """Go on from what was saved; what cannot be read is begun anew."""
        try:
            data = self._store.load()
            if data is None:
                return
            book = ContributionBook.from_bytes(data, self._manifest.limits)
        except LearnaeError as error:
            _log.warning("contributions cannot be read (%s): they are measured anew", error)
            return
        if (book.swarm, book.me) == (self.book.swarm, self.book.me):
            self.book = book

    def note(self, attached: Iterable[Message], speakers: Container[bytes]) -> None:
        """Take in what others say; of ``speakers`` alone, who have published weights, as keys may cost nothing."""
        for message in attached:
            body = message.body
            if isinstance(body, Contributions) and message.author in speakers:
                self.is_saved &= not self.book.hear(message.author, message.time, body)

    def measure(self, own: Vote, replicas: Mapping[bytes, Replica], now: int, uptime: Callable[[], int]) -> bool:
        """Measure the ``replicas`` beside the ``own`` one as published, if they are new and it is time."""
        names, begun = frozenset(replica.cid for replica in replicas.values()), uptime()
        if len(replicas) < _FEWEST or names == self._judged or begun < self._next:
            return False
        if sum(1 for groups in self._lessons.believed.values() if groups) < LEAST_WITNESSES:
            return False
        rows, targets = self._lessons.proxy(POINTS if self._model.count <= LARGE else POINTS_OF_LARGE)
        if not len(rows):
            return False
        rows, classes = rows.reshape(len(rows), *self._model.input_shape), targets.reshape(len(rows)).astype(np.int64)
        losses_of = CappedLoss(self._model, rows, classes, self._manifest.class_count).of_each
        half_life, moments = self._manifest.merge.half_life, self._model.moments
        orders = max(2, min(_MOST_ORDERS, _VALUES // (len(replicas) * self._model.count)))
        votes: dict[bytes, Vote] = {b"": own, **replicas}
        found = gains(votes, losses_of, half_life, now, self._rng, moments, orders)
        del found[b""]
        self.book.note_gains(found, now)
        self._judged, self._has_news, self.is_saved = names, True, False
        self._next = begun + max(self._share(_MEASURES), _PAUSE * (uptime() - begun))
        return True

    def due(self, now: int) -> Contributions | None:
        """Return what is to be published at ``now`` (Unix ms), None for nothing; it is on the disk as said by then.

        Seldom: a minute after the first measurement, then each time after as long again, in the end every eighth of a
        horizon; what has not changed, each third of one. Raises NotWrittenError.
        """
        book = self.book
        if book.began is None:
            return None
        since = book.said if book.said is not None else book.began
        wait = min(self._share(_SAYS), max(self._share(_FIRST), since - book.began))
        wait = wait if self._has_news else max(wait, self._share(_REPEATS))
        if 0 <= now - since < wait or (body := book.statement()) is None:  # a clock that was set back makes it due
            return None
        book.began, book.said, self._has_news = min(book.began, now), now, False
        self.save()
        return body

    def keep(self, raters: Iterable[bytes], uptime: int) -> None:
        """Give exactly these ``raters`` a voice, and save what is new, now and then; raises NotWrittenError."""
        self.is_saved &= not self.book.admit(raters)
        is_due = self._saved is None or uptime - self._saved >= self._share(_SAVES)
        if not self.is_saved and is_due:
            self._saved = uptime
            self.save()

    def save(self) -> None:
        """Save what is known, as before a planned stop; raises NotWrittenError."""
        self._store.save(self.book.to_bytes())
        self.is_saved = True

    def _share(self, part: int) -> int:
        return max(1, self._manifest.limits.horizon // part)
