"""Who merged whom lately, as updates say it: bounded, and kept only while there is a viewer."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from learnae.basics.bounded_dict import BoundedDict
from learnae.peer.following import News
from learnae.protocol.bodies import NAME_BYTES

_SPAN_MS = 600_000  # ten minutes
_MOST = 240  # updates that are drawn
_MOST_NAMES = 8192  # of updates whose author is remembered


@dataclass(eq=False)
class Lineage:
    """Takes in the newest updates, by author; ``drawn`` gives those of the last ten minutes."""

    _names: BoundedDict[bytes, bytes] = field(default_factory=lambda: BoundedDict(_MOST_NAMES))
    _updates: deque[News] = field(default_factory=lambda: deque(maxlen=_MOST))
    _newest: dict[bytes, int] = field(default_factory=dict)

    def note(self, news: Mapping[bytes, News]) -> None:
        """Take in what is new of these."""
        fresh = [each for author, each in news.items() if each.time > self._newest.get(author, -1)]
        for each in sorted(fresh, key=lambda each: each.time):
            self._names[each.cid.digest[:NAME_BYTES]] = each.author
            self._updates.append(each)
        self._newest = {author: each.time for author, each in news.items()}

    def drawn(self, now: int) -> Iterable[tuple[int, bytes, list[bytes]]]:
        """Return time (Unix ms), author, and the authors that it merged, for each update, oldest first."""
        for each in self._updates:
            if now - each.time <= _SPAN_MS:
                authors = dict.fromkeys(filter(None, map(self._names.get, each.update.merged)))
                yield each.time, each.author, list(authors)
