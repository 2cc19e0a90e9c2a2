"""The wishes of strangers to come in, where members vouch: few, and the one unheard for longest makes room.

They are shown to the people of the machine that was asked, and go no further before a member votes for one.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from learnae.adapters.token_bucket import TokenBucket
from learnae.errors import LimitError, MembershipError
from learnae.ipld.cid import DAG_CBOR, Cid
from learnae.membership.gate import Gate
from learnae.membership.records import Join, Record
from learnae.ports import BlockStore

MOST_STRANGERS = 8  # that wait at once
MOST_BYTES = 512  # of a wish: it stands on nothing, and proves nothing
SILENT_SECONDS = 24 * 3600.0  # after which a stranger that has not asked again is forgotten
_BURST, _RATE = 8.0, 1 / 30  # new wishes at once, and a second after that


@dataclass(frozen=True, slots=True)
class _Wish:
    join: Cid
    heard: float


class StrangerBook:
    """Keeps wishes in ``gate`` and ``store``, where ``learnae members`` sees them. ``monotonic`` tells seconds."""

    def __init__(self, gate: Gate, store: BlockStore, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._gate = gate
        self._store = store
        self._monotonic = monotonic
        self._wishes: dict[bytes, _Wish] = {}  # by who asks; the one heard last is the last
        self._bucket = TokenBucket(_BURST, _RATE, monotonic)

    def note(self, join: Record) -> bool:
        """Keep a stranger's wish; return True if it is new.

        Raises MembershipError for what is no wish, LimitError for more than are noted, NotWrittenError.
        """
        body = join.body
        if not isinstance(body, Join) or body.via is not None or join.past or len(join.data) > MOST_BYTES:
            raise MembershipError("a question with another record than a stranger's wish to come in", "it is ignored")
        now, known = self._monotonic(), self._wishes.get(join.author)
        if known and known.join == join.cid:
            self._keep(join, now)
            return False
        if not self._gate.is_new(join.cid):  # a vote names it, or it is of a peer of this machine
            return False
        if not self._bucket.take():
            raise LimitError("more strangers ask to come in than are noted", "they go on asking")
        self._gate.take(join.data)
        self._store.put(DAG_CBOR, join.data)
        self._keep(join, now)
        if known:
            self._drop(known.join)
        while len(self._wishes) > MOST_STRANGERS:
            self._forget(next(iter(self._wishes)))
        return True

    def age(self) -> None:
        """Forget those who do not ask any more."""
        now = self._monotonic()
        for author in [who for who, wish in self._wishes.items() if now - wish.heard > SILENT_SECONDS]:
            self._forget(author)

    def _keep(self, join: Record, now: float) -> None:
        self._wishes.pop(join.author, None)
        self._wishes[join.author] = _Wish(join.cid, now)

    def _forget(self, author: bytes) -> None:
        self._drop(self._wishes.pop(author).join)

    def _drop(self, cid: Cid) -> None:
        if self._gate.forget(cid):
            self._store.delete([cid])
