"""The book of contributions: what a peer has measured of others, what others say, and what all of them make of it.

Pure: times and bytes are given.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from learnae.basics.light_numpy import quantile
from learnae.errors import StateError
from learnae.ipld import dagcbor
from learnae.ipld.cid import Cid
from learnae.ipld.fields import Fields
from learnae.protocol.bodies import AUTHOR_BYTES, MOST_RATED, MOST_USEFULNESS, Contributions
from learnae.protocol.identity import PUBLIC_KEY_BYTES
from learnae.protocol.limits import Limits

LEAST_MEASURED = 4  # times: one is chance
MOST_HEARD = 1024  # raters, as many as there are authors
_VERSION = 1
_LEAST_KEPT = 0.5  # of what was measured before: a pause, or a clock that leaps, takes no more
_USUAL = 1.0
_FADES = 4  # a horizon: what was measured a part of it ago counts half


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured of one author, fading: the sum of its gains, and of what was usual then; last at ``time``.

    ``count`` times; times are Unix ms.
    """

    gain: float = 0.0
    usual: float = 0.0
    count: int = 0
    time: int = 0

    def then(self, gain: float, usual: float, now: int, half_life: int) -> Measured:
        """Return this with one more gain; what is a ``half_life`` (ms) old counts half."""
        kept = max(_LEAST_KEPT, 0.5 ** (max(0, now - self.time) / half_life)) if self.count else 0.0
        return Measured(kept * self.gain + gain, kept * self.usual + usual, self.count + 1, now)

    @property
    def percent(self) -> int | None:
        """Return the usefulness as in a statement; None where nothing was to be gained, or it was measured too seldom.

        >>> Measured(0.03, 0.02, 9).percent
        150
        """
        if self.count < LEAST_MEASURED or not self.usual > 0:
            return None
        return round(max(-MOST_USEFULNESS, min(100 * self.gain / self.usual, MOST_USEFULNESS)))


@dataclass(frozen=True, slots=True)
class Score:
    """What ``raters`` of a peer's usefulness make of it together: 1 is usual, 0 nothing, less than 0 harm.

    The middle half of them lies between ``low`` and ``high``; ``own`` is what this peer has measured itself.
    """

    usefulness: float
    raters: int
    low: float
    high: float
    own: float | None


@dataclass(eq=False)
class ContributionBook:
    """What the peer ``me`` knows of contributions, in a swarm with this ``horizon`` (ms).

    ``heard`` is what others have said last, and when, as they date it; the ``raters`` among them have a voice.
    ``began`` is when this peer first measured, ``said`` when it last published that; None for never. Times are Unix ms.
    """

    swarm: Cid
    me: bytes
    horizon: int
    measured: dict[bytes, Measured] = field(default_factory=dict)
    heard: dict[bytes, tuple[int, Contributions]] = field(default_factory=dict)
    raters: tuple[bytes, ...] = ()
    began: int | None = None
    said: int | None = None

    def note_gains(self, gains: Mapping[bytes, float], now: int) -> None:
        """Take in what was measured at ``now`` (Unix ms) of some authors; of too many, the one longest ago goes."""
        usual = sum(max(gain, 0.0) for gain in gains.values()) / len(gains)
        self.began = now if self.began is None else self.began
        for author, gain in gains.items():
            before = self.measured.pop(author, Measured())
            self.measured[author] = before.then(gain, usual, now, max(1, self.horizon // _FADES))
        while len(self.measured) > MOST_RATED:
            del self.measured[next(iter(self.measured))]

    def statement(self) -> Contributions | None:
        """Return what this peer has to say; None if it is nothing."""
        said = self._by_name(self.measured)
        percents = {
            name: found for name, author in said.items() if (found := self.measured[author].percent) is not None
        }
        names = sorted(percents)
        return Contributions(tuple(names), tuple(percents[name] for name in names)) if names else None

    def hear(self, rater: bytes, time: int, said: Contributions) -> bool:
        """Take in what another author said at ``time`` (Unix ms); return True if it is news.

        Of too many, what was said longest ago goes; of raters, last.
        """
        known = self.heard.get(rater)
        if rater == self.me or (known is not None and known[0] >= time):
            return False
        self.heard[rater] = (time, said)
        if len(self.heard) > MOST_HEARD:
            raters = set(self.raters)
            del self.heard[min(self.heard, key=lambda each: (each in raters, self.heard[each][0]))]
        return True

    def admit(self, raters: Iterable[bytes]) -> bool:
        """Give exactly these authors a voice; return True if others had one before."""
        before, self.raters = self.raters, tuple(rater for rater in raters if rater != self.me)
        return before != self.raters

    def scores(self, authors: Iterable[bytes]) -> dict[bytes, Score]:
        """Return by author what the raters and this peer make of its contribution: of ``authors`` alone.

        Each has one voice, none for itself, and the middle one counts: of an even number, what is nearest to the usual
        between the two middle ones. So fewer than half who lie move no score beyond what the others say. What is a
        horizon older than the newest does not count.
        """
        said_by = {rater: self.heard[rater] for rater in self.raters if rater in self.heard}
        oldest = max((time for time, _ in said_by.values()), default=0) - self.horizon
        voices = {rater: said.by_peer for rater, (time, said) in said_by.items() if time >= oldest}
        own = self.statement()
        if own:
            voices[self.me] = own.by_peer
        found = {}
        for name, author in self._by_name(authors).items():
            said = sorted(voice[name] / 100 for rater, voice in voices.items() if rater != author and name in voice)
            if said:
                mine = voices.get(self.me, {}).get(name) if author != self.me else None
                found[author] = Score(
                    _middle(said),
                    len(said),
                    quantile(said, 0.25),
                    quantile(said, 0.75),
                    mine / 100 if mine is not None else None,
                )
        return found

    def _by_name(self, authors: Iterable[bytes]) -> dict[bytes, bytes]:
        """Return the authors by their names in statements; without those whose keys begin alike."""
        found: dict[bytes, list[bytes]] = {}
        for author in authors:
            found.setdefault(author[:AUTHOR_BYTES], []).append(author)
        return {name: alike[0] for name, alike in found.items() if len(alike) == 1}

    def to_bytes(self) -> bytes:
        """Return dag-cbor: of others, what those say who have a voice."""
        raters = set(self.raters)
        measured = [[author, *_fields(each)] for author, each in self.measured.items()]
        heard = [[rater, time, said.to_fields()] for rater, (time, said) in self.heard.items() if rater in raters]
        about = {"swarm": self.swarm, "me": self.me, "began": self.began, "said": self.said}
        return dagcbor.encode({"v": _VERSION, **about, "measured": measured, "heard": heard})

    @classmethod
    def from_bytes(cls, data: bytes, limits: Limits) -> ContributionBook:
        """Read what ``to_bytes`` wrote; raises LearnaeError."""
        fields = Fields(dagcbor.decode(data), "contributions", StateError)
        if fields.integer("v") != _VERSION:
            raise StateError(f"contributions of version {fields.integer('v')}", "use the learnae that wrote them")
        book = cls(fields.link("swarm"), fields.octets("me", PUBLIC_KEY_BYTES), limits.horizon)
        book.began, book.said = _time(fields, "began"), _time(fields, "said")
        for row in _rows(fields, "measured", MOST_RATED, 5):
            numbers = (row.number("1"), row.number("2", 0), row.integer("3", 1), row.integer("4"))
            book.measured[row.octets("0", PUBLIC_KEY_BYTES)] = Measured(*numbers)
        for row in _rows(fields, "heard", MOST_HEARD, 3):
            said = Contributions.from_fields(row.fields("2"), limits)
            book.heard[row.octets("0", PUBLIC_KEY_BYTES)] = (row.integer("1"), said)
        book.raters = tuple(book.heard)
        return book


def _middle(ordered: list[float]) -> float:
    low, high = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    return max(low, min(_USUAL, high))


def _fields(each: Measured) -> tuple[float, float, int, int]:
    return each.gain, each.usual, each.count, each.time


def _time(fields: Fields, name: str) -> int | None:
    return None if fields.value(name) is None else fields.integer(name)


def _rows(fields: Fields, name: str, most: int, columns: int) -> list[Fields]:
    rows: Any = fields.value(name)
    if not isinstance(rows, list) or len(rows) > most:
        raise fields.error(name, f"{len(rows)} rows" if isinstance(rows, list) else rows, f"at most {most} rows")
    for row in rows:
        if not isinstance(row, list) or len(row) != columns:
            raise fields.error(name, row, f"rows of {columns}")
    return [
        Fields({str(place): value for place, value in enumerate(row)}, f"contributions.{name}", StateError)
        for row in rows
    ]
