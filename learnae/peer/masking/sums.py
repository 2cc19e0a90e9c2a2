"""A member's part in masked sums: what it says next, given what it has heard. Pure but for its randomness.

Three messages: *ready* with a key for one sum; the *masked* vector, for a list of members that are ready (who says the
first one has chosen them); *open*, once the vectors of all are here. What is missing for PHASE_MS makes the sum dead:
it is never opened any more, and all begin anew, with whom is ready then. A vector that was opened is out: it is said
again for the same members only, where some have not opened; other members get a new one, with new noise, a horizon
later, if its owner's budget has one more.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from learnae.basics.bounded_dict import BoundedDict
from learnae.basics.error_log import ErrorLog
from learnae.errors import MaskError, NotWrittenError, SealError
from learnae.ipld.cid import Cid
from learnae.peer.masking.heard import Heard, Sum
from learnae.peer.masking.standing import MOST_TOLD, MOST_TOTALS, Answer, Standing, Total
from learnae.privacy.masking.masks import Group, masked, public_of
from learnae.privacy.masking.noise_share import Integers, conspirators
from learnae.protocol.limits import MINUTE
from learnae.protocol.messages import Message
from learnae.protocol.sum_bodies import (
    LEAST_MEMBERS,
    SEED_BYTES,
    SUM_KEY_BYTES,
    MaskedVector,
    MaskOpen,
    MaskReady,
    SumBody,
)

PHASE_MS = 5 * MINUTE  # for all vectors, and then for all seeds
GATHER_MS = 30_000  # from who was ready last until the members are chosen
TURN_MS = 10_000  # in which others hear that a member has chosen, before the next one does
BEST_MEMBERS = 8  # where more are ready: of larger groups more is lost when one falls silent
_READY_MS = 60 * MINUTE  # for which a member counts as ready; it says so again after half of it
_MOST_ANSWERS = 3  # vectors for one key: several members may choose at the same time
_PATIENCE = 4  # sums in a row that may come to nothing before there is a pause
_MOST_PAUSE = 12  # times PHASE_MS
_SILENCES = 3  # in sums, after which a member that says it is ready and then nothing is not chosen
_MOST_COLLECTED = 1024
_REPEATS = 3  # a horizon: of a sum that is done, for newcomers
_STEP_BACK_MS = MINUTE  # by which a clock may be set back

_log = logging.getLogger(__name__)


class Source(Protocol):
    """Gives the vectors that a member adds: each with its noise, and no more than ``most_releases`` are ever opened."""

    values: int
    most_releases: int

    def draw(self, members: int) -> Integers | None:
        """Return a vector (values,) with new noise for a sum of so many ``members``; None if there is none now."""


@dataclass(slots=True)
class _Silence:
    times: int = 0
    until: int = 0


class MaskedSums:
    """Takes part in a swarm's sums of so many ``values`` in the name of ``me``.

    While ``source`` gives none, it only reads totals.

    ``random`` gives so many secret bytes. ``act`` says at most one message.
    """

    def __init__(
        self,
        me: bytes,
        swarm: Cid,
        values: int,
        horizon: int,
        source: Callable[[int], Source | None],
        errors: ErrorLog,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.standing = Standing()
        self.heard = Heard(swarm, values)
        self._me = me
        self._swarm = swarm
        self._horizon = horizon
        self._source = source
        self._errors = errors
        self._random = random
        self._enough: int | None = None  # since when enough members have been ready
        self._taken: list[bytes] = []
        self._silences: dict[bytes, _Silence] = {}
        self._collected = BoundedDict[bytes, None](_MOST_COLLECTED)  # names of sums whose totals were taken

    def take_totals(self) -> list[Total] | None:
        """Return totals of different members, if there are others than at the last call: of the same the newest."""
        names = [total.name for total in self.standing.totals]
        if names == self._taken:
            return None
        self._taken, found, seen = names, list[Total](), set[bytes]()
        for total in reversed(self.standing.totals):
            if 2 * len(seen.intersection(total.authors)) <= len(total.authors):
                found.append(total)
                seen.update(total.authors)
        return found

    @property
    def totals(self) -> list[Total]:
        """Return the newest totals that are known, also of sums that this member has no part in; oldest first."""
        return self.standing.totals

    def status(self) -> dict[str, object]:
        """Return a plain map for people: how many vectors of this member are out, and what the newest totals are of."""
        standing = self.standing
        waits = len(standing.answers) or (standing.opened is not None and not standing.is_done)
        return {
            "state": "summing" if waits else "done" if standing.is_done else "ready" if standing.ready else "idle",
            "tries": standing.tries,
            "releases": standing.releases,
            "totals": [{"members": len(total.authors), "time": total.time} for total in standing.totals],
        }

    def restore(self, data: bytes, now: int) -> None:
        """Go on from a saved standing; raises StateError."""
        if data:
            self.standing = Standing.from_bytes(data, self._swarm)
            self._collected.update({each.name: None for each in self.standing.totals})
        for answer in self._said():
            self.heard.note(self._me, 0, answer.body, now)
            if answer.shown:
                self.heard.note(self._me, 0, MaskOpen(answer.group.name, answer.seed), now)

    # -- what was heard

    def take(self, messages: Iterable[Message], now: int) -> None:
        """Take in what attached messages say of sums, ``now`` in Unix milliseconds; what does not fit is counted."""
        for message in messages:
            if isinstance(message.body, (MaskReady, MaskedVector, MaskOpen)):
                self.note(message.author, message.seq, message.body, now)

    def note(self, author: bytes, seq: int, body: SumBody, now: int) -> None:
        """Take in one body; what does not fit is counted."""
        if author == self._me:
            self._note_own(body, now)
        try:
            self.heard.note(author, seq, body, now)
        except MaskError as error:
            self._errors.count(error)

    def _note_own(self, body: SumBody, now: int) -> None:
        """Learn from an own message what the state, restored from a backup, may not know: what is out stays out."""
        standing = self.standing
        if isinstance(body, MaskOpen) and body.name not in standing.told:
            self._tell(body.name)
            standing.answers, standing.private, standing.opened = [], b"", None
            standing.releases += 1
            standing.is_done, standing.opened_at = True, now
        elif isinstance(body, MaskedVector) and standing.private and self._key in body.keys:
            is_known = any(answer.vector == body.vector for answer in standing.answers)
            if not is_known:  # two vectors with one key would be seen to differ
                standing.answers, standing.private, standing.ready = [], b"", 0

    # -- what is said

    def act(self, now: int, members: Collection[bytes], checkpointed: int, say: Callable[[SumBody], object]) -> bool:
        """Say what is due, if anything, with ``say``, which saves this standing first; return True if it was said.

        ``checkpointed`` is when the own last checkpoint was published: what came before it is said again, as others may
        not have heard it. Raises NotWrittenError, MaskError.
        """
        self.heard.forget(members)
        self._collect(now)
        self._give_up(now, members)
        if self._me not in members:
            return False
        stamp = max(now, checkpointed + 1)
        if self._say_answer(now, stamp, checkpointed, say) or self._open(now, stamp, members, say):
            return True
        if self._answer(now, members):
            return self._say_answer(now, stamp, checkpointed, say)
        return self._be_ready(now, stamp, checkpointed, say)

    def _say_answer(self, now: int, stamp: int, checkpointed: int, say: Callable[[SumBody], object]) -> bool:
        """Say a vector or a seed that is not said yet, or was said before the own last checkpoint."""
        due: list[tuple[int, Answer, str, SumBody]] = []
        for answer in self._said():
            before = self._repeats_before(answer, now, checkpointed)
            if answer.said <= before:
                due.append((answer.said, answer, "said", answer.body))
            if answer is self.standing.opened and answer.shown <= before:
                due.append((answer.shown, answer, "shown", MaskOpen(answer.group.name, answer.seed)))
        if not due:
            return False
        _, answer, name, body = min(due, key=lambda each: each[0])  # those said longest ago first
        return self._mark(answer, name, stamp, body, say)

    def _repeats_before(self, answer: Answer, now: int, checkpointed: int) -> int:
        """Return the time of which what was said then, or before, is said again; below 0 for none."""
        if answer is not self.standing.opened or self._is_running(now, self.standing.opened_at):
            return checkpointed
        renewal = min(checkpointed, now - self._horizon // _REPEATS) if self.standing.is_done else -1
        asked = (ready.since for ready in self.heard.ready.values() if ready.body.bound == answer.group.authors)
        return max(renewal, max(asked, default=-1) if answer.shown else -1)

    def _mark(self, answer: Answer, name: str, stamp: int, body: SumBody, say: Callable[[SumBody], object]) -> bool:
        before = getattr(answer, name)
        setattr(answer, name, stamp)
        try:
            say(body)
        except NotWrittenError:
            setattr(answer, name, before)
            raise
        self.heard.note(self._me, 0, body, stamp)
        return True

    def _said(self) -> list[Answer]:
        opened = self.standing.opened
        return [*([opened] if opened else []), *self.standing.answers]

    # -- open

    def _open(self, now: int, stamp: int, members: Collection[bytes], say: Callable[[SumBody], object]) -> bool:
        """Open the sum all of whose vectors are here: from then on its vector is out. All others are dropped."""
        standing = self.standing
        ripe = [answer for answer in standing.answers if self._is_ripe(answer, now, members)]
        if not ripe:
            return False
        chosen = min(ripe, key=lambda answer: answer.group.name)
        standing.is_first = standing.opened is None
        standing.answers, standing.private, standing.ready = [], b"", 0
        standing.opened, standing.opened_at = chosen, now
        standing.releases += standing.is_first
        self._tell(chosen.group.name)
        return self._mark(chosen, "shown", stamp, MaskOpen(chosen.group.name, chosen.seed), say)

    def _is_ripe(self, answer: Answer, now: int, members: Collection[bytes]) -> bool:
        known = self.heard.sums.get(answer.group.name)
        is_whole = known is not None and known.is_masked and known.vectors[self._me] == answer.vector
        return is_whole and self._is_running(now, answer.at) and all(one in members for one in answer.group.authors)

    def _tell(self, name: bytes) -> None:
        self.standing.told = [*self.standing.told, name][-MOST_TOLD:]

    # -- answer

    def _answer(self, now: int, members: Collection[bytes]) -> bool:
        """Mask a vector for the members that another one has chosen, or that it is this one's turn to choose."""
        if not self.standing.private or not self.standing.ready or len(self.standing.answers) >= _MOST_ANSWERS:
            return False
        source = self._source(now)
        if source is None:
            return False
        heard = [known.group for known in self.heard.sums.values() if self._may_answer(known, now, members)]
        group = min(heard, key=lambda each: each.name, default=None)
        if group is None and not self.standing.answers:
            group = self._chosen(source, now, members)
        if group is None:
            return False
        opened = self.standing.opened
        addend = opened.addend if opened else source.draw(len(group.authors))
        if addend is None:
            return False
        seed = self._random(SEED_BYTES)
        try:
            vector = masked(group, self._me, self._private, seed, addend)
        except SealError as error:
            self.heard.sums.pop(group.name, None)
            raise MaskError("a masked sum with a key that shares no mask", "it is ignored") from error
        self.standing.answers.append(Answer(group, seed, addend, vector, now))
        self.standing.tries += 1
        self._enough = None
        return True

    def _may_answer(self, known: Sum, now: int, members: Collection[bytes]) -> bool:
        group, answers = known.group, self.standing.answers
        return (
            self._me in group.authors
            and group.keys[group.authors.index(self._me)] == self._key
            and all(author in members for author in group.authors)
            and self._bound in ((), group.authors)
            and self._is_running(now, known.since)
            and all(group.name < answer.group.name for answer in answers)
        )

    def _chosen(self, source: Source, now: int, members: Collection[bytes]) -> Group | None:
        """Return the sum of members that are ready, once it is this member's turn to choose them."""
        ready = self._fresh(source, now, members)
        authors = self._again(ready, now) or (() if self._bound else self._anew(ready, now))
        if len(authors) < LEAST_MEMBERS:
            self._enough = None
            return None
        self._enough = now if self._enough is None else self._enough
        newest = max(self.heard.ready[author].since for author in authors if author != self._me)
        gathered = min(newest + GATHER_MS, self._enough + 4 * GATHER_MS)
        if now < gathered + authors.index(self._me) * TURN_MS:
            return None
        return Group(self._swarm, source.values, authors, tuple(ready[author].key for author in authors))

    def _fresh(self, source: Source, now: int, members: Collection[bytes]) -> dict[bytes, MaskReady]:
        """Return which members are ready for a sum with this one."""
        found = {
            author: ready.body
            for author, ready in self.heard.ready.items()
            if author in members
            and now - ready.last < _READY_MS
            and not self.heard.is_taken(author, ready.body.key, now - PHASE_MS)
        }
        return {**found, self._me: MaskReady(self._key, source.values, self._bound)}

    def _again(self, ready: dict[bytes, MaskReady], now: int) -> tuple[bytes, ...]:
        """Return the members of a sum that some have opened, if all are ready for it again; else ()."""
        bounds = sorted({body.bound for body in ready.values() if self._me in body.bound})
        for bound in bounds:
            if not self._bound and any(self._is_silent(author, now) for author in bound):
                continue
            if self._bound in ((), bound) and all(one in ready and ready[one].bound in ((), bound) for one in bound):
                return bound
        return ()

    def _anew(self, ready: dict[bytes, MaskReady], now: int) -> tuple[bytes, ...]:
        """Return the group that this member is in, of all that are free."""
        free = [author for author, body in ready.items() if not body.bound and not self._is_silent(author, now)]
        return next((group for group in groups_of(sorted(free)) if self._me in group), ())

    # -- be ready

    def _be_ready(self, now: int, stamp: int, checkpointed: int, say: Callable[[SumBody], object]) -> bool:
        standing, source = self.standing, self._source(now)
        if source is None or standing.answers or now < standing.pause or not self._may_sum(source, now):
            return False
        if standing.private and standing.ready > checkpointed and now - standing.ready < _READY_MS // 2:
            return False
        if not standing.private:
            standing.private = self._random(SUM_KEY_BYTES)
        before, standing.ready = standing.ready, stamp
        try:
            say(MaskReady(self._key, source.values, self._bound))
        except NotWrittenError:
            standing.ready = before
            raise
        return True

    def _may_sum(self, source: Source, now: int) -> bool:
        """Return True if there is something to sum: nothing is out yet, or it is to be said again, or one more is."""
        standing = self.standing
        self._take_back(now)
        is_over = standing.is_done or standing.opened is not None
        if is_over and standing.releases < source.most_releases and now - standing.opened_at >= self._horizon:
            standing.opened, standing.is_done, standing.private, standing.ready = None, False, b"", 0
            is_over = False
        if not is_over:
            return standing.releases < source.most_releases
        return not standing.is_done and not self._is_running(now, standing.opened_at)

    def _take_back(self, now: int) -> None:
        """Forget an opened sum that more members than may conspire have given up: an honest one of these, too.

        That one has forgotten key and seed: the total can never be seen, and this member's vector, under a mask that it
        shared with that one, is not out.
        """
        standing, opened = self.standing, self.standing.opened
        if opened is None or standing.is_done or not standing.is_first or self._is_running(now, standing.opened_at):
            return
        known = self.heard.sums.get(opened.group.name)
        told = known.seeds if known else {}
        authors = opened.group.authors
        ready = {author: self.heard.ready[author] for author in authors if author in self.heard.ready}
        given_up = [
            author
            for author, each in ready.items()
            if each.body.key not in opened.group.keys
            and not each.body.bound
            and author not in told
            and each.since > standing.opened_at
        ]
        if len(given_up) > conspirators(len(authors)):
            standing.opened, standing.private, standing.ready = None, b"", 0
            standing.releases -= 1
            standing.failures += 1

    # -- how sums end

    def _collect(self, now: int) -> None:
        """Take totals of what is open."""
        for name, each in self.heard.sums.items():
            if not each.is_open or name in self._collected:
                continue
            self._collected[name] = None
            self.standing.totals = [*self.standing.totals, Total(name, each.group.authors, now, each.total())]
            self.standing.totals = self.standing.totals[-MOST_TOTALS:]
            for author in each.group.authors:
                self._silences.pop(author, None)
            opened = self.standing.opened
            if opened is not None and opened.group.name == name:
                _log.info("a masked sum of %d members is done", len(each.group.authors))
                self.standing.is_done, self.standing.failures = True, 0
                self.standing.answers, self.standing.private = [], b""

    def _give_up(self, now: int, members: Collection[bytes]) -> None:
        """Drop what is dead, with its secrets: it can never be opened."""
        standing = self.standing
        dead = [answer for answer in standing.answers if not self._is_running(now, answer.at)]
        if not dead:
            return
        standing.answers = [answer for answer in standing.answers if answer not in dead]
        for answer in dead:
            known = self.heard.sums.get(answer.group.name)
            silent = set(members).intersection(answer.group.authors) - known.vectors.keys() if known else ()
            for author in silent:
                self._silences.setdefault(author, _Silence()).times += 1
                self._silences[author].until = now + PHASE_MS * 2 ** min(self._silences[author].times, 8)
        if not standing.answers:
            standing.private, standing.ready = b"", 0
            standing.failures += 1
            standing.pause = now + PHASE_MS * max(0, min(standing.failures - _PATIENCE, _MOST_PAUSE))

    def _is_silent(self, author: bytes, now: int) -> bool:
        silence = self._silences.get(author)
        return silence is not None and silence.times >= _SILENCES and now < silence.until

    @staticmethod
    def _is_running(now: int, since: int) -> bool:
        return -_STEP_BACK_MS <= now - since < PHASE_MS

    # -- the own keys

    @property
    def _private(self) -> X25519PrivateKey:
        return X25519PrivateKey.from_private_bytes(self.standing.private)

    @property
    def _key(self) -> bytes:
        return public_of(self._private)

    @property
    def _bound(self) -> tuple[bytes, ...]:
        opened = self.standing.opened
        return opened.group.authors if opened else ()


def groups_of(authors: list[bytes]) -> list[tuple[bytes, ...]]:
    """Split those who are ready into groups of BEST_MEMBERS; the last one has up to four more, so that none is small.

    >>> [len(group) for group in groups_of([b""] * 21)]
    [8, 8, 5]
    """
    groups = []
    while len(authors) >= BEST_MEMBERS + LEAST_MEMBERS:
        groups.append(tuple(authors[:BEST_MEMBERS]))
        authors = authors[BEST_MEMBERS:]
    return [*groups, tuple(authors)] if len(authors) >= LEAST_MEMBERS else groups
