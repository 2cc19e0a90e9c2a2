"""Messages that arrived before the one that they continue: a bounded buffer before the tangle."""

import heapq
from collections.abc import Iterable

from learnae.ipld.cid import Cid
from learnae.protocol.hearsay import Bringer
from learnae.protocol.limits import Limits
from learnae.protocol.messages import Message

Booking = tuple[bool, Bringer]  # whether author or bringer are known, and on whom a message is booked


class _Account:
    """What is booked on one bringer: bytes, and messages, those with the highest seq first."""

    def __init__(self) -> None:
        self.bytes = 0
        self.names: dict[Cid, int] = {}  # with the bytes that each takes
        self.newest: list[tuple[int, bytes]] = []  # a heap; also of messages that have gone


class Pending:
    """Waiting messages, by name, by author, by who brought them, and by the previous message that they wait for.

    When it is full, the newest of the bringer with most bytes makes room, strangers first: none displaces what comes of
    known ones. Of strangers as many may wait as the longest chain has (``Limits.since``). What was dropped is
    announced, and fetched, again.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._messages: dict[Cid, Message] = {}
        self._children: dict[Cid, dict[Cid, None]] = {}  # absent message -> those that continue it
        self._by_author: dict[bytes, dict[Cid, None]] = {}
        self._bookings: dict[Cid, Booking] = {}
        self._accounts: dict[Booking, _Account] = {}
        self._bytes = 0
        self._known = 0  # messages of authors or bringers who are known

    def __contains__(self, cid: Cid) -> bool:
        return cid in self._messages

    def __len__(self) -> int:
        return len(self._messages)

    def get(self, cid: Cid) -> Message | None:
        """Return the message of that name; None if it does not wait here."""
        return self._messages.get(cid)

    def messages(self) -> Iterable[Message]:
        """Return all that wait."""
        return self._messages.values()

    def missing(self) -> Iterable[tuple[Cid, Message]]:
        """Return each message that is waited for and does not wait itself, with one that continues it."""
        for previous, children in self._children.items():
            if previous not in self._messages:
                yield previous, self._messages[next(iter(children))]

    def bringer_of(self, cid: Cid) -> Bringer:
        """Return on whom a waiting message is booked."""
        return self._bookings[cid][1]

    def newest_of(self, author: bytes) -> Message | None:
        """Return the author's message here with the highest seq; None without any."""
        waiting = map(self._messages.__getitem__, self._by_author.get(author, ()))
        return max(waiting, key=lambda message: message.seq, default=None)

    def add(self, message: Message, previous: Cid, bringer: Bringer = "", is_known: bool = True) -> list[Message]:
        """Let ``message`` wait for the ``previous`` one; return what had to make room for it.

        It is booked on its ``bringer``, without one on its author. ``is_known`` says that one of both is known.
        """
        self._messages[message.cid] = message
        self._children.setdefault(previous, {})[message.cid] = None
        self._by_author.setdefault(message.author, {})[message.cid] = None
        booking, size = (is_known, bringer or message.author), len(message.data)
        account = self._accounts.setdefault(booking, _Account())
        account.bytes += size
        account.names[message.cid] = size
        heapq.heappush(account.newest, (-message.seq, message.cid.to_bytes()))
        self._bookings[message.cid] = booking
        self._bytes += size
        self._known += is_known
        dropped = []
        strangers = len(self._messages) - self._known
        while strangers > self._limits.since or self._is_full():
            dropped.append(self._make_room())
            strangers = len(self._messages) - self._known
        return dropped

    def _is_full(self) -> bool:
        return len(self._messages) > self._limits.pending_messages or self._bytes > self._limits.pending_bytes

    def release(self, previous: Cid) -> list[Message]:
        """Remove and return the messages that continue ``previous``."""
        return [self._remove(child) for child in list(self._children.get(previous, ()))]

    def drop_below(self, author: bytes, seq: int) -> list[Message]:
        """Remove and return the author's messages with a smaller ``seq``."""
        old = [cid for cid in self._by_author.get(author, ()) if self._messages[cid].seq < seq]
        return [self._remove(cid) for cid in old]

    def drop_descendants(self, cid: Cid) -> list[Message]:
        """Remove and return ``cid`` and everything that waits for it, however far."""
        dropped, stack = [], [cid]
        while stack:
            current = stack.pop()
            stack.extend(self._children.get(current, ()))
            if current in self._messages:
                dropped.append(self._remove(current))
        return dropped

    def _make_room(self) -> Message:
        _, crowd = max(self._accounts.items(), key=lambda each: (not each[0][0], each[1].bytes))
        while (newest := Cid.from_bytes(crowd.newest[0][1])) not in crowd.names:
            heapq.heappop(crowd.newest)
        return self._remove(newest)

    def _remove(self, cid: Cid) -> Message:
        message = self._messages.pop(cid)
        assert message.previous is not None
        children = self._children[message.previous]
        del children[cid]
        if not children:
            del self._children[message.previous]
        by_author = self._by_author[message.author]
        del by_author[cid]
        if not by_author:
            del self._by_author[message.author]
        booking = self._bookings.pop(cid)
        account, size = self._accounts[booking], len(message.data)
        del account.names[cid]
        account.bytes -= size
        self._bytes -= size
        self._known -= booking[0]
        if not account.names:
            del self._accounts[booking]
        elif len(account.newest) > 2 * len(account.names) + 8:
            account.newest = [(-self._messages[each].seq, each.to_bytes()) for each in account.names]
            heapq.heapify(account.newest)
        return message
