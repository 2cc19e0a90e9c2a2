"""One author's messages as one peer knows them: those since a checkpoint, and what is remembered of the rest."""

from dataclasses import dataclass, field

from learnae.ipld.cid import Cid
from learnae.protocol.bodies import Evidence

LEAST_GRACE = 10_000  # ms of the own uptime: a block that is on its way comes sooner


@dataclass(slots=True)
class Chain:
    """Holds the names of an author's attached messages by seq, and what must outlast them.

    Something of it is here ``since`` then (own uptime, ms). ``floor`` is the seq below which everything is forgotten.
    ``checkpoints`` gives, for each attached one, the own uptime (ms) at which it was first noticed, None before.
    ``conflicts`` are proofs of equivocation by seq; those below ``forked`` are excused, as the author has declared them
    itself, at ``forked_time`` (Unix ms).
    """

    author: bytes
    since: int = 0
    by_seq: dict[int, Cid] = field(default_factory=dict)
    checkpoints: dict[int, int | None] = field(default_factory=dict)
    newest: Cid | None = None
    floor: int = 0
    forked: int = 0
    forked_time: int = 0
    conflicts: dict[int, Evidence] = field(default_factory=dict)

    @property
    def is_banned(self) -> bool:
        """Return True if the author has equivocated without declaring it."""
        return bool(self.conflicts) and max(self.conflicts) >= self.forked

    @property
    def checkpoint(self) -> Cid | None:
        """Return the newest attached checkpoint."""
        return self.by_seq[max(self.checkpoints)] if self.checkpoints else None

    @property
    def root(self) -> int:
        """Return the seq of the newest attached checkpoint; nothing older needs to be asked for."""
        return max(self.checkpoints, default=self.floor)

    def declare(self, forked: int, time: int, horizon: int) -> None:
        """Take the author's word for a fork below ``forked``, said at ``time``: one in a ``horizon`` (ms).

        Every later checkpoint says it again; the earliest that is heard gives the time.
        """
        if forked > self.forked and (not self.forked or time - self.forked_time >= horizon):
            self.forked, self.forked_time = forked, time
        elif forked == self.forked:
            self.forked_time = min(self.forked_time, time)

    def mature(self, uptime: int, grace: int) -> None:
        """Raise ``floor`` to the newest checkpoint that was noticed a grace before ``uptime``.

        That is twice the time between the author's last two, at least LEAST_GRACE and at most ``grace`` (ms).
        """
        noticed: dict[int, int] = {}
        for seq, time in self.checkpoints.items():
            noticed[seq] = self.checkpoints[seq] = uptime if time is None else time
        if len(noticed) > 1:
            times = sorted(noticed.values())
            grace = min(grace, max(LEAST_GRACE, 2 * (times[-1] - times[-2])))
        for seq, since in noticed.items():
            if seq > self.floor and uptime - since >= grace:
                self.floor = seq

    def crowd(self, live: int, checkpoints: int) -> bool:
        """Raise ``floor`` where more than ``live`` messages, or so many checkpoints, are here, whatever their age.

        Return True if it was raised.
        """
        if len(self.checkpoints) <= checkpoints and len(self.by_seq) <= live:
            return False
        before, known = self.floor, sorted(self.checkpoints)
        if len(known) > checkpoints:
            self.floor = max(self.floor, known[-checkpoints])
        if len(self.by_seq) > live:
            least = sorted(self.by_seq)[-live]
            self.floor = max(self.floor, min((seq for seq in known if seq >= least), default=known[-1] if known else 0))
        return self.floor > before

    def drop(self, seq: int) -> Cid:
        """Forget the message with this ``seq``, and return its name."""
        cid = self.by_seq.pop(seq)
        self.checkpoints.pop(seq, None)
        if self.newest == cid:
            self.newest = self.by_seq[max(self.by_seq)] if self.by_seq else None
        return cid
