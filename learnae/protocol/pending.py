"""Messages that arrived before their parents: a bounded buffer before the tangle."""

from collections.abc import Iterable

from learnae.ipld.cid import Cid
from learnae.protocol.limits import Limits
from learnae.protocol.messages import Message


class Pending:
    """Waiting messages, by name, by author, and by the parents that they wait for.

    When it is full, the newest message of the author with most bytes makes room: the walk towards the past goes on, no
    author displaces the others, and what was dropped is fetched again once its past is here.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._messages: dict[Cid, Message] = {}
        self._absent: dict[Cid, set[Cid]] = {}  # message -> parents that are not here
        self._children: dict[Cid, dict[Cid, None]] = {}  # absent parent -> messages that wait for it
        self._by_author: dict[bytes, dict[Cid, int]] = {}  # with the bytes that each takes
        self._bytes = 0

    def __contains__(self, cid: Cid) -> bool:
        return cid in self._messages

    def __len__(self) -> int:
        return len(self._messages)

    def messages(self) -> Iterable[Message]:
        """Return all that wait."""
        return self._messages.values()

    def waits_for(self, cid: Cid) -> bool:
        """Return True if some message here names ``cid`` as its parent."""
        return cid in self._children

    def missing(self) -> Iterable[Cid]:
        """Return the parents that are neither attached nor waiting themselves."""
        return [parent for parent in self._children if parent not in self._messages]

    def newest_of(self, author: bytes) -> Message | None:
        """Return the author's message here with the highest seq; None without any."""
        waiting = map(self._messages.__getitem__, self._by_author.get(author, ()))
        return max(waiting, key=lambda message: message.seq, default=None)

    def add(self, message: Message, absent: list[Cid]) -> None:
        """Let ``message`` wait for its ``absent`` parents; may push another one out."""
        self._messages[message.cid] = message
        self._absent[message.cid] = set(absent)
        for parent in absent:
            self._children.setdefault(parent, {})[message.cid] = None
        self._by_author.setdefault(message.author, {})[message.cid] = len(message.data)
        self._bytes += len(message.data)
        while len(self._messages) > self._limits.pending_messages or self._bytes > self._limits.pending_bytes:
            crowd = max(self._by_author.values(), key=lambda sizes: sum(sizes.values()))
            self._remove(max(crowd, key=lambda cid: self._messages[cid].time))

    def older_than(self, time: int) -> list[Message]:
        """Return messages dated before ``time``, oldest first."""
        return sorted((m for m in self._messages.values() if m.time < time), key=lambda message: message.time)

    def take(self, cid: Cid) -> None:
        """Remove a message that needs to wait no longer; what waits for it goes on waiting."""
        if cid in self._messages:
            self._remove(cid)

    def release(self, parent: Cid) -> list[Message]:
        """Remove and return the messages whose last absent parent was ``parent``."""
        released = []
        for child in self._children.pop(parent, {}):
            self._absent[child].discard(parent)
            if not self._absent[child]:
                released.append(self._remove(child))
        return released

    def drop_descendants(self, cid: Cid) -> list[Cid]:
        """Remove ``cid`` and everything that waits for it, however far; return what was removed."""
        dropped, stack = [], [cid]
        while stack:
            current = stack.pop()
            stack.extend(self._children.pop(current, ()))
            if current in self._messages:
                self._remove(current)
                dropped.append(current)
        return dropped

    def _remove(self, cid: Cid) -> Message:
        message = self._messages.pop(cid)
        for parent in self._absent.pop(cid):
            children = self._children.get(parent, {})
            children.pop(cid, None)
            if not children:
                self._children.pop(parent, None)
        by_author = self._by_author[message.author]
        del by_author[cid]
        if not by_author:
            del self._by_author[message.author]
        self._bytes -= len(message.data)
        return message
