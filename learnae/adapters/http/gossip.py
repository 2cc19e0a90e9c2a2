"""ports.Gossip over HTTP: what members were asked for and what they brought, each member's newest counts."""

import logging
import threading
from collections.abc import Iterable

from learnae.adapters.http.own_vector import OwnVector
from learnae.adapters.http.vector import Vector
from learnae.basics.bounded_dict import BoundedDict
from learnae.basics.overriding import override
from learnae.ports import Gossip, Heard
from learnae.protocol.announcements import Announcement
from learnae.protocol.identity import peer_name

_log = logging.getLogger(__name__)

_ANNOUNCERS = 1024  # whose newest announcement is remembered
_SET_BACK = 60_000  # ms: what is older than the newest by less was overtaken; by more, its clock was set back


class HttpGossip(Gossip):
    """Announces in ``own``; adapters ``note`` what they receive. Safe to use from several threads."""

    def __init__(self, own: OwnVector) -> None:
        self._own = own
        self._lock = threading.Lock()
        self._times = BoundedDict[bytes, int](_ANNOUNCERS)
        self._heard = BoundedDict[bytes, Announcement](_ANNOUNCERS)

    @override
    def announce(self, announcement: Announcement) -> None:
        self._own.say(announcement)

    @override
    def heard(self) -> Iterable[Heard]:
        with self._lock:
            found = [Heard(peer_name(by), said) for by, said in self._heard.items()]
            self._heard.clear()
        return found

    def note(self, vector: Vector) -> None:
        """Take in what a member has said; what comes a second time or too late, by another way, is passed over.

        A repeated old announcement does no harm, but a member whose clock was set back must be heard.
        """
        if vector.by == self._own.by:
            return
        with self._lock:
            newest = self._times.get(vector.by, -1)
            if newest - _SET_BACK < vector.time <= newest:
                return
            self._times.renew(vector.by, vector.time)
            self._heard.renew(vector.by, vector.content)
        _log.debug("heard %d authors of peer %.8s", len(vector.content.entries), peer_name(vector.by))
