"""What was heard of masked sums: who is ready, vectors under masks, and what opens them. Pure; bounded.

A vector counts for the sum that its author says it is for, with the list of all members and keys: so a list that names
a wrong key for a member is never complete, as that member says nothing for it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from learnae.basics.bounded_dict import BoundedDict
from learnae.errors import MaskError, SealError
from learnae.ipld.cid import Cid
from learnae.privacy.masking.masks import Group, total
from learnae.privacy.masking.noise_share import Integers
from learnae.protocol.identity import agree, peer_name
from learnae.protocol.sum_bodies import VALUE_BYTES, MaskedVector, MaskOpen, MaskReady, SumBody

_MOST_READY = 1024
MOST_SUMS = 2  # that one author has brought up
_MOST_BRINGERS = 16
_PROBE = X25519PrivateKey.from_private_bytes(bytes(range(32)))  # of no secret: it shows that a key shares one


@dataclass(frozen=True, slots=True)
class Ready:
    """What an author would sum, and when (Unix milliseconds) it was heard ``since`` first, and ``last``."""

    body: MaskReady
    seq: int
    since: int
    last: int


@dataclass(slots=True)
class Sum:
    """What is known of one sum; ``vectors`` and ``seeds`` by author."""

    group: Group
    since: int
    vectors: dict[bytes, bytes] = field(default_factory=dict)
    seeds: dict[bytes, bytes] = field(default_factory=dict)

    @property
    def is_masked(self) -> bool:
        """Return True if all vectors are here."""
        return len(self.vectors) == len(self.group.authors)

    @property
    def is_open(self) -> bool:
        """Return True if all is here that the total follows from."""
        return self.is_masked and len(self.seeds) == len(self.group.authors)

    def total(self) -> Integers:
        """Return the total (values,); raises MaskError before all is open."""
        return total(self.group, self.vectors, self.seeds)


class Heard:
    """Takes in what members of ``swarm`` say of sums of so many ``values``, and refuses what does not fit."""

    def __init__(self, swarm: Cid, values: int) -> None:
        self.ready = BoundedDict[bytes, Ready](_MOST_READY)  # by author, the newest
        self.sums: dict[bytes, Sum] = {}
        self._swarm = swarm
        self._values = values
        self._brought = BoundedDict[bytes, list[bytes]](_MOST_BRINGERS)  # names of sums by who brought them up

    def note(self, author: bytes, seq: int, body: SumBody, now: int) -> None:
        """Take in what ``author`` has said at ``seq``, heard ``now`` (Unix ms); raises MaskError if it does not fit."""
        if isinstance(body, MaskReady):
            self._note_ready(author, seq, body, now)
        elif isinstance(body, MaskedVector):
            self._note_vector(author, body, now)
        else:
            self._note_open(author, body)

    def _note_ready(self, author: bytes, seq: int, body: MaskReady, now: int) -> None:
        self._check_length(author, body.values)
        known = self.ready.get(author)
        try:
            agree(_PROBE, body.key)
        except SealError as error:
            raise MaskError(
                f"{peer_name(author)[:8]} is ready with a key that shares no mask", error.problem
            ) from error
        if known is None or known.seq < seq:
            since = known.since if known and known.body == body else now
            self.ready.renew(author, Ready(body, seq, since, now))

    def _note_vector(self, author: bytes, body: MaskedVector, now: int) -> None:
        if author not in body.authors:
            raise MaskError(f"a masked vector by {peer_name(author)[:8]} for others", "members sum their own")
        self._check_length(author, len(body.vector) // VALUE_BYTES)
        group = Group(self._swarm, self._values, body.authors, body.keys)
        known = self.sums.get(group.name) or self._bring_up(author, Sum(group, now))
        if known.vectors.setdefault(author, body.vector) != body.vector:
            raise MaskError(f"{peer_name(author)[:8]} has said two vectors of one masked sum", "the first one counts")

    def _check_length(self, author: bytes, values: int) -> None:
        if values != self._values:
            raise MaskError(f"{peer_name(author)[:8]} would sum {values} values", f"this swarm sums {self._values}")

    def _note_open(self, author: bytes, body: MaskOpen) -> None:
        known = self.sums.get(body.name)
        if known is None or author not in known.vectors:
            raise MaskError(f"{peer_name(author)[:8]} opens a masked sum without a vector", "it is ignored")
        if known.seeds.setdefault(author, body.seed) != body.seed:
            raise MaskError(f"{peer_name(author)[:8]} has opened a masked sum in two ways", "the first one counts")

    def _bring_up(self, author: bytes, new: Sum) -> Sum:
        """Keep a sum that was not known; of one author's the last few, so that none crowds out another's."""
        self.sums[new.group.name] = new
        brought = self._brought.get(author, [])
        self._brought.renew(author, [*brought[-MOST_SUMS + 1 :], new.group.name])
        for name in brought[: -MOST_SUMS + 1]:
            self.sums.pop(name, None)
        kept = {name for names in self._brought.values() for name in names}
        for name in [name for name in self.sums if name not in kept]:
            del self.sums[name]
        return new

    def is_taken(self, author: bytes, key: bytes, cut: int) -> bool:
        """Return True if the ``author``'s key is used: it has said a vector with it, or was chosen after ``cut``."""
        return any(
            author in known.group.authors
            and known.group.keys[known.group.authors.index(author)] == key
            and (author in known.vectors or known.since > cut)
            for known in self.sums.values()
        )

    def forget(self, members: Iterable[bytes]) -> None:
        """Forget who is ready and no member any more."""
        members = set(members)
        for author in [author for author in self.ready if author not in members]:
            del self.ready[author]
