"""Accusing: one peer of a swarm says what proves that an author has equivocated, not each of them."""

import hashlib
from collections.abc import Collection, Iterable

from learnae.peer.following import Following
from learnae.ports import Clock
from learnae.protocol.bodies import Evidence
from learnae.protocol.tangle import Tangle

TURN_MS = 3_000  # of the own uptime: evidence that another has published is here by then, mostly
_MOST_MS = 30_000  # that any peer waits: those whose turn is before may be away, or friends of the accused


class Accuser:
    """Tells when this peer is to publish evidence.

    Peers take turns, which follow from their keys and that of the accused. Of an author that this peer has never
    followed, and that has told it of no rows, it says nothing: such keys cost nothing to make.
    """

    def __init__(self, tangle: Tangle, following: Following, clock: Clock) -> None:
        self._tangle = tangle
        self._following = following
        self._clock = clock
        self._since: dict[bytes, int] = {}  # uptime: by author that no evidence is attached against

    def due(self, live: Iterable[bytes], witnesses: Collection[bytes]) -> list[Evidence]:
        """Return what this peer is to publish now.

        ``live`` are the authors who may do it in its place, ``witnesses`` those whose summaries are here.
        """
        found = {evidence.author: evidence for evidence in self._tangle.unreported()}
        now, known = self._clock.uptime(), self._since
        taught = [
            author for author in found if author in known or author in self._following.ever or author in witnesses
        ]
        self._since = {author: known.get(author, now) for author in taught}
        if not taught:
            return []
        others = list(live)
        return [found[author] for author, since in self._since.items() if now - since >= self._wait(author, others)]

    def _wait(self, accused: bytes, live: list[bytes]) -> int:
        """Return for how long (ms) those whose turn is before this peer's are given room."""
        own = _place(accused, self._tangle.me)
        before = sum(_place(accused, author) < own for author in live if author != accused)
        return min(before * TURN_MS, _MOST_MS)


def _place(accused: bytes, author: bytes) -> bytes:
    return hashlib.sha256(accused + author).digest()
