"""The frontier: what this peer has of each author's chain, and where the messages stand that others have named.

From both follows from which seq on a message's past must come along when it is asked for. All of it is a hint: a wrong
one costs another question, or bytes that are here already.
"""

import threading
from collections.abc import Callable
from contextlib import suppress

from learnae.basics.bounded_dict import BoundedDict
from learnae.errors import LearnaeError
from learnae.ipld.cid import Cid
from learnae.protocol.announcements import PREFIX_BYTES, Announcement
from learnae.protocol.identity import author_of_name
from learnae.protocol.neighbourhood.interest import EVERYBODY, Interest, path_of, place_of

_REMEMBERED = 8192  # authors, and names of messages


class Frontier:
    """Notes announcements, own and others', and whom this peer hears; gossip and exchange share it.

    Safe to use from several threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._here = BoundedDict[bytes, int](_REMEMBERED)  # the newest seq, by the beginning of the author's key
        self._places = BoundedDict[Cid, tuple[bytes, int]](_REMEMBERED)  # that beginning, and the seq
        self._checkpoints = BoundedDict[Cid, None](_REMEMBERED)  # that have messages after them
        self._keepers = BoundedDict[Cid, bytes](_REMEMBERED)  # who keeps a message for ever
        self._watchers: list[Callable[[Interest], None]] = []
        self.interest = EVERYBODY

    def watch(self, attend: Callable[[Interest], None]) -> None:
        """Call ``attend`` whenever this peer hears other peers than before."""
        self._watchers.append(attend)

    def attend(self, interest: Interest) -> None:
        """Note whom this peer hears from now on."""
        self.interest = interest
        for attend in self._watchers:
            attend(interest)

    @property
    def own_path(self) -> str:
        """Return the own place as levels of a topic; empty while all are heard: then this peer speaks to all, too."""
        return "" if self.interest.is_whole else path_of(self.interest.place)

    def path_of(self, cid: Cid, peer: str = "") -> str:
        """Return the place where a block is to be asked for, as levels of a topic; empty while all are heard.

        It is that of its author, which may be known as ``peer``, or of a peer that keeps it for ever, or else the own.
        """
        with self._lock:
            author, _ = self._places.get(cid, (b"", 0))
            author = author or self._keepers.get(cid, b"")
        with suppress(LearnaeError):
            author = author or author_of_name(peer)
        swarm = self.interest.swarm
        return path_of(place_of(swarm, author)) if author and not self.interest.is_whole else self.own_path

    def note_own(self, announcement: Announcement) -> None:
        """Note what this peer has attached."""
        with self._lock:
            for entry in announcement.entries:
                self._here.renew(entry.author, entry.seq)

    def knows(self, peer: str) -> bool:
        """Return True if a message of the author with this name is attached here."""
        with suppress(LearnaeError), self._lock:
            return author_of_name(peer)[:PREFIX_BYTES] in self._here
        return False

    def note_heard(self, announcement: Announcement, peer: str = "") -> None:
        """Note what another ``peer`` names."""
        with suppress(LearnaeError), self._lock:
            author = author_of_name(peer)
            for cid in announcement.kept:
                self._keepers.renew(cid, author)
        with self._lock:
            for entry in announcement.entries:
                self._places.renew(entry.head, (entry.author, entry.seq))
                if entry.checkpoint is not None and entry.checkpoint != entry.head:
                    self._checkpoints.renew(entry.checkpoint, None)

    def note_place(self, cid: Cid, author: bytes, seq: int) -> None:
        """Note that a message names ``cid`` as the one before it; ``author`` is the beginning of its key."""
        with self._lock:
            self._places.renew(cid, (author, seq))

    def start_of(self, cid: Cid) -> int:
        """Return the seq from which on the past of a message is missing here.

        That is 0, for all since the checkpoint, if it is not known where the message stands, or if it should be here
        by its seq: then it is on another branch.
        """
        with self._lock:
            author, seq = self._places.get(cid, (b"", 0))
            here = self._here.get(author, -1)
        return here + 1 if seq > here else 0

    def comes_along(self, cid: Cid) -> bool:
        """Return True if the message is a checkpoint that comes with its author's newest message."""
        with self._lock:
            return cid in self._checkpoints
