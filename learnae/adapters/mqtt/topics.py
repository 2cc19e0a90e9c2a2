"""The topics of docs/mqtt.md: ``PREFIX/MEETING/PEER/CHANNEL``."""

from dataclasses import dataclass

ONLINE, OFFLINE = b"online", b"offline"
CBOR, JSON, BYTES = "application/cbor", "application/json", "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics of one peer, which writes below its own name only, so that an ACL can hold it to that.

    ``meeting`` is where the swarm meets: an open swarm's id, or a name that only members of a sealed one can tell.
    """

    prefix: str
    meeting: str
    peer: str

    def own(self, channel: str) -> str:
        """Return a topic that this peer writes."""
        return f"{self.prefix}/{self.meeting}/{self.peer}/{channel}"

    def of(self, peer: str, channel: str) -> str:
        """Return a topic that another peer writes."""
        return f"{self.prefix}/{self.meeting}/{peer}/{channel}"

    def all(self, channel: str) -> str:
        """Return the filter for every peer of the swarm."""
        return f"{self.prefix}/{self.meeting}/+/{channel}"

    def peer_of(self, topic: str) -> str:
        """Return the peer that writes ``topic``."""
        return self.place_of(topic)[0]

    def place_of(self, topic: str) -> tuple[str, str]:
        """Return the peer that writes ``topic``, and the channel."""
        _, peer, channel, *_ = topic[len(self.prefix) + 1 :].split("/")
        return peer, channel
