"""Interest: the zones of authors that one peer hears. Authors have places; a zone is all places that begin alike."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import lru_cache, partial

from learnae.basics.bounded_dict import BoundedDict
from learnae.errors import EncodingError
from learnae.protocol.announcements import PREFIX_BYTES
from learnae.protocol.identity import author_of_name

LEVELS = 16  # bits of a place: 65,536 zones of some 32 authors each are two million
_CONTEXT = b"learnae/place/1"
_REMEMBERED = 1 << 16  # places: authors are looked up at each announcement
_LOOKED_UP = 1 << 10  # authors, of each interest


@lru_cache(_REMEMBERED)
def place_of(swarm: bytes, author: bytes) -> int:
    """Return the place of an author in a swarm (its CID's bytes), of whose key the beginning is enough.

    Keys that are alike have nothing in common there, and a key that was made for a place in one swarm has another one
    in each other swarm.

    >>> place_of(b"swarm", bytes(32)) == place_of(b"swarm", bytes(8))
    True
    """
    return int.from_bytes(hashlib.sha256(_CONTEXT + swarm + author[:PREFIX_BYTES]).digest()[: LEVELS // 8])


@dataclass(frozen=True, slots=True)
class Zone:
    """All places whose first ``levels`` bits are those of ``start``; of which the other bits are 0.

    >>> zone = Zone.of(0b1011_0000_0000_0001, levels=3)
    >>> zone.path, 0b1010_0000_0000_0000 in zone, 0b1110_0000_0000_0000 in zone
    ('1/0/1', True, False)
    >>> Zone().path, 7 in Zone()
    ('', True)
    """

    levels: int = 0
    start: int = 0

    @classmethod
    def of(cls, place: int, levels: int) -> Zone:
        """Return the zone of so many ``levels`` that a place is in."""
        return cls(levels, place >> LEVELS - levels << LEVELS - levels)

    def __contains__(self, place: int) -> bool:
        return (place ^ self.start) >> LEVELS - self.levels == 0

    def overlaps(self, other: Zone) -> bool:
        """Return True if one of both zones is within the other."""
        return self.start in other or other.start in self

    @property
    def path(self) -> str:
        """Return the levels as a topic has them: bits, from the first to the last."""
        return path_of(self.start, self.levels)


def path_of(place: int, levels: int = LEVELS) -> str:
    """Return the first bits of a place as levels of a topic."""
    return "/".join(f"{place:0{LEVELS}b}"[:levels])


@dataclass(frozen=True, slots=True)
class Interest:
    """Whom a peer hears: authors in its one or two ``zones``, the one of its own ``place`` first.

    ``swarm`` is a CID's bytes. In a small swarm the only zone is all of it.
    """

    swarm: bytes
    place: int
    zones: tuple[Zone, ...] = (Zone(),)
    _known: dict[bytes, bool] = field(
        default_factory=partial(BoundedDict, _LOOKED_UP), init=False, repr=False, compare=False
    )

    @classmethod
    def of(cls, swarm: bytes, author: bytes) -> Interest:
        """Return the interest of a peer that hears all."""
        return cls(swarm, place_of(swarm, author))

    @property
    def home(self) -> Zone:
        """Return the zone in which this peer is itself."""
        return self.zones[0]

    @property
    def is_whole(self) -> bool:
        """Return True if all are heard."""
        return not self.home.levels

    def admits(self, author: bytes) -> bool:
        """Return True if an author is heard, of whose key the beginning is enough."""
        if not self.home.levels:
            return True
        prefix = author[:PREFIX_BYTES]
        known = self._known.get(prefix)
        if known is None:
            place = place_of(self.swarm, prefix)
            known = self._known[prefix] = place in self.zones[0] or place in self.zones[-1]
        return known

    def is_near(self, author: bytes) -> bool:
        """Return True if an author is in the home zone: all who hear this peer there hear it, too."""
        return not self.home.levels or place_of(self.swarm, author[:PREFIX_BYTES]) in self.home

    def admits_name(self, peer: str) -> bool:
        """Return True if the peer of this name is heard, or if the name is none: of that, others decide."""
        try:
            return self.admits(author_of_name(peer))
        except EncodingError:
            return True


EVERYBODY = Interest(b"", 0)
