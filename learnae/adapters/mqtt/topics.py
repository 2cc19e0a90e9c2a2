"""The topics of docs/mqtt.md: ``PREFIX/SWARM/PEER/CHANNEL``."""

from dataclasses import dataclass

from learnae.ipld.cid import Cid

ONLINE, OFFLINE = b"online", b"offline"
CBOR, JSON = "application/cbor", "application/json"


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics of one peer, which writes below its own name only, so that an ACL can hold it to that."""

    prefix: str
    swarm: Cid
    peer: str

    def own(self, channel: str) -> str:
        """Return a topic that this peer writes."""
        return f"{self.prefix}/{self.swarm}/{self.peer}/{channel}"

    def of(self, peer: str, channel: str) -> str:
        """Return a topic that another peer writes."""
        return f"{self.prefix}/{self.swarm}/{peer}/{channel}"

    def all(self, channel: str) -> str:
        """Return the filter for every peer of the swarm."""
        return f"{self.prefix}/{self.swarm}/+/{channel}"

    def peer_of(self, topic: str) -> str:
        """Return the peer that writes ``topic``."""
        return topic[len(self.prefix) + 1 :].split("/")[1]
