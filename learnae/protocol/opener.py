"""Remember opened messages: the same bytes are decoded and their signature checked once a process."""

import threading
from collections.abc import Callable

from learnae.basics.bounded_dict import BoundedDict
from learnae.ipld.cid import Cid
from learnae.protocol.limits import Limits
from learnae.protocol.messages import Message, open_message

_REMEMBERED = 128  # messages received, and opened again when the next tick attaches them: at most 8 MiB


class MessageOpener:
    """Opens messages as ``open_message`` does. Safe to use from several threads.

    A message is verified where it arrives and again where it is attached; between the two it is the same bytes.
    """

    def __init__(
        self, remembered: int = _REMEMBERED, verify: Callable[[bytes, Cid, Limits], Message] = open_message
    ) -> None:
        self._verify = verify
        self._lock = threading.Lock()
        self._opened = BoundedDict[tuple[bytes, Cid], Message](remembered)

    def __call__(self, data: bytes, swarm: Cid, limits: Limits) -> Message:
        """Return the verified message; raises what ``open_message`` raises, each time anew."""
        with self._lock:
            known = self._opened.get((data, swarm))
        if known is not None:
            return known
        message = self._verify(data, swarm, limits)
        with self._lock:
            self._opened[data, swarm] = message
        return message
