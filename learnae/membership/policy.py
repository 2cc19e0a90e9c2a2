"""How a swarm lets others in, as its manifest says it: by invite, or by members who vouch. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from learnae.errors import EncodingError, ManifestError
from learnae.ipld.fields import Fields
from learnae.protocol.identity import PUBLIC_KEY_BYTES, author_of_name, peer_name
from learnae.text import counted

INVITE, VOUCHED = "invite", "vouched"
KINDS = (INVITE, VOUCHED)
MOST_FOUNDERS = 64
MOST_VOTES = 64
_TEXT_CHARACTERS = 104
_USUAL_VOTES = 3  # at most, unless the manifest is made with more


@dataclass(frozen=True, slots=True)
class Founder:
    """A member from the beginning: its Ed25519 key, and the X25519 key that secrets are sealed to."""

    key: bytes
    x25519: bytes

    def to_text(self) -> str:
        """Return both keys as ``of_text`` reads them: 104 characters."""
        return peer_name(self.key) + peer_name(self.x25519)

    @classmethod
    def of_text(cls, text: str) -> Founder:
        """Read what ``learnae key`` prints; raises ManifestError.

        >>> Founder.of_text(Founder(bytes(32), bytes(31) + b"a").to_text()).x25519[-1:]
        b'a'
        """
        half = _TEXT_CHARACTERS // 2
        try:
            if len(text) != _TEXT_CHARACTERS:
                raise EncodingError(f"{len(text)} characters", f"a founder has {_TEXT_CHARACTERS}")
            return cls(author_of_name(text[:half]), author_of_name(text[half:]))
        except EncodingError as error:
            remedy = f"give the {_TEXT_CHARACTERS} characters that learnae key prints on its machine"
            raise ManifestError(f"no founder: {text[:16]!r}, {error.problem}", remedy) from error


@dataclass(frozen=True, slots=True)
class MembershipPolicy:
    """Who is in a swarm that is not open: ``founders``, and others by ``kind``; ``votes`` of members remove one.

    Where members vouch, as many votes admit one. Raises ManifestError.

    >>> owner = Founder(bytes(32), bytes(32))
    >>> MembershipPolicy.of("invite", [owner]).votes
    1
    """

    kind: str
    founders: tuple[Founder, ...]
    votes: int

    def __post_init__(self) -> None:
        keys = [founder.key for founder in self.founders]
        if not 1 <= len(keys) <= MOST_FOUNDERS or sorted(set(keys)) != keys:
            raise ManifestError(
                f"{counted(len(keys), 'founder')} of a swarm",
                f"name 1 to {MOST_FOUNDERS} different keys, sorted",
            )
        if not 1 <= self.votes <= MOST_VOTES:
            raise ManifestError(f"{self.votes} votes remove a member", f"use 1 to {MOST_VOTES}")
        if self.kind == VOUCHED and self.votes > len(keys):
            raise ManifestError(
                f"{self.votes} votes admit a member, and {counted(len(keys), 'founder')} can vote",
                f"use at most {len(keys)}: no other would ever get in",
            )

    @classmethod
    def of(cls, kind: str, founders: list[Founder], votes: int = 0) -> MembershipPolicy:
        """Return the policy of a new swarm; without ``votes``, half of the founders are asked, at most three."""
        ordered = tuple(sorted(founders, key=lambda founder: founder.key))
        return cls(kind, ordered, votes or min(_USUAL_VOTES, (len(ordered) + 1) // 2))

    def to_fields(self) -> dict[str, Any]:
        """Return the map that goes into the manifest."""
        founders = [{"key": founder.key, "x25519": founder.x25519} for founder in self.founders]
        return {"kind": self.kind, "founders": founders, "votes": self.votes}

    @classmethod
    def from_fields(cls, fields: Fields) -> MembershipPolicy:
        """Read what a manifest says; raises ManifestError."""
        founders = tuple(
            Founder(each.octets("key", PUBLIC_KEY_BYTES), each.octets("x25519", PUBLIC_KEY_BYTES))
            for each in fields.maps("founders", MOST_FOUNDERS)
        )
        return cls(fields.choice("kind", KINDS), founders, fields.integer("votes", 1, MOST_VOTES))
