"""Every bound on what a peer can make others store, wait for or compute."""

from dataclasses import dataclass

MINUTE = 60_000  # milliseconds
HOUR = 60 * MINUTE


@dataclass(frozen=True, slots=True)
class Limits:
    """The first three are a swarm's own (from its manifest), the rest are the protocol's.

    All times are milliseconds.
    """

    horizon: int = 24 * HOUR  # older history is pruned; must cover a peer's usual absence
    skew: int = 5 * MINUTE  # clocks of boards without a battery, set once by NTP, differ by less
    interval: int = 20  # least time between two messages of one author: the rate limit

    message_bytes: int = 64 * 1024
    parents: int = 3  # the author's previous message and up to two tips
    blocks: int = 1024  # links of 41 bytes: what fits into one message
    merged: int = 64  # as many as a trainer follows
    heads: int = 64  # announced at once; the rest is said next time
    pending_messages: int = 4096
    pending_bytes: int = 8 << 20
    wanted: int = 4096  # CIDs asked for and not here yet
    refused: int = 4096  # CIDs remembered as bad, so that they are not fetched again
