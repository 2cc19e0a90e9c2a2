"""Announcements in zero-value transactions: where they are, what they say, which of them count.

Time is cut into epochs, each with a tag of its own: nodes give at most about 1,000 transactions a tag,
and a peer that comes back later reads the epochs that it missed. docs/protocol.md has the bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from learnae.adapters.iota.node import MESSAGE_BYTES, TAG_TRYTES
from learnae.adapters.iota.proof_of_work import HASH_TRYTES
from learnae.adapters.iota.pyota import trytes_of
from learnae.basics.bounded_dict import BoundedDict
from learnae.errors import EncodingError, FutureError, ReplayError
from learnae.ipld import dagcbor
from learnae.ipld.cid import Cid
from learnae.ipld.fields import Fields
from learnae.ports import Heard
from learnae.protocol.announcements import PREFIX_BYTES, Announcement, Entry, sign_fields, verify_fields
from learnae.protocol.identity import PUBLIC_KEY_BYTES, SIGNATURE_BYTES, Identity, peer_name
from learnae.protocol.limits import MAX_SEQ, MINUTE, Limits

EPOCH = 10 * MINUTE  # 50 peers that announce twice a minute stay below what a node gives for one tag

_CONTEXT = b"learnae/iota/1"  # what the signature is for
_LENGTH_BYTES = 2
_EMPTY = {**Announcement().to_fields(), "by": bytes(PUBLIC_KEY_BYTES), "time": MAX_SEQ, "sig": bytes(SIGNATURE_BYTES)}
ROOM = MESSAGE_BYTES - _LENGTH_BYTES - len(dagcbor.encode(_EMPTY))  # bytes of a transaction for entries and links

_MAX_ANNOUNCERS = 4096  # remembered; more peers than one swarm should have
_MAX_ITEMS = 4 * _MAX_ANNOUNCERS  # what 256 peers say of 64 authors
_MAX_SAID = 4096  # of the own: more authors than one swarm should have
_WAIT = 20  # announcements, an epoch of them at the default pace: what has changed goes first, but not for longer

_Item = Entry | Cid
_Key = bytes | Cid  # of an entry, the beginning of its author's key; a kept link is its own


class Channel:
    """Says where a swarm's transactions are, and dresses their bytes: found by all that know its ``meeting`` place."""

    def __init__(self, meeting: str) -> None:
        self._meeting = meeting.encode()

    def tag(self, epoch: int) -> str:
        """Return what the transactions of an epoch are found by: 27 trytes."""
        return trytes_of(self._digest(b"tag", epoch), TAG_TRYTES)

    def address(self, epoch: int) -> str:
        """Return where they are sent to: 81 trytes, the last one 9, as of every address."""
        return trytes_of(self._digest(b"address", epoch), HASH_TRYTES - 1) + "9"

    def dress(self, data: bytes) -> bytes:
        """Put the length before the data, at most ``MESSAGE_BYTES``: transactions are filled up with zeros."""
        return len(data).to_bytes(_LENGTH_BYTES) + data

    def undress(self, data: bytes) -> bytes:
        """Return what was dressed; raises EncodingError for what this swarm's members cannot have written."""
        end = _LENGTH_BYTES + int.from_bytes(data[:_LENGTH_BYTES])
        if end > len(data) or data[end:].strip(b"\x00"):
            raise EncodingError("a transaction under this swarm's tag that is no announcement")
        return data[_LENGTH_BYTES:end]

    def _digest(self, what: bytes, epoch: int) -> bytes:
        return hashlib.sha512(b"/".join((_CONTEXT, what, self._meeting, epoch.to_bytes(8)))).digest()


@dataclass(frozen=True, slots=True)
class SignedAnnouncement:
    """Holds what ``announcer``, a public key, knew at ``time`` (Unix ms), as far as one transaction has room."""

    announcer: bytes
    time: int
    content: Announcement

    @property
    def epoch(self) -> int:
        """Return the epoch under whose tag it must be."""
        return self.time // EPOCH

    def to_bytes(self, swarm: Cid, identity: Identity) -> bytes:
        """Sign and encode it as dag-cbor."""
        fields = {**self.content.to_fields(), "by": self.announcer, "time": self.time}
        return sign_fields(fields, _CONTEXT, swarm, identity)

    @classmethod
    def from_bytes(cls, data: bytes, swarm: Cid) -> SignedAnnouncement:
        """Decode, check and verify; raises EncodingError or SignatureError."""
        content = dagcbor.decode(data, MESSAGE_BYTES)
        fields = Fields(content, "announcement", EncodingError)
        announcer = fields.octets("by", PUBLIC_KEY_BYTES)
        fields.octets("sig", SIGNATURE_BYTES)
        announcement = cls(announcer, fields.integer("time"), Announcement.from_fields(content))
        verify_fields(content, _CONTEXT, swarm)
        return announcement


class Turns:
    """Chooses what a peer's next transaction says: its own entry, what has changed, what was said longest ago."""

    def __init__(self, me: bytes, items: int = _MAX_SAID) -> None:
        """Choose for the public key ``me``; remember the last ``items`` that were said."""
        self._me = me[:PREFIX_BYTES]
        self._said = BoundedDict[_Key, tuple[_Item, int, int]](items)  # the item, and when: epoch and turn
        self._turn = 0

    def is_due(self, wanted: Announcement, epoch: int) -> bool:
        """Return True if something ``wanted`` has changed, or has not been said in this ``epoch`` yet."""
        return any(self._said.get(key, ())[:2] != (item, epoch) for key, item in _items(wanted))

    def choose(self, wanted: Announcement) -> Announcement:
        """Return as much of what is ``wanted`` as fits into one transaction."""
        room, chosen = ROOM, set[_Item]()
        for _, item in sorted(_items(wanted), key=self._rank):
            size = len(dagcbor.encode(item.to_list() if isinstance(item, Entry) else item))
            if size <= room:
                room -= size
                chosen.add(item)
        return Announcement(
            tuple(entry for entry in wanted.entries if entry in chosen),
            tuple(cid for cid in wanted.kept if cid in chosen),
        )

    def note(self, said: Announcement, epoch: int) -> None:
        """Remember that this has been ``said`` in ``epoch``."""
        for key, item in _items(said):
            self._said.renew(key, (item, epoch, self._turn))
        self._turn += 1

    def _rank(self, keyed: tuple[_Key, _Item]) -> tuple[bool, int]:
        key, item = keyed
        said, _, turn = self._said.get(key, (None, 0, -1))
        return key != self._me, turn + (_WAIT if said == item else 0)


class Newest:
    """Merges what announcers say: the newest of each for an author counts, in whatever order they are found."""

    def __init__(self, announcers: int = _MAX_ANNOUNCERS, items: int = _MAX_ITEMS) -> None:
        """Remember the last ``announcers``, and the last ``items`` of all of them."""
        self._times = BoundedDict[bytes, int](announcers)
        self._known = BoundedDict[tuple[bytes, _Key], int](items)  # the time of what each said of an author
        self._unheard = BoundedDict[tuple[bytes, _Key], _Item](items)

    def note(self, new: SignedAnnouncement, epoch: int, now: int, late: bool) -> None:
        """Take in what was found under the tag of ``epoch``.

        Raises FutureError, or ReplayError for a repeated one; ``late`` excuses that, as when an
        old epoch is read after a newer one.
        """
        if new.epoch != epoch:
            raise ReplayError("an announcement of another time under this swarm's tag", "a peer repeats old ones")
        if new.time > now + Limits().skew:
            ahead = (new.time - now) // 1000
            raise FutureError(f"an announcement dated {ahead} s ahead", "set the clocks of peers and nodes")
        newest = self._times.get(new.announcer, -1)
        if new.time < newest and not late:
            raise ReplayError(
                "an announcement older than its announcer's newest", "another peer repeats it, or a node was late"
            )
        self._times.renew(new.announcer, max(newest, new.time))
        for key, item in _items(new.content):
            name = new.announcer, key
            if self._known.get(name, -1) < new.time:
                self._known.renew(name, new.time)
                self._unheard[name] = item

    def take(self) -> list[Heard]:
        """Return what is new since the last call, of the announcer first that spoke longest ago."""
        said: dict[bytes, list[_Item]] = {}
        for (announcer, _), item in self._unheard.items():
            said.setdefault(announcer, []).append(item)
        self._unheard.clear()
        announcers = sorted(said, key=lambda announcer: self._times.get(announcer, -1))
        return [Heard(peer_name(announcer), part) for announcer in announcers for part in _bounded(said[announcer])]


def _items(announcement: Announcement) -> list[tuple[_Key, _Item]]:
    """Return all that is said, by what a newer announcement replaces it by."""
    return [*((entry.author, entry) for entry in announcement.entries), *((cid, cid) for cid in announcement.kept)]


def _bounded(items: list[_Item]) -> Iterator[Announcement]:
    """Yield announcements of a length that every reader takes."""
    entries = [item for item in items if isinstance(item, Entry)]
    kept = [item for item in items if isinstance(item, Cid)]
    most = Limits()
    while entries or kept:
        yield Announcement(tuple(entries[: most.entries]), tuple(kept[: most.kept]))
        del entries[: most.entries], kept[: most.kept]
