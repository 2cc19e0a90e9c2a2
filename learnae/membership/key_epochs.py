"""Key epochs: the secrets that the present members share, and no removed one (docs/protocol.md, Key epochs).

Nothing here writes a secret into a text: no repr, no error, no log.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from learnae.errors import MembershipError, SealError, StateError, SwarmSizeError
from learnae.ipld.cid import Cid
from learnae.membership.ledger import Ledger
from learnae.membership.records import (
    EPOCH_BYTES,
    MAX_PAST,
    MAX_REKEY_BYTES,
    Join,
    Record,
    Rekey,
    Vote,
    Welcome,
)
from learnae.protocol.identity import Identity, agree, derive, peer_name

SECRET_BYTES = 32
MAX_MEMBERS = 700  # a rekey holds 85 bytes for each, and is one block of at most 64 KiB
_REKEY_CONTEXT, _WELCOME_CONTEXT = b"learnae/rekey/1", b"learnae/welcome/1"
_ROOT_CONTEXT, _HAND_ON_CONTEXT = b"learnae/root/1", b"learnae/hand-on/1"
_NONCE = bytes(12)  # no key seals twice: each record has an ephemeral one of its own
_SEALED_ENTRY_BYTES = 85  # of a rekey: head of the pair, key and box with their heads
_EXCLUDED_ENTRY_BYTES = 34
_REKEY_FRAME_BYTES = 512 + 41 * MAX_PAST  # the rest of the record


def epoch_name(rekey: Cid) -> bytes:
    """Return the name of the key epoch that a rekey mints."""
    return rekey.digest[:EPOCH_BYTES]


class Keyring:
    """The secrets that ``identity`` can open in the records of ``ledger``.

    Opened again after each start: nothing of it is written to a disk. ``random`` returns so many unpredictable bytes.
    """

    def __init__(self, identity: Identity, ledger: Ledger, random: Callable[[int], bytes] = os.urandom) -> None:
        self._identity = identity
        self._ledger = ledger
        self._random = random
        self._read = 0  # records of the history
        self._rekeys: dict[bytes, Record] = {}  # by the name of their epoch
        self._secrets: dict[bytes, bytes] = {}  # by the name of their epoch
        self._roots: dict[Cid, bytes] = {}  # by the rekey that hands them on
        self._epoch: tuple[int, Record | None] = (-1, None)  # the current one, with the records that it follows from

    def secret_of(self, name: bytes) -> bytes | None:
        """Return the secret of that epoch; None if it is not known, perhaps not yet."""
        self._open_new()
        return self._secrets.get(name)

    def names(self) -> list[bytes]:
        """Return the names of the epochs whose secrets are known."""
        self._open_new()
        return list(self._secrets)

    @property
    def root(self) -> bytes | None:
        """Return the secret that places to meet are named by, None if it is not known, perhaps not yet.

        Each rekey hands it on; the first one made it. The current epoch's counts, or the newest that opens here.
        """
        self._open_new()
        epoch = self.epoch()
        if epoch is not None and epoch.cid in self._roots:
            return self._roots[epoch.cid]
        known = [record.cid for record in self._ledger.history.rekeys() if record.cid in self._roots]
        newest = self._newest(known)
        return self._roots[min(newest)] if newest else None

    def epoch(self) -> Record | None:
        """Return the rekey that the present members seal under; None if this peer sees one to be due.

        Of the rekeys that all members have, no removed one and no other: one that no such rekey follows; of several
        the smallest name. One that does not open for a member whom it names is to be replaced by that member.
        """
        record = self._common_epoch()
        if record is None or not self._ledger.may_speak(self._identity.author):
            return record
        return None if self.secret_of(epoch_name(record.cid)) is None else record

    def _common_epoch(self) -> Record | None:
        size = len(self._ledger.history)
        if self._epoch[0] != size:
            self._epoch = size, self._find_epoch()
        return self._epoch[1]

    def current(self) -> tuple[bytes, bytes] | None:
        """Return name and secret of the epoch to seal under; None if a rekey is due, or this peer is no member."""
        record = self.epoch()
        if record is None or not self._ledger.may_speak(self._identity.author):
            return None
        name = epoch_name(record.cid)
        secret = self.secret_of(name)
        return None if secret is None else (name, secret)

    def turn(self) -> int:
        """Return how many members should mint a due rekey before this peer does: 0 for the first, or the only one.

        The order follows from the records alone. Who has voted comes last, since a rekey is also the witness of votes.
        """
        history = self._ledger.history
        if self._common_epoch() is not None:  # the others can open it
            return 0
        voters = {record.author for record in history if isinstance(record.body, Vote)}
        state = b"".join(cid.digest for cid in self._ledger.heads())
        members = self._ledger.roster().members
        order = sorted(members, key=lambda peer: (peer in voters, hashlib.sha256(state + peer).digest()))
        return order.index(self._identity.author) if self._identity.author in members else len(order)

    def mint(self) -> Rekey:
        """Return a new secret for all present members, sealed to each, as the body of a record.

        Raises MembershipError if this peer is no member, SwarmSizeError if there are more than one record holds.
        """
        roster = self._ledger.roster()
        self._check_member()
        excludes = sorted(roster.removed)
        size = _SEALED_ENTRY_BYTES * len(roster.members) + _EXCLUDED_ENTRY_BYTES * len(excludes) + _REKEY_FRAME_BYTES
        if size > MAX_REKEY_BYTES:
            raise SwarmSizeError(
                f"{len(roster.members)} members and {len(excludes)} that are gone need a rekey of {size} bytes",
                f"one has at most {MAX_REKEY_BYTES}: begin another swarm for some of them",
            )
        secret, ephemeral = self._random(SECRET_BYTES), self._ephemeral()
        bound = _bound_rekey(self._ledger.swarm, self._identity.author, excludes)
        sealed = []
        for peer, member in sorted(roster.members.items()):
            try:
                sealed.append((peer, _seal(ephemeral, member.x25519, _REKEY_CONTEXT, bound, secret)))
            except SealError:  # with the key that such a member gave, it reads nothing
                sealed.append((peer, self._random(SECRET_BYTES + 16)))
        root = _root_box(secret).encrypt(_NONCE, self.root or derive(secret, _ROOT_CONTEXT), bound)
        return Rekey(tuple(excludes), ephemeral.public_key().public_bytes_raw(), tuple(sealed), root)

    def welcome_for(self, join: Cid, now: int) -> Welcome:
        """Return the body of a record that lets a peer in, with the current secret; ``now`` in Unix milliseconds.

        Raises MembershipError if that would not count, or this peer is no member, SwarmSizeError if the swarm is full,
        StateError if a rekey is due first, SealError if the joiner's key is none.
        """
        self._check_member()
        record = self._ledger.get(join)
        if record is None or not isinstance(record.body, Join):
            raise MembershipError(f"{join.short} is no join that is here", "wait until it is")
        if not self._ledger.history.would_count(record, now):
            raise MembershipError(
                f"a welcome of {peer_name(record.author)[:8]} would not count",
                "its invite has expired, was used up or taken back, or it lacks votes; or it is in, or was removed",
            )
        members = self._ledger.roster().members
        if len(members) >= MAX_MEMBERS:
            raise SwarmSizeError(f"the swarm has {len(members)} members", f"at most {MAX_MEMBERS} share a secret")
        current = self.current()
        if current is None:
            raise StateError("there is no secret that all members share", "try again after the next rekey")
        name, secret = current
        ephemeral = self._ephemeral()
        bound = _bound_welcome(self._ledger.swarm, self._identity.author, join, name)
        sealed = _seal(ephemeral, record.body.x25519, _WELCOME_CONTEXT, bound, secret)
        return Welcome(join, name, ephemeral.public_key().public_bytes_raw(), sealed)

    def _check_member(self) -> None:
        if not self._ledger.may_speak(self._identity.author):
            raise MembershipError(f"{peer_name(self._identity.author)[:8]} is no member", "ask a member for an invite")

    def _ephemeral(self) -> X25519PrivateKey:
        return X25519PrivateKey.from_private_bytes(self._random(SECRET_BYTES))

    # -- which epoch

    def _find_epoch(self) -> Record | None:
        ledger = self._ledger
        roster, history = ledger.roster(), ledger.history
        told: dict[bytes, set[bytes]] = {}
        for welcome in history.welcomes():
            assert isinstance(welcome.body, Welcome)
            join = history.get(welcome.body.join)
            assert join is not None
            told.setdefault(welcome.body.epoch, set()).add(join.author)
        fit = []
        for record in history.rekeys():
            assert isinstance(record.body, Rekey)
            sealed = {peer for peer, _ in record.body.sealed}
            has_all = roster.members.keys() <= sealed | told.get(epoch_name(record.cid), set())
            if has_all and sealed <= roster.members.keys() and roster.removed <= set(record.body.excludes):
                fit.append(record)
        newest = self._newest([record.cid for record in fit])
        return history.get(min(newest)) if newest else None

    def _newest(self, cids: list[Cid]) -> list[Cid]:
        """Return those that are not before another one."""
        is_before = self._ledger.history.is_before
        return [one for one in cids if not any(is_before(one, other) for other in cids)]

    # -- opening

    def _open_new(self) -> None:
        """Open what came since the last look; what does not open was not for this peer, or is of no use."""
        history = self._ledger.history
        for record in history.since(self._read):
            if isinstance(record.body, Rekey):
                self._open_rekey(record, record.body)
            elif isinstance(record.body, Welcome):
                self._open_welcome(record, record.body)
        self._read = len(history)

    def _open_rekey(self, record: Record, body: Rekey) -> None:
        self._rekeys[epoch_name(record.cid)] = record
        box = dict(body.sealed).get(self._identity.author)
        if box is not None:
            bound = _bound_rekey(record.swarm, record.author, body.excludes)
            self._keep(record, body, self._open(body.ephemeral, _REKEY_CONTEXT, bound, box))

    def _open_welcome(self, record: Record, body: Welcome) -> None:
        join, rekey = self._ledger.history.get(body.join), self._rekeys.get(body.epoch)
        if join is None or join.author != self._identity.author or rekey is None:
            return
        assert isinstance(rekey.body, Rekey)
        bound = _bound_welcome(record.swarm, record.author, body.join, body.epoch)
        self._keep(rekey, rekey.body, self._open(body.ephemeral, _WELCOME_CONTEXT, bound, body.sealed))

    def _keep(self, rekey: Record, body: Rekey, secret: bytes | None) -> None:
        """Keep a secret that is the one of its rekey: that opens the root."""
        if secret is None:
            return
        bound = _bound_rekey(rekey.swarm, rekey.author, body.excludes)
        with contextlib.suppress(InvalidTag):
            self._roots[rekey.cid] = _root_box(secret).decrypt(_NONCE, body.root, bound)
            self._secrets[epoch_name(rekey.cid)] = secret

    def _open(self, ephemeral: bytes, context: bytes, bound: bytes, box: bytes) -> bytes | None:
        try:
            shared = self._identity.agree(ephemeral)
        except SealError:
            return None
        try:
            return _box(shared, context, ephemeral, self._identity.x25519).decrypt(_NONCE, box, bound)
        except InvalidTag:
            return None


def _seal(ephemeral: X25519PrivateKey, public: bytes, context: bytes, bound: bytes, plain: bytes) -> bytes:
    shared = agree(ephemeral, public)
    return _box(shared, context, ephemeral.public_key().public_bytes_raw(), public).encrypt(_NONCE, plain, bound)


def _box(shared: bytes, context: bytes, ephemeral: bytes, public: bytes) -> ChaCha20Poly1305:
    return ChaCha20Poly1305(derive(shared, context + ephemeral + public))


def _root_box(secret: bytes) -> ChaCha20Poly1305:
    return ChaCha20Poly1305(derive(secret, _HAND_ON_CONTEXT))


def _bound_rekey(swarm: Cid, author: bytes, excludes: list[bytes] | tuple[bytes, ...]) -> bytes:
    return swarm.to_bytes() + author + b"".join(excludes)


def _bound_welcome(swarm: Cid, author: bytes, join: Cid, epoch: bytes) -> bytes:
    return swarm.to_bytes() + author + join.to_bytes() + epoch
