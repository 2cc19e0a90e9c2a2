"""The registrar: signs records of who is in a swarm with keys of this machine, also beside running peers.

Records are put into the store that the peers of this machine share; a file beside their announcements tells them which
are new. Each call can be repeated after a kill: what has been said already is not said again.
"""

import logging
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path

from learnae.adapters.local.block_store import LocalBlockStore
from learnae.adapters.local.clock import SystemClock
from learnae.adapters.local.gossip import LocalGossip
from learnae.basics.error_log import ErrorLog
from learnae.errors import ConfigurationError
from learnae.ipld.cid import DAG_CBOR, Cid
from learnae.membership.key_epochs import Keyring
from learnae.membership.ledger import Ledger
from learnae.membership.policy import VOUCHED
from learnae.membership.records import (
    ADMIT,
    ANY_ROLE,
    Body,
    Invite,
    Join,
    Leave,
    Record,
    Uninvite,
    Vote,
    compose_record,
    prove_join,
)
from learnae.peer.members.records_here import open_gate
from learnae.protocol.announcements import Announcement
from learnae.protocol.identity import PRIVATE_KEY_BYTES, Identity
from learnae.protocol.limits import HOUR, Limits
from learnae.runtime.keys_here import keys_here, owner_key
from learnae.swarm.manifest import Manifest

_ANNOUNCER = "members"  # the name of the file beside those of peers
_HERE_MS = HOUR  # the life of an invite that is used at once

_log = logging.getLogger(__name__)


class Registrar:
    """Reads and writes the records of the swarm in ``directory``, which is not open. Raises ConfigurationError."""

    def __init__(self, directory: Path, manifest: Manifest, store: LocalBlockStore) -> None:
        self.errors = ErrorLog()
        gate = open_gate(manifest, store, self.errors)
        if gate.ledger is None or manifest.membership is None:
            raise ConfigurationError(
                f"swarm {manifest.name!r} is open: everyone who reaches it is a member",
                "make one with: learnae swarm create --membership invite",
            )
        self.ledger: Ledger = gate.ledger
        self.policy = manifest.membership
        self._swarm = manifest.swarm
        self._directory = directory
        self._store = store

    # -- keys of this machine

    def owner(self) -> Identity | None:
        """Return the key of who made the swarm here; None where it was made elsewhere."""
        return owner_key(self._directory)

    def members_here(self) -> list[Identity]:
        """Return the keys of this machine that are members': the owner's first."""
        members = self.ledger.roster().members
        return [identity for identity in keys_here(self._directory) if identity.author in members]

    def member_here(self) -> Identity:
        """Return the first key of this machine that is a member's; raises ConfigurationError without one."""
        found = self.members_here()
        if not found:
            raise ConfigurationError(
                "no key on this machine is a member's", "do it where the swarm was made, or joined"
            )
        return found[0]

    # -- records

    def sign(self, identity: Identity, body: Body, past: Sequence[Cid] | None = None) -> Record:
        """Sign a record after all that is known here, or after ``past`` alone, and store it. Raises NotWrittenError."""
        past = self.ledger.heads(identity.author) if past is None else past
        record = compose_record(identity, self._swarm, past, SystemClock().now(), body)
        self._store.put(DAG_CBOR, record.data, durable=True)  # what people rely on: others may not have heard it
        self.ledger.add(record.data)
        return record

    def announce(self) -> None:
        """Let running peers of this machine know what is new. Raises NotWrittenError."""
        heads = list(self.ledger.heads())[-Limits().kept :]
        LocalGossip(self._directory, _ANNOUNCER).announce(Announcement((), tuple(heads)))

    def found(self, owner: Identity) -> None:
        """Mint the first key epoch, from which the swarm's root follows, unless that was done."""
        self.rekey(owner)

    def rekey(self, member: Identity) -> None:
        """Mint a key epoch if one is due, as after a removal."""
        keyring = Keyring(member, self.ledger)
        if keyring.epoch() is None:
            self.sign(member, keyring.mint())

    def invite(self, member: Identity, uses: int, expires: int, role: str = ANY_ROLE) -> tuple[Record, bytes]:
        """Sign an invite until ``expires`` (Unix ms); return it, and the seed that who brings it must hold."""
        seed = secrets.token_bytes(PRIVATE_KEY_BYTES)
        key = Identity.from_seed(seed).author
        return self.sign(member, Invite(key, uses, expires, role)), seed

    def ask(self, joiner: Identity, invite: Cid | None = None, seed: bytes = b"") -> Record:
        """Sign the joiner's wish to come in, by the ``seed`` of an ``invite`` or for members to vouch; once.

        Where members vouch it stands on nothing: they need not look for what a stranger knows.
        """
        for record, join in self._joins_of(joiner.author):
            if join.via == invite:
                return record
        proof = prove_join(Identity.from_seed(seed), self._swarm, joiner.author) if invite else None
        return self.sign(joiner, Join(joiner.x25519, invite, proof), () if invite is None else None)

    def let_in(self, joiner: Identity, role: str) -> bool:
        """Make ``joiner`` a member by keys of members that are here; return False if it is none then.

        Raises ConfigurationError if it is one that was let in for another role.
        """
        roster = self.ledger.roster()
        known = roster.members.get(joiner.author)
        if known and known.role not in (ANY_ROLE, role):
            raise ConfigurationError(f"this peer was let in as {known.role}", "join under another --name")
        hosts = [member for member in self.members_here() if member.author != joiner.author]
        if joiner.author in roster.members or joiner.author in roster.removed or not hosts:
            return joiner.author in roster.members
        self.rekey(hosts[0])
        if self.policy.kind == VOUCHED:
            join = self.ask(joiner).cid
            for host in hosts[: self.policy.votes]:
                self.vote(host, joiner.author, ADMIT, join)
        elif not any(record.cid in roster.pending for record, _ in self._joins_of(joiner.author)):
            invite, seed = self.invite(hosts[0], 1, SystemClock().now() + _HERE_MS, role)
            self.ask(joiner, invite.cid, seed)
        self.welcome()
        return joiner.author in self.ledger.roster().members

    def welcome(self) -> int:
        """Let in those who may come in, in the name of a member of this machine; return how many."""
        pending, now, welcomed = self.ledger.roster().pending, SystemClock().now(), 0
        for record in filter(None, map(self.ledger.get, pending)):
            for keyring, member in [(Keyring(member, self.ledger), member) for member in self.members_here()]:
                if self.ledger.history.would_count(record, now) and keyring.current() is not None:
                    self.sign(member, keyring.welcome_for(record.cid, now))
                    welcomed += 1
        return welcomed

    def vote(self, voter: Identity, peer: bytes, choice: str, join: Cid | None = None) -> None:
        """Let a member of this machine vote, once."""
        if voter.author not in self.votes_for(peer, choice, join):
            self.sign(voter, Vote(peer, choice, join))

    def votes_for(self, peer: bytes, choice: str, join: Cid | None = None) -> set[bytes]:
        """Return who has voted so since the peer was last voted on otherwise."""
        votes = [(record, record.body) for record in self.ledger.records() if isinstance(record.body, Vote)]
        others = [record.time for record, vote in votes if vote.peer == peer and vote.choice != choice]
        since = max(others, default=0)
        return {record.author for record, vote in votes if vote == Vote(peer, choice, join) and record.time >= since}

    def newest_join(self, author: bytes) -> Cid | None:
        """Return the last wish of a peer to come in; None without any."""
        joins = [record for record, _ in self._joins_of(author)]
        return max(joins, key=lambda record: record.time).cid if joins else None

    def uninvite(self, member: Identity, invite: Cid) -> None:
        """Take an invite back, once."""
        if not any(
            record.author == member.author and record.body == Uninvite(invite) for record in self.ledger.records()
        ):
            self.sign(member, Uninvite(invite))

    def leave(self, peer: Identity) -> bool:
        """Say that a member goes, once; return False if it is none."""
        if peer.author not in self.ledger.roster().members:
            return False
        self.sign(peer, Leave())
        return True

    def _joins_of(self, author: bytes) -> Iterator[tuple[Record, Join]]:
        for record in self.ledger.records():
            if record.author == author and isinstance(record.body, Join):
                yield record, record.body
