"""Which removal votes count when those who vote are voted on themselves. Pure (docs/protocol.md, Membership)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Peers = frozenset[bytes]


@dataclass(frozen=True, slots=True)
class Voice:
    """The record ``index``: a vote to remove the ``target``, or a leave, which stands ``alone``."""

    index: int
    voter: bytes
    target: bytes
    alone: bool


Voices = frozenset[Voice]


@dataclass(frozen=True, slots=True)
class Standing:
    """What is undone in a set of records: who was ``removed``, who is ``out``, and which operations are ``void``.

    Out are the removed and the ``unfounded``: let in by what does not count. Bit i of ``void`` is the i-th record.
    """

    removed: Peers = frozenset()
    unfounded: Peers = frozenset()
    out: Peers = frozenset()
    void: int = 0


@dataclass(frozen=True, slots=True)
class Claim:
    """What is known of a voice whatever else counts: who could vote on what, and who knew it in time.

    ``electorate`` are those who had been let in before it; ``seen_by`` are those with a record after it for which its
    voter was still in.
    """

    electorate: Peers
    seen_by: Peers


class Settling:
    """Settles which of ``voices`` count, as each may be undone by others.

    ``counting`` tells which voices count if all of a given set do: those whose voter is in, or was when its removal was
    voted, or that have a witness who is or was. The more voices are assumed, the fewer that are.
    """

    def __init__(
        self,
        voices: Sequence[Voice],
        counting: Callable[[Voices], Voices],
        removed: Callable[[Voices], Peers],
        claim: Callable[[Voice], Claim],
    ) -> None:
        self._voices = frozenset(voices)
        self._next = counting
        self._removed = removed
        self._claim = claim
        self._confirmed: Voices = frozenset()

    def result(self) -> Voices:
        """Return the voices that count.

        From both ends, all and none, the bounds close in on each other. Where they do not meet, votes stand against
        votes: those to remove the peers against whom most members stand are confirmed, and of several such peers those
        whose voters remove fewest. All of them where that is equal, too: two who remove each other both go.
        """
        while True:
            sure, possible = self._bounds()
            disputed = self._removed(possible) - self._removed(sure)
            if not disputed:
                return possible
            weights = self._weights(possible, disputed)
            most = max(weights.values())
            self._confirmed |= {voice for voice in possible if weights.get(voice.target) == most}

    def _bounds(self) -> tuple[Voices, Voices]:
        sure = self._counting(self._voices)
        while True:
            possible = self._counting(sure)
            more = self._counting(possible)
            if more == sure:
                return sure, possible
            sure = more

    def _counting(self, assumed: Voices) -> Voices:
        return self._next(assumed) | self._confirmed

    def _weights(self, voices: Voices, disputed: Peers) -> dict[bytes, tuple[int, int]]:
        claims = {voice: self._claim(voice) for voice in voices if voice.target in disputed}
        electorate = frozenset.intersection(*(claim.electorate for claim in claims.values()))
        supporters = defaultdict[bytes, set[bytes]](set)
        voters = defaultdict[bytes, set[bytes]](set)
        targets = defaultdict[bytes, set[bytes]](set)
        for voice, claim in claims.items():
            supporters[voice.target] |= {voice.voter, *claim.seen_by} & electorate
            voters[voice.target].add(voice.voter)
            targets[voice.voter].add(voice.target)
        return {
            peer: (len(supporters[peer]), -max(len(targets[voter]) for voter in voters[peer])) for peer in supporters
        }
