"""Who says that it is about to send a block, and whose word was worth something: a claim keeps other holders silent."""

import threading
import time

from learnae.basics.bounded_dict import BoundedDict
from learnae.ipld.cid import Cid

LONG_AGO = float("-inf")
_REMEMBERED = 8192  # names of blocks
_PEERS = 1024  # whose word is remembered
_CLAIMANTS = 64  # of one block; if as many have failed, nobody is believed any more
_DOUBTED = -2  # claims that brought nothing, more than blocks: no claim is believed any more …
_HEALED_SECONDS = 600.0  # … for so long
_PROVEN = 8  # blocks that count at most


class Claims:
    """Notes claims to blocks by peers. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._claims = BoundedDict[Cid, dict[str, float]](_REMEMBERED)  # when, by who claims it (time.monotonic)
        self._failed = BoundedDict[Cid, set[str]](_REMEMBERED)
        self._scores = BoundedDict[str, tuple[int, float]](_PEERS)  # blocks less empty claims, and since when

    def hear(self, cid: Cid, peer: str) -> None:
        """Note a claim of ``peer``, unless it is not believed."""
        with self._lock:
            failed = self._failed.get(cid, ())
            if peer in failed or len(failed) >= _CLAIMANTS or self._score(peer) <= _DOUBTED:
                return
            claims = self._claims.get(cid, {})
            if len(claims) < _CLAIMANTS:
                self._claims.renew(cid, {**claims, peer: time.monotonic()})

    def latest(self, cid: Cid) -> float:
        """Return when a peer that is believed last claimed the block (time.monotonic); long ago if none has."""
        with self._lock:
            return max(self._claims.get(cid, {}).values(), default=LONG_AGO)

    def rival(self, cid: Cid, seconds: float, is_asked_again: bool = False) -> str:
        """Return the smallest of the peers that have claimed the block in the last ``seconds``; empty for none.

        Where an asker had to ask again, only those count that have sent blocks here.
        """
        now = time.monotonic()
        with self._lock:
            claims = self._claims.get(cid, {}).items()
            peers = [peer for peer, claimed in claims if now - claimed < seconds]
            return min((peer for peer in peers if not is_asked_again or self._score(peer) > 0), default="")

    def fail(self, cid: Cid) -> None:
        """Note that those who have claimed the block have not sent it."""
        with self._lock:
            for peer in self._claims.pop(cid, {}):
                self._note_failure(cid, peer)

    def distrust(self, cid: Cid, peer: str) -> None:
        """Note that ``peer`` has sent something else in place of the block."""
        with self._lock:
            self._claims.get(cid, {}).pop(peer, None)
            self._note_failure(cid, peer)
            self._count(peer, -1)

    def settle(self, cid: Cid, deliverer: str = "") -> None:
        """Note that the ``deliverer`` has sent the block that this peer wanted, or that it has not come at all."""
        with self._lock:
            liars = {*self._failed.pop(cid, ()), *self._claims.pop(cid, {})} - {deliverer}
            for peer in liars:
                self._count(peer, -1)
            if deliverer:
                self._count(deliverer, 1)

    def _note_failure(self, cid: Cid, peer: str) -> None:
        failed = self._failed.get(cid, set())
        if len(failed) < _CLAIMANTS:
            failed.add(peer)
        self._failed.renew(cid, failed)

    def _count(self, peer: str, number: int) -> None:
        self._scores.renew(peer, (max(_DOUBTED, min(self._score(peer) + number, _PROVEN)), time.monotonic()))

    def _score(self, peer: str) -> int:
        score, since = self._scores.get(peer, (0, LONG_AGO))
        return 0 if score < 0 and time.monotonic() - since > _HEALED_SECONDS else score
