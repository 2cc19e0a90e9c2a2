"""Messages that arrived before the one that they continue: a bounded buffer before the tangle."""

from collections.abc import Iterable

from learnae.ipld.cid import Cid
from learnae.protocol.limits import Limits
from learnae.protocol.messages import Message


class Pending:
    """Waiting messages, by name, by author, and by the previous message that they wait for.

    When it is full, the newest message of the author with most bytes makes room: no author displaces the others, and
    what was dropped is announced, and fetched, again.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._messages: dict[Cid, Message] = {}
        self._children: dict[Cid, dict[Cid, None]] = {}  # absent message -> those that continue it
        self._by_author: dict[bytes, dict[Cid, int]] = {}  # with the bytes that each takes
        self._bytes = 0

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

    def waits_for(self, previous: Cid) -> bytes:
        """Return the author of a message that continues ``previous``; empty without any."""
        return next((self._messages[child].author for child in self._children.get(previous, ())), b"")

    def newest_of(self, author: bytes) -> Message | None:
        """Return the author's message here with the highest seq; None without any."""
        waiting = map(self._messages.__getitem__, self._by_author.get(author, ()))
        return max(waiting, key=lambda message: message.seq, default=None)

    def add(self, message: Message, previous: Cid) -> list[Message]:
        """Let ``message`` wait for the ``previous`` one; return what had to make room for it."""
        self._messages[message.cid] = message
        self._children.setdefault(previous, {})[message.cid] = None
        self._by_author.setdefault(message.author, {})[message.cid] = len(message.data)
        self._bytes += len(message.data)
        dropped = []
        while len(self._messages) > self._limits.pending_messages or self._bytes > self._limits.pending_bytes:
            crowd = max(self._by_author.values(), key=lambda sizes: sum(sizes.values()))
            dropped.append(self._remove(max(crowd, key=lambda cid: self._messages[cid].seq)))
        return dropped

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
        self._bytes -= len(message.data)
        return message
