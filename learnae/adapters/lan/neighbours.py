"""What was heard on this network, bounded by address and minute, and forgotten. No I/O: the clock is passed in."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from learnae.adapters.lan.beacons import QUESTION, Beacon
from learnae.adapters.token_bucket import TokenBucket
from learnae.basics.bounded_dict import BoundedDict
from learnae.basics.error_log import ErrorLog
from learnae.errors import LimitError, PeerError

BEACON_SECONDS = 30.0
MAX_AGE_SECONDS = 3.2 * BEACON_SECONDS  # three beacons missed: a machine that sleeps says no goodbye
MAX_PER_ADDRESS = 16  # neighbours that one address may be
_ADDRESSES = 256
_NEIGHBOURS = 512
_HEARD_A_MINUTE = 60  # datagrams of one address that are looked at
_TRIES_A_MINUTE = 6  # connections to one address


@dataclass(frozen=True, slots=True)
class Neighbour:
    """An ``address`` to try; ``swarm`` and ``peer`` are what it claims, empty where it claims nothing."""

    address: str
    port: int
    swarm: bytes = b""
    peer: bytes = b""
    number: int = 0
    way: str = "beacon"


class Neighbours:
    """The machines that were heard of late; safe to use from several threads.

    A signature proves only that the datagram was made by the key in it. So a forged answer costs one connection, of
    which ``may_try`` allows each address a few a minute. Beacons of the peer ``own`` are not its neighbours'.
    """

    def __init__(
        self, errors: ErrorLog | None = None, monotonic: Callable[[], float] = time.monotonic, own: bytes = b""
    ) -> None:
        self._own = own
        self._errors = errors or ErrorLog()
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._heard = BoundedDict[str, TokenBucket](_ADDRESSES)
        self._tries = BoundedDict[str, TokenBucket](_ADDRESSES)
        self._seen = BoundedDict[Neighbour, float](_NEIGHBOURS)

    def hear(self, data: bytes, address: str) -> bool:
        """Take a datagram; return True if it is a question, to be answered. What is wrong is counted."""
        with self._lock:
            if not self._take(self._heard, address, _HEARD_A_MINUTE):
                self._errors.count(LimitError(f"more than {_HEARD_A_MINUTE} datagrams a minute from {address}"))
                return False
        if data == QUESTION:
            return True
        try:
            beacon = Beacon.from_bytes(data)
            self.note(Neighbour(address, beacon.port, beacon.swarm, beacon.peer, beacon.number))
        except PeerError as error:
            self._errors.count(error)
        return False

    def note(self, neighbour: Neighbour) -> None:
        """Remember a neighbour as heard now; raises LimitError for one more of an address that is very many."""
        if self._own and neighbour.peer == self._own:
            return
        with self._lock:
            if neighbour not in self._seen:
                of_address = [known for known in self._fresh() if known.address == neighbour.address]
                if len(of_address) >= MAX_PER_ADDRESS:
                    raise LimitError(f"{neighbour.address} says that it is more than {MAX_PER_ADDRESS} machines")
            self._seen.renew(neighbour, self._monotonic())

    def known(self, swarms: frozenset[bytes] | None = None, number: int = 0) -> list[Neighbour]:
        """Return those heard of late, the newest first: that serve one of ``swarms``, or that offer ``number``."""
        with self._lock:
            fresh = self._fresh()
        return [
            each
            for each in reversed(fresh)
            if each.number == number and (swarms is None or each.swarm in swarms or not each.swarm)
        ]

    def numbers(self) -> set[int]:
        """Return the numbers of the offers that were heard of late."""
        with self._lock:
            return {each.number for each in self._fresh() if each.number}

    def may_try(self, address: str) -> bool:
        """Return True if a connection to ``address`` may be made now, and count it."""
        with self._lock:
            return self._take(self._tries, address, _TRIES_A_MINUTE)

    def _fresh(self) -> list[Neighbour]:
        oldest = self._monotonic() - MAX_AGE_SECONDS
        for neighbour in [each for each, seen in self._seen.items() if seen < oldest]:
            del self._seen[neighbour]
        return list(self._seen)

    def _take(self, buckets: BoundedDict[str, TokenBucket], address: str, a_minute: int) -> bool:
        bucket = buckets.setdefault(address, TokenBucket(a_minute, a_minute / 60, self._monotonic))
        buckets.renew(address, bucket)
        return bucket.take()
