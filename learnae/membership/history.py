"""A set of membership records with the past of each, and the rules that say what counts in it. Pure.

What a record means in its own past never changes, as its past is in its bytes: it is worked out once, when the record
is added. What follows from a whole set is worked out anew for each set. "Before" means: is in the past of.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from learnae.basics.bounded_dict import BoundedDict
from learnae.errors import MembershipError
from learnae.ipld.cid import Cid
from learnae.membership.policy import INVITE, MembershipPolicy
from learnae.membership.records import (
    REMOVE,
    Invite,
    Join,
    Leave,
    Record,
    Rekey,
    Uninvite,
    Vote,
    Welcome,
    is_proven,
)
from learnae.membership.settling import Claim, Peers, Settling, Standing, Voice, Voices
from learnae.protocol.identity import peer_name

_MAX_STANDINGS = 64  # remembered sets: a new record's past is mostly that of the one before
_NOTHING_UNDONE = Standing()


class History:
    """A set of records that only grows, each written by one who was a member in its past; joins by others, too.

    Sets of records are integers: bit i is the i-th record that was added.
    """

    def __init__(self, policy: MembershipPolicy) -> None:
        self._policy = policy
        self.founders = frozenset(founder.key for founder in policy.founders)
        self._index: dict[Cid, int] = {}
        self._records: list[Record] = []
        self._past: list[int] = []
        self._out: list[Peers] = []  # in each record's past
        self._removals = 0
        self._answers = 0  # votes to admit a peer that was removed in their past
        self._joins = self._invites = self._rekeys = 0
        self._valid = 0  # welcomes that were right in their past
        self._voices: dict[int, Voice] = {}
        self._operations = defaultdict[bytes, int](int)  # of each author: all that a removal can undo
        self._admits = defaultdict[bytes, int](int)  # by the peer that is voted on
        self._welcomes = defaultdict[bytes, int](int)  # valid ones, by the peer that they let in
        self._welcomes_by_invite = defaultdict[Cid, int](int)
        self._uninvites = defaultdict[Cid, int](int)
        self._by_author = defaultdict[bytes, int](int)
        self._known_by = defaultdict[int, int](int)  # records that follow a voice, its voter being in
        self._standings = BoundedDict[tuple[int, ...], Standing](_MAX_STANDINGS)
        self._settled = BoundedDict[int, Standing](_MAX_STANDINGS)
        self._said = BoundedDict[Peers, int](_MAX_STANDINGS)
        self._challenges = BoundedDict[tuple[int, int], list[Voice]](_MAX_STANDINGS)

    def __contains__(self, cid: object) -> bool:
        return cid in self._index

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[Record]:
        return iter(self._records)

    def since(self, count: int) -> list[Record]:
        """Return all records but for the first ``count`` that were added."""
        return self._records[count:]

    def get(self, cid: Cid) -> Record | None:
        """Return the record of that name; None if it is not here."""
        index = self._index.get(cid)
        return None if index is None else self._records[index]

    def add_all(self, records: Iterable[Record]) -> None:
        """Add the records whose past is here or among them, in whatever order they are given, but for false ones."""
        waiting = {record.cid: record for record in records if record.cid not in self._index}
        children = defaultdict[Cid, list[Record]](list)
        lacking = {}
        for record in waiting.values():
            needs = {cid for cid in record.needs if cid not in self._index}
            lacking[record.cid] = len(needs)
            for cid in needs:
                children[cid].append(record)
        ready = [record for record in waiting.values() if not lacking[record.cid]]
        while ready:
            record = ready.pop()
            with contextlib.suppress(MembershipError):
                self.add(record)
                for child in children[record.cid]:
                    lacking[child.cid] -= 1
                    if not lacking[child.cid]:
                        ready.append(child)

    def add(self, record: Record) -> None:
        """Add a record whose past is here; raises MembershipError for one that its author may not write."""
        if record.cid in self._index:
            return
        past = self._closure(record.needs)
        standing = self._standing_in(past)
        self._check(record, past, standing)
        index, bit = len(self._records), 1 << len(self._records)
        self._index[record.cid] = index
        self._records.append(record)
        self._past.append(past)
        self._out.append(standing.out)
        if isinstance(record.body, Join):
            self._joins |= bit
            return
        self._said.clear()
        self._by_author[record.author] |= bit
        for voice in map(self._voices.__getitem__, _bits(past & self._removals)):
            if voice.voter not in standing.out:
                self._known_by[voice.index] |= bit
        self._note(index, record, past, standing)

    def check(self, record: Record, needs: Iterable[Cid]) -> None:
        """Raise MembershipError for a record that its author may not write, standing on ``needs``, which are here.

        It is false for ever, as its past is in its bytes, and so is all that stands on it.
        """
        past = self._closure(needs)
        self._check(record, past, self._standing_in(past))

    def _check(self, record: Record, past: int, standing: Standing) -> None:
        body = record.body
        if isinstance(body, Join):
            if self._policy.kind == INVITE and self.invite_of(record) is None:
                raise MembershipError(f"join {record.cid.short} proves no invite", "ask a member for an invite")
            if self._policy.kind != INVITE and body.via is not None:
                problem = f"join {record.cid.short} names an invite"
                raise MembershipError(problem, "members vouch for others in this swarm")
        elif not self._is_member(record.author, past, standing):
            peer, kind = peer_name(record.author)[:8], body.to_fields()["kind"]
            raise MembershipError(f"{peer} was no member when it wrote a record of kind {kind}", "it is ignored")

    def _note(self, index: int, record: Record, past: int, standing: Standing) -> None:
        """Keep what the record of a member says, by the kind of its body."""
        body, bit = record.body, 1 << index
        if isinstance(body, Leave) or (isinstance(body, Vote) and body.choice == REMOVE):
            target = body.peer if isinstance(body, Vote) else record.author
            if self._was_admitted(target, past):
                self._voices[index] = Voice(index, record.author, target, isinstance(body, Leave))
                self._removals |= bit
            return
        self._operations[record.author] |= bit
        if isinstance(body, Vote):
            self._admits[body.peer] |= bit
            self._answers |= bit if body.peer in standing.removed else 0
        elif isinstance(body, Invite):
            self._invites |= bit
        elif isinstance(body, Uninvite):
            self._uninvites[body.invite] |= bit
        elif isinstance(body, Rekey):
            self._rekeys |= bit
        elif isinstance(body, Welcome) and self._is_right(self._named(body.join), record.time, past, standing):
            join = self._named(body.join)
            self._valid |= bit
            self._welcomes[join.author] |= bit
            if isinstance(join.body, Join) and join.body.via is not None:
                self._welcomes_by_invite[join.body.via] |= bit

    # -- what others ask

    def knows(self, peer: bytes) -> bool:
        """Return True if the peer was ever let in, whatever became of it."""
        return peer in self.founders or peer in self._welcomes

    def is_before(self, first: Cid, second: Cid) -> bool:
        """Return True if the first record is in the past of the second."""
        return bool(self._past[self._index[second]] >> self._index[first] & 1)

    def standing(self) -> Standing:
        """Return what is undone in the whole set."""
        return self._standing_in(self._all)

    def rekeys(self) -> list[Record]:
        """Return the rekeys that count."""
        return self._select(self._rekeys & ~self.standing().void)

    def welcomes(self, peer: bytes | None = None) -> list[Record]:
        """Return the welcomes that count: of ``peer``, or all."""
        welcomes = self._valid if peer is None else self._welcomes.get(peer, 0)
        return self._select(welcomes & ~self.standing().void)

    def invites(self) -> Iterator[tuple[Record, int]]:
        """Return each invite that counts, with the uses that are left."""
        standing = self.standing()
        known = self._all & ~standing.void
        for record in self._select(self._invites & known):
            yield record, self._uses_left(record.cid, known, standing.out)

    def joins(self) -> list[Record]:
        """Return all requests to come in."""
        return self._select(self._joins)

    def would_count(self, join: Record, time: int) -> bool:
        """Return True if a member's welcome of this join would count now, dated ``time`` (Unix ms)."""
        return self._is_right(join, time, self._all, self.standing())

    def is_awaited(self, join: Record) -> bool:
        """Return True if a welcome of this join would count now, but for its date and for votes."""
        standing = self.standing()
        return self._may_come_in(join, self._all, standing) and (
            self._policy.kind != INVITE or self._has_open_invite(join, self._all & ~standing.void, standing.out)
        )

    def invite_of(self, join: Record) -> Invite | None:
        """Return the invite that the join proves to hold; None if it proves nothing, or none is here."""
        body = join.body
        if not isinstance(body, Join) or body.via is None or body.proof is None:
            return None
        invite = self.get(body.via)
        if invite is None or not isinstance(invite.body, Invite):
            return None
        return invite.body if is_proven(invite.body.key, join.swarm, join.author, body.proof) else None

    # -- facts about one record's past

    @property
    def _all(self) -> int:
        return (1 << len(self._records)) - 1

    def _named(self, cid: Cid) -> Record:
        return self._records[self._index[cid]]

    def _select(self, mask: int) -> list[Record]:
        return [self._records[index] for index in _bits(mask)]

    def _authors(self, mask: int) -> set[bytes]:
        return {self._records[index].author for index in _bits(mask)}

    def _closure(self, cids: Iterable[Cid]) -> int:
        past = 0
        for cid in cids:
            index = self._index[cid]
            past |= self._past[index] | 1 << index
        return past

    def _was_admitted(self, peer: bytes, known: int) -> bool:
        return peer in self.founders or bool(self._welcomes.get(peer, 0) & known)

    def _is_member(self, peer: bytes, known: int, standing: Standing) -> bool:
        return peer not in standing.out and self._was_admitted(peer, known)

    def _is_right(self, join: Record, time: int, past: int, standing: Standing) -> bool:
        """Return True if a welcome dated ``time`` keeps to the rules, as far as its author can know."""
        if not self._may_come_in(join, past, standing):
            return False
        known = past & ~standing.void
        if self._policy.kind != INVITE:
            return len(self._vouchers(join, known) - standing.out) >= self._policy.votes
        invite = self.invite_of(join)
        return invite is not None and time <= invite.expires and self._has_open_invite(join, known, standing.out)

    def _may_come_in(self, join: Record, known: int, standing: Standing) -> bool:
        """Return True for a join of the swarm's kind of one that is neither in nor removed."""
        if not isinstance(join.body, Join) or join.author in standing.removed:
            return False
        has_form = (join.body.via is None) == (self._policy.kind != INVITE)
        return has_form and not self._is_member(join.author, known, standing)

    def _has_open_invite(self, join: Record, known: int, out: Peers) -> bool:
        """Return True if the invite counts, was not taken back, and has a use left."""
        assert isinstance(join.body, Join)
        via = join.body.via
        if via is None or not known & self._invites & 1 << self._index[via]:
            return False
        return self._uses_left(via, known, out) > 0

    def _uses_left(self, cid: Cid, known: int, out: Peers) -> int:
        """Return how many an invite still lets in; 0 if it was taken back."""
        invite = self._named(cid)
        assert isinstance(invite.body, Invite)
        revokers = self._authors(self._uninvites.get(cid, 0) & known)
        if invite.author in revokers or len(revokers - out) >= self._policy.votes:
            return 0
        joiners = {self._joiner(index) for index in _bits(self._welcomes_by_invite.get(cid, 0) & known)}
        return max(0, invite.body.uses - len(joiners))

    def _joiner(self, welcome: int) -> bytes:
        body = self._records[welcome].body
        assert isinstance(body, Welcome)
        return self._named(body.join).author

    def _vouchers(self, join: Record, known: int) -> set[bytes]:
        admits = self._select(self._admits.get(join.author, 0) & known)
        return {each.author for each in admits if isinstance(each.body, Vote) and each.body.join == join.cid}

    # -- what is undone in a set that holds the past of each of its records

    def _standing_in(self, known: int) -> Standing:
        """Return what is undone; mostly all voices count, and nothing is to be settled."""
        voices = self._challenges_in(known & self._removals, known & self._answers)
        if not voices:
            return _NOTHING_UNDONE
        standing = self._undone_by_all(voices, known)
        against = _by_target(voices)
        if all(self._still_counts(voice, known, standing, against) for voice in voices):
            return standing
        if known not in self._settled:
            self._settled[known] = self._settle(voices, known)
        return self._settled[known]

    def _settle(self, voices: Sequence[Voice], known: int) -> Standing:
        def counting(assumed: Voices) -> Voices:
            standing, against = self._undo(assumed, known), _by_target(assumed)
            return frozenset(voice for voice in voices if self._still_counts(voice, known, standing, against))

        def claim(voice: Voice) -> Claim:
            seen_by = frozenset(self._authors(self._known_by[voice.index] & known))
            return Claim(self._everyone(self._past[voice.index]), seen_by)

        settling = Settling(voices, counting, lambda counted: self._undo(counted, known).removed, claim)
        return self._undo(settling.result(), known)

    def _still_counts(
        self, voice: Voice, known: int, standing: Standing, against: Mapping[bytes, Sequence[Voice]]
    ) -> bool:
        """Return True if a voice counts where ``standing`` follows from the voices ``against``."""
        if voice.alone or voice.voter not in standing.out or self._is_kept(voice.index, standing, against):
            return True
        witnesses = self._known_by[voice.index] & known
        if witnesses & ~self._said_by(standing.out):
            return True
        return any(self._is_kept(index, standing, against) for index in _bits(witnesses))

    def _is_kept(self, index: int, standing: Standing, against: Mapping[bytes, Sequence[Voice]]) -> bool:
        """Return True if the author of the record is in, or was removed by votes that knew the record."""
        author = self._records[index].author
        if author in standing.unfounded:
            return False
        return author not in standing.removed or not self._is_enough(self._lacking(index, against[author]))

    def _undone_by_all(self, voices: Sequence[Voice], known: int) -> Standing:
        """Return what follows if all voices count; remembered by what it depends on."""
        operations = 0
        for target in {voice.target for voice in voices}:
            operations |= self._operations.get(target, 0)
        key: tuple[int, ...] = (known & self._removals, known & self._answers, known & operations)
        if key in self._standings:
            return self._standings[key]
        if (known,) not in self._standings:
            standing = self._undo(voices, known)
            self._standings[(known,) if standing.void else key] = standing
            return standing
        return self._standings[known,]

    def _everyone(self, known: int) -> Peers:
        return self.founders | {peer for peer, mask in self._welcomes.items() if mask & known}

    def _said_by(self, peers: Peers) -> int:
        if peers not in self._said:
            said = 0
            for peer in peers:
                said |= self._by_author.get(peer, 0)
            self._said[peers] = said
        return self._said[peers]

    def _challenges_in(self, removals: int, answers: int) -> list[Voice]:
        """Return the voices against peers that enough of them would remove, but for those that are answered."""
        if not removals:
            return []
        if (removals, answers) not in self._challenges:
            voices = [self._voices[index] for index in _bits(removals)]
            answered = self._answered(voices, answers) if answers else set()
            against = _by_target(voice for voice in voices if voice not in answered)
            self._challenges[removals, answers] = [
                voice for each in against.values() if self._is_enough(each) for voice in each
            ]
        return self._challenges[removals, answers]

    def _is_enough(self, voices: Sequence[Voice]) -> bool:
        return any(voice.alone for voice in voices) or len({voice.voter for voice in voices}) >= self._policy.votes

    def _answered(self, voices: Sequence[Voice], answers: int) -> set[Voice]:
        """Return the voices that enough members have answered by votes to admit, knowing of the removal."""
        against = _by_target(voices)
        answered = set()
        for target, removal in against.items():
            admits = [
                index
                for index in _bits(answers & self._admits.get(target, 0))
                if not self._is_enough(self._lacking(index, against.get(self._records[index].author, ())))
            ]
            for voice in removal:
                after = {self._records[index].author for index in admits if self._past[index] >> voice.index & 1}
                if len(after) >= self._policy.votes:
                    answered.add(voice)
        return answered

    def _lacking(self, operation: int, voices: Iterable[Voice]) -> list[Voice]:
        """Return the voices whose past lacks the operation."""
        return [voice for voice in voices if not self._past[voice.index] >> operation & 1]

    def _undo(self, counting: Iterable[Voice], known: int) -> Standing:
        """Return what follows from the voices that count."""
        removals = {target: voices for target, voices in _by_target(counting).items() if self._is_enough(voices)}
        void = 0
        for target, voices in removals.items():
            for index in _bits(self._operations.get(target, 0) & known):
                if self._is_enough(self._lacking(index, voices)):
                    void |= 1 << index
        removed = frozenset(removals)
        if not void:
            return Standing(removed, out=removed)
        admitted, void = self._follow(known, void)
        unfounded = self._everyone(known) - admitted
        return Standing(removed, unfounded, removed | unfounded, void)

    def _follow(self, known: int, void: int) -> tuple[Peers, int]:
        """Return who is let in by what counts, and all that does not count: also what depends on what does not."""
        admitted = set(self.founders)
        welcomes, is_new = self._valid & known & ~void, True
        while is_new:
            is_new = False
            for index in _bits(welcomes):
                if self._is_founded(index, void, admitted):
                    admitted.add(self._joiner(index))
                    welcomes &= ~(1 << index)
                    is_new = True
        void |= welcomes
        for author, operations in self._operations.items():
            void |= 0 if author in admitted else operations & known
        return frozenset(admitted), void

    def _is_founded(self, welcome: int, void: int, admitted: set[bytes]) -> bool:
        record = self._records[welcome]
        assert isinstance(record.body, Welcome)
        join = self._named(record.body.join)
        if record.author not in admitted or not isinstance(join.body, Join):
            return False
        if join.body.via is None:
            return len(self._vouchers(join, self._past[welcome] & ~void) & admitted) >= self._policy.votes
        return not void >> self._index[join.body.via] & 1 and self._named(join.body.via).author in admitted


def _by_target(voices: Iterable[Voice]) -> dict[bytes, list[Voice]]:
    against = defaultdict[bytes, list[Voice]](list)
    for voice in voices:
        against[voice.target].append(voice)
    return dict(against)


def _bits(mask: int) -> Iterator[int]:
    """Return the positions of the ones, ascending."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low
