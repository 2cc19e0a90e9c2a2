"""What others have named and is not here: booked on who named it, bounded, looked for in turn, and given up. Pure."""

from collections import deque
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass, field

from learnae.errors import EncodingError
from learnae.ipld.cid import Cid
from learnae.protocol.announcements import Entry
from learnae.protocol.identity import author_of_name, peer_name

Bringer = str | bytes  # an announcer by its name, or an author by its key

_MOST_BRINGERS = 1024
_MOST_EACH = 160  # names of one bringer: all of one announcement, and some that it named before
_FRESH_MS = 10_000  # a name is looked for at each turn; what is there comes sooner
_COMING_MS = 60_000  # in which what was asked for may come, though its announcer has named another since
GIVEN_UP_MS = 600_000
_SELDOM = 8  # after that, a name is looked for when it has become older by this part


@dataclass(slots=True)
class Claim:
    """A name that one bringer has given: in an ``entry``, as kept for ever, or as needed by what it has brought.

    It was first given at ``since``, is looked for when it is ``due``, and means nothing after ``until``; all of the own
    uptime, in ms.
    """

    entry: Entry | None
    since: int
    due: int
    until: int
    is_asked: bool = False
    needed: int | None = None  # when it was said last that something needs it

    def looked_for(self, now: int) -> None:
        """Note that it was looked for, and asked for: at each turn at first, ever more seldom later."""
        age = now - self.since
        self.is_asked, self.due = True, now if age < _FRESH_MS else now + age // _SELDOM


@dataclass(slots=True)
class _Voice:
    """What one bringer names now, and of whom it is the key."""

    author: bytes | None
    names: dict[Cid, Claim] = field(default_factory=dict)
    heads: dict[bytes, Sequence[Cid]] = field(default_factory=dict)  # by author: what it names now


class Hearsay:
    """Holds at most ``most`` names of all bringers; the one with most loses its last ones first.

    >>> from learnae.ipld.cid import DAG_CBOR
    >>> flood, true = ([Cid.of(DAG_CBOR, b"%d" % n) for n in range(start, start + 9)] for start in (0, 9))
    >>> hearsay = Hearsay(most=4096)
    >>> for cid in flood:
    ...     hearsay.need("stranger", cid, now=0)
    >>> hearsay.need("friend", true[0], now=0)
    >>> looked_for = [cid for _, _, cid, _ in hearsay.due(0, lambda _: False, lambda _: True)]
    >>> looked_for[:2] == [flood[0], true[0]]
    True
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._count = 0
        self._voices: dict[Bringer, _Voice] = {}
        self._given_up: dict[Cid, None] = {}

    def __len__(self) -> int:
        return self._count

    def note(self, announcer: str, entry: Entry, names: Sequence[Cid], now: int) -> None:
        """Take what an announcer says of an author, of which ``names`` are wanted, in place of what it said before."""
        known = self._voices.get(announcer)
        if not names and (known is None or entry.author not in known.heads):
            return
        voice = self._voice(announcer)
        for cid in voice.heads.pop(entry.author, ()):
            claim = voice.names.get(cid)
            if claim is None or cid in names:
                continue
            if claim.is_asked:
                claim.until = min(claim.until, now + _COMING_MS)
            else:
                self._drop(voice, cid)
        if names:
            voice.heads[entry.author] = names
            if len(voice.heads) > _MOST_EACH:
                del voice.heads[next(iter(voice.heads))]
        for cid in names:
            self._add(voice, cid, entry, now, now + GIVEN_UP_MS)

    def keep(self, announcer: str, cid: Cid, now: int) -> None:
        """Take the name of a message that an announcer keeps for ever."""
        self._add(self._voice(announcer), cid, None, now, now + GIVEN_UP_MS)

    def need(self, bringer: Bringer, cid: Cid, now: int) -> None:
        """Take the name of what something needs that ``bringer`` has brought; said again at each turn."""
        voice = self._voice(bringer)
        self._add(voice, cid, None, now, now)
        if cid in voice.names:
            voice.names[cid].needed = now

    def expect(self, bringer: Bringer, cid: Cid, now: int) -> None:
        """Note that a name was asked for: it may come for a while, needed or not."""
        voice = self._voice(bringer)
        self._add(voice, cid, None, now, now)
        if (claim := voice.names.get(cid)) is not None:
            claim.is_asked, claim.until = True, max(claim.until, claim.since + _COMING_MS)

    def drop(self, cid: Cid) -> None:
        """Forget a name, whoever gave it."""
        for voice in self._voices.values():
            self._drop(voice, cid)

    def forget(self, bringer: Bringer, cid: Cid) -> None:
        """Forget a name that a bringer has given: it is wanted no more."""
        if bringer in self._voices:
            self._drop(self._voices[bringer], cid)

    def take_given_up(self) -> list[Cid]:
        """Return the names of what did not come in time, since the last call."""
        given_up, self._given_up = list(self._given_up), {}
        return given_up

    def due(
        self,
        now: int,
        is_known: Callable[[bytes], bool],
        has_room: Callable[[bool], bool],
        here: Container[Cid] = (),
    ) -> Iterator[tuple[Bringer, bool, Cid, Claim]]:
        """Yield what is to be looked for now, and whether its bringer is known.

        That is a name of each bringer in turn, of a known one and of a stranger by turns. ``has_room`` says whether
        more of known bringers (True), or of strangers, can be dealt with. Names that are ``here`` are forgotten, unless
        something still needs them.
        """
        queues: dict[bool, deque[tuple[Bringer, Iterator[tuple[Cid, Claim]]]]] = {True: deque(), False: deque()}
        for bringer, voice in list(self._voices.items()):
            if voice.names:
                known = bringer == "" or (voice.author is not None and is_known(voice.author))
                queues[known].append((bringer, self._due_of(voice, now, here)))
            else:
                del self._voices[bringer]
        while queues[True] or queues[False]:
            for known, queue in queues.items():
                if not has_room(known):
                    queue.clear()
                if not queue:
                    continue
                bringer, names = queue.popleft()
                found = next(names, None)
                if found is None:
                    continue
                self._voices[bringer] = self._voices.pop(bringer)  # last in turn at the next call
                queue.append((bringer, names))
                yield bringer, known, *found

    def _due_of(self, voice: _Voice, now: int, here: Container[Cid]) -> Iterator[tuple[Cid, Claim]]:
        for cid, claim in list(voice.names.items()):
            if voice.names.get(cid) is not claim:
                continue
            if cid in here and claim.needed != now:  # as most are, soon after they were named
                self._drop(voice, cid)
                continue
            is_late = now - claim.since > GIVEN_UP_MS
            if now > claim.until or is_late:
                self._drop(voice, cid)
                if is_late:
                    self._given_up[cid] = None
            elif now >= claim.due:
                yield cid, claim

    def _voice(self, bringer: Bringer) -> _Voice:
        voice = self._voices.get(bringer)
        if voice is None:
            if len(self._voices) >= _MOST_BRINGERS:
                self._count -= len(self._voices.pop(next(iter(self._voices))).names)
            voice = self._voices[bringer] = _Voice(author_of_bringer(bringer))
        return voice

    def _add(self, voice: _Voice, cid: Cid, entry: Entry | None, now: int, until: int) -> None:
        claim = voice.names.get(cid)
        if claim is not None:
            claim.entry, claim.until = entry or claim.entry, max(claim.until, until)
            return
        voice.names[cid] = Claim(entry, now, now, until)
        self._count += 1
        if len(voice.names) > _MOST_EACH:
            self._drop(voice, next(iter(voice.names)))
        while self._count > self._most:
            largest = max(self._voices.values(), key=lambda each: len(each.names))
            for last in list(largest.names)[len(largest.names) // 2 :]:
                self._drop(largest, last)

    def _drop(self, voice: _Voice, cid: Cid) -> None:
        if voice.names.pop(cid, None) is not None:
            self._count -= 1


def author_of_bringer(bringer: Bringer) -> bytes | None:
    """Return the key of a bringer; None for a name that is none."""
    try:
        return author_of_name(bringer) if isinstance(bringer, str) else bringer
    except EncodingError:
        return None


def name_of(bringer: Bringer) -> str:
    """Return how transports know a bringer."""
    return bringer if isinstance(bringer, str) else peer_name(bringer)
