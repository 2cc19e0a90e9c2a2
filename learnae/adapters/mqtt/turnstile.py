"""How much of each peer is heard: what it sends beyond that is dropped in the network thread, unread."""

from collections.abc import Callable

from learnae.adapters.mqtt.blocks.inbox import Counts
from learnae.adapters.mqtt.subscriptions import Received
from learnae.adapters.mqtt.topics import Topics
from learnae.adapters.token_bucket import TokenBucket
from learnae.basics.bounded_dict import BoundedDict

_BURST, _RATE = 128.0, 16.0  # messages on one channel: at once, and a second
_STRANGERS_BURST, _STRANGERS_RATE = 512.0, 64.0  # of all whose author is not known here, together
_REMEMBERED = 2048  # peers and channels
_USUAL_BYTES = 4096  # of a pushed message; a larger one counts as several …
_UNKNOWN = 4.0  # … and as so many, if nothing of its author is known here: each is verified


class Turnstile:
    """Lets pass what comes on a topic as fast as an honest peer speaks; ``counts`` counts what is dropped.

    ``knows`` says whether a peer is known here. For the network thread alone.
    """

    def __init__(self, topics: Topics, knows: Callable[[str], bool], counts: Counts) -> None:
        self._topics = topics
        self._counts = counts
        self._knows = knows
        self._peers = BoundedDict[tuple[str, str], TokenBucket](_REMEMBERED)
        self._strangers = TokenBucket(_STRANGERS_BURST, _STRANGERS_RATE)

    def passes(self, received: Received) -> bool:
        """Return True if this one is heard."""
        peer, channel = self._topics.place_of(received.topic)
        if peer == self._topics.peer:
            return False
        bucket = self._peers.get((peer, channel)) or TokenBucket(_BURST, _RATE)
        self._peers.renew((peer, channel), bucket)
        count, is_known = 1.0, self._knows(peer)
        if channel == "message":
            count = max(1.0 if is_known else _UNKNOWN, len(received.payload) / _USUAL_BYTES)
        if bucket.take(count) and (is_known or self._strangers.take()):
            return True
        self._counts.add("dropped: too fast")
        return False
