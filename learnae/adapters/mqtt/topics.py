"""The topics of docs/mqtt.md: ``PREFIX/MEETING/PEER/CHANNEL``, and after it the place of what it is about, as bits."""

from dataclasses import dataclass

from learnae.protocol.neighbourhood.interest import LEVELS, Zone

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

    def own_at(self, channel: str, path: str) -> str:
        """Return a topic that this peer writes about what is at the place ``path``; for all, if that is empty."""
        return f"{self.own(channel)}/{path}" if path else self.own(channel)

    def zone(self, channel: str, zone: Zone) -> str:
        """Return the filter for what is said at the places of a zone."""
        return f"{self.all(channel)}/{zone.path or '+'}/#"

    def path_in(self, topic: str) -> str:
        """Return the place that ``topic`` ends with; empty if it ends with none."""
        path = topic[len(self.prefix) + 1 :].split("/")[3:]
        return "/".join(path) if len(path) == LEVELS and set(path) <= {"0", "1"} else ""

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
