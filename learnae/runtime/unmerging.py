"""Leaving out who is banned, and going back to a version that nothing of a banned peer has gone into."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from learnae.adapters.local.bans import Ban, Bans
from learnae.errors import NotWrittenError, StateError
from learnae.peer.learning.versions import holds
from learnae.peer.peer import Peer
from learnae.protocol.identity import peer_name
from learnae.protocol.limits import HOUR, MINUTE
from learnae.runtime.version_store import VersionKeeper
from learnae.text import ago, counted

EXCUSE_MS = MINUTE  # of the uptime: in which who was restored from a backup declares its fork, and is excused
MOST_UNASKED = 3  # un-mergings on a proof at once: who has keys to throw away must not hold a swarm where it is
UNASKED_MS = 6 * HOUR  # of the uptime, until there may be one more
MOST_PROOFS = 256  # bans on a proof; the oldest makes room

_log = logging.getLogger(__name__)


class Unmerging:
    """Keeps ``peer`` to the bans of this machine, and un-merges what those taught whom a proof bans, or people ask for.

    What was trained since that version is lost; what it has cost in privacy stays spent.
    """

    def __init__(self, peer: Peer, bans: Bans, versions: VersionKeeper) -> None:
        self._peer = peer
        self._bans = bans
        self._versions = versions
        self._read: Mapping[bytes, Ban] = {}
        self._convicted: dict[bytes, int] = {}  # since when (uptime), by author who has equivocated
        self._settled: set[tuple[bytes, bool]] = set()  # what they taught stays; whether people had asked for more
        self._written: set[bytes] = set()
        self._unasked: list[int] = []  # uptimes of the last ones on a proof

    def act(self) -> None:
        """Take in what is banned now, and un-merge what must be. Raises NotWrittenError."""
        peer = self._peer
        try:
            self._read = self._bans.read()
        except StateError as error:  # the bans of before hold
            peer.errors.count(error)
        self._note_offences()
        peer.leave_out(self._read)
        asked = {author for author, ban in self._read.items() if ban.unmerge and not ban.proof}
        proven = {author for author, ban in self._read.items() if ban.proof}.union(self._convicts())
        guilty = {(author, author in asked) for author in asked | proven}
        self._settled &= guilty
        tainted = {each for each in guilty - self._settled if holds(peer.merging.held, each[0])}
        if tainted:
            self._unmerge(tainted)

    def _note_offences(self) -> None:
        """Let bans outlast this process that follow from what no peer can decode; one that is lifted is forgotten."""
        offences = self._peer.following.offences
        self._written.update(author for author in offences if author in self._read)
        for author in [author for author in offences if author not in self._read]:
            if author in self._written:
                del offences[author]
                self._written.discard(author)
                continue
            ban = Ban(self._peer.ports.clock.now(), offences[author], proof=True)
            try:
                self._make_room()
                self._bans.put(author, ban)
            except NotWrittenError as error:  # it is left out all the same while this process lives
                self._peer.errors.count(error)
                continue
            self._written.add(author)
            self._read = {**self._read, author: ban}
            _log.warning("%s is banned on this machine: %s", peer_name(author), ban.why)

    def _make_room(self) -> None:
        proofs = sorted((ban.since, author) for author, ban in self._read.items() if ban.proof)
        for _, author in proofs[: max(0, len(proofs) + 1 - MOST_PROOFS)]:
            self._bans.lift(author)

    def _convicts(self) -> list[bytes]:
        """Return who has equivocated and had time enough to declare it."""
        peer, uptime = self._peer, self._peer.ports.clock.uptime()
        self._convicted = {author: self._convicted.get(author, uptime) for author in peer.tangle.banned()}
        return [author for author, since in self._convicted.items() if uptime - since >= EXCUSE_MS]

    def _unmerge(self, tainted: set[tuple[bytes, bool]]) -> None:
        """Go back to the last version without the ``tainted`` authors, each with whether people have asked for it."""
        peer, now = self._peer, self._peer.ports.clock.now()
        authors = {author for author, _ in tainted}
        names = sorted(map(peer_name, authors))
        who = f"what {counted(len(authors), 'peer')} taught ({', '.join(name[:8] for name in names)})"
        found, why_none = self._versions.last_without(authors), "no version is old enough"
        if found and not any(is_asked for _, is_asked in tainted) and not self._may_unasked():
            found, why_none = None, "it was gone back too often of late; learnae unmerge does it all the same"
        peer.unmerged = {"time": now, "peers": names, "version": found[0] if found else None}
        if found is None:
            self._settled |= tainted
            _log.warning("%s stays in the own weights, and is merged no more: %s", who, why_none)
            return
        name, version = found
        self._versions.forget_best(authors)
        peer.go_back(version.vector, version.held)
        age = ago((now - version.time) / 1000)
        _log.warning("%s is un-merged: going on from version %s of %s", who, name, age)

    def _may_unasked(self) -> bool:
        uptime = self._peer.ports.clock.uptime()
        self._unasked = [time for time in self._unasked if uptime - time < MOST_UNASKED * UNASKED_MS]
        if len(self._unasked) >= MOST_UNASKED:
            return False
        self._unasked.append(uptime)
        return True
