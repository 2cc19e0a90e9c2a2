"""Where a member is thought to serve: where the configuration says, or where its beacons come from. No I/O."""

from __future__ import annotations

import threading
from collections.abc import Callable

from learnae.adapters.lan.neighbours import Neighbours
from learnae.basics.bounded_dict import BoundedDict

Place = tuple[str, int]  # host and port

_REMEMBERED = 64  # places, and when they were tried


class Whereabouts:
    """One place at a time for the member that is configured at ``place``; safe to use from several threads.

    ``key`` is the member's, None where any that ``admits`` takes will do; ``names`` returns how beacons name the swarm
    now, ``ask`` lets neighbours say where they are. A beacon gives no more than a place to try: who is there is proven
    by what is said and signed.
    """

    def __init__(
        self,
        place: Place,
        key: bytes | None,
        neighbours: Neighbours,
        names: Callable[[], frozenset[bytes]],
        admits: Callable[[bytes], bool],
        ask: Callable[[], None],
    ) -> None:
        self._configured = self.place = place
        self._key, self._neighbours, self._names, self._admits = key, neighbours, names, admits
        self._ask = ask
        self._lock = threading.Lock()
        self._tried = BoundedDict[Place, int](_REMEMBERED)
        self._turns = 0

    @property
    def is_home(self) -> bool:
        """Return True if the place is the one that is configured."""
        return self.place == self._configured

    def leave(self, place: Place) -> None:
        """Go on to another place, if one is known, since ``place`` does not do: that which was tried longest ago."""
        with self._lock:
            if place != self.place:
                return  # another thread has been faster
            self._turns += 1
            self._tried.renew(place, self._turns)
            self._ask()
            for found in sorted(self._known(), key=lambda each: self._tried.get(each, 0)):
                if found == self._configured or self._neighbours.may_try(found[0]):
                    self.place = found
                    return

    def _known(self) -> list[Place]:
        found = {self._configured: None}
        for each in self._neighbours.known(self._names()):
            if each.peer == self._key if self._key else self._admits(each.peer):
                found[each.address, each.port] = None
        return list(found)
