"""Every bound on what a peer can make others store, wait for or compute."""

from dataclasses import dataclass

MINUTE = 60_000  # milliseconds
HOUR = 60 * MINUTE
MAX_SEQ = 2**53  # of a message; larger ones are no exact numbers everywhere


@dataclass(frozen=True, slots=True)
class Limits:
    """The first three are a swarm's own (from its manifest), the rest are the protocol's.

    All times are milliseconds.
    """

    horizon: int = 24 * HOUR  # a peer that has been silent for so long, while others spoke, is forgotten
    skew: int = 5 * MINUTE  # clocks of boards without a battery, set once by NTP, differ by less
    interval: int = 20  # least time between two messages of one author: the rate limit

    grace: int = MINUTE  # of the own uptime, after which what a checkpoint replaces is forgotten
    since: int = 1024  # messages of one author after its checkpoint
    live: int = 2048  # messages of one author: all after two checkpoints
    checkpoints: int = 64  # of one author: an honest one makes six a second at most, and they mature in ten
    authors: int = 1024  # more than members share a secret
    evidence: int = 64  # messages of one author that are kept for ever
    trials: int = 256  # pieces of evidence that cannot be judged yet
    message_bytes: int = 64 * 1024
    parents: int = 3  # the author's previous message and up to two of others
    blocks: int = 1024  # links of 41 bytes: what fits into one message
    merged: int = 64  # as many as a trainer follows
    entries: int = 64  # authors in one announcement, as many as a trainer follows; the rest is said next time
    kept: int = 16  # messages kept for ever that are named in one announcement
    pending_messages: int = 4096
    pending_bytes: int = 4 << 20
    wanted: int = 4096  # CIDs asked for and not here yet
    refused: int = 4096  # CIDs remembered as bad, so that they are not fetched again
