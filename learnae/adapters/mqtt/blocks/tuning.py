"""The times and bounds of the exchange over MQTT in one place."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tuning:
    """Waits in seconds, sizes in bytes. Peers with different values understand each other."""

    grace: tuple[float, float] = (0.5, 1.0)  # in which a push may arrive before a block is asked for, drawn at random
    ask: float = 1.0  # until a block is asked for again
    asks: int = 3
    slow: float = 10.0  # for an answer that a holder has claimed: a large block on a slow line
    offer: float = 10.0  # until the broker must have acknowledged a push
    push_bytes: int = 4 << 20  # a larger frame is only sent to peers that ask
    lease: float = 600.0  # after which frames of an author are no longer heard unless one is wanted again
    authors: int = 64  # with a lease at one time: as many as a trainer follows
    unasked_bytes: int = 64 << 20  # that pushes of strangers may put on the disk at once …
    unasked_rate: float = 128 << 10  # … and a second
    claim: float = 1.0  # for which holders leave an answer to the one that claimed it
    inbox_messages: int = 256  # that wait; a flood beyond that is dropped, and asked for again if it was worth it
    inbox_bytes: int = 8 << 20


DEFAULTS = Tuning()
