"""When a peer releases a summary of its rows, and what: decided once, on the disk before anybody sees it.

The time tells nothing of the rows but what is paid for. The first release is due at the first of fixed times after
the start at which the number of rows, with noise, is at least a noisy floor: the sparse vector technique (Lyu, Su & Li
2017, algorithm 1), which costs a fixed part of epsilon however often it asks, as rows more or less move all its
counts one way. Later ones come by the clock alone.
"""

import logging
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from learnae.errors import LearnaeError, StateError
from learnae.ipld import dagcbor
from learnae.ipld.fields import Fields
from learnae.ports import StateStore
from learnae.privacy.noise.gaussian import Normals, fresh_normals
from learnae.privacy.policy import PrivacyPolicy
from learnae.protocol.bodies import Summary
from learnae.protocol.limits import Limits
from learnae.samples.dp_statistics import GATE, Statistics

CHECKS = 8640  # a horizon: how often it is asked whether there are enough rows
_VERSION = 1

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Released:
    """What is on the disk: the last ``summary`` (None before the first), ``number`` and ``time`` of its release.

    ``floor`` is the noisy floor of the first, drawn once, after the first start at ``began``; times are Unix
    milliseconds. ``is_closed`` says that nothing new is released any more: what was before is not known.
    """

    began: int
    floor: int
    number: int = 0
    time: int = 0
    summary: Summary | None = None
    is_closed: bool = False

    def to_bytes(self) -> bytes:
        """Return dag-cbor."""
        summary = self.summary.to_fields() if self.summary else None
        said = {"began": self.began, "floor": self.floor, "number": self.number, "time": self.time}
        return dagcbor.encode({"v": _VERSION, **said, "closed": self.is_closed, "summary": summary})

    @classmethod
    def from_bytes(cls, data: bytes, limits: Limits) -> "Released":
        """Read what ``to_bytes`` wrote; raises LearnaeError."""
        fields = Fields(dagcbor.decode(data), "summaries", StateError)
        if fields.integer("v") != _VERSION:
            raise StateError(f"a record of version {fields.integer('v')}", "use the learnae that wrote it")
        known = fields.value("summary")
        return cls(
            fields.integer("began"),
            fields.integer("floor", -(2**53)),
            fields.integer("number"),
            fields.integer("time"),
            Summary.from_fields(fields.fields("summary"), limits) if known is not None else None,
            fields.boolean("closed"),
        )


class Releasing:
    """Releases summaries of ``statistics``, as a swarm's ``privacy`` says, and remembers each in ``store``.

    ``rows`` counts the rows of which ``statistics`` would be. ``is_alone`` says whether this peer sends nothing
    else, ``is_barred`` whether nothing new may be released. ``rng`` and ``normals`` make the noise of counts, and of
    sums, repeatable in simulations.
    """

    def __init__(
        self,
        privacy: PrivacyPolicy,
        statistics: Callable[[], Statistics],
        rows: Callable[[], int],
        store: StateStore,
        is_alone: Callable[[], bool] = lambda: False,
        is_barred: Callable[[], bool] = lambda: False,
        overlap: int = 1,
        rng: random.Random | None = None,
        normals: Normals = fresh_normals,
    ) -> None:
        self._privacy = privacy
        self._statistics = statistics
        self._rows = rows
        self._store = store
        self.is_alone = is_alone
        self._is_barred = is_barred
        self._overlap = overlap
        self._source = rng or random.SystemRandom()
        self._normals = normals
        self._asked = -1  # the number of the last check: the first is made at the start
        self._record: Released | None = None

    @property
    def record(self) -> Released:
        """Return what is known; StateError before ``begin``."""
        if self._record is None:
            raise StateError("summaries have not begun", "call begin first")
        return self._record

    def begin(self, now: int, limits: Limits, is_back: bool) -> None:
        """Read what was released. Where nothing is known of a peer that ``is_back``, nothing is released any more."""
        data = self._store.load()
        if data is not None:
            try:
                self._record = Released.from_bytes(data, limits)
                return
            except LearnaeError as error:
                _log.warning("what was released of summaries cannot be read (%s): there will be no new one", error)
                is_back = True
        self._keep(Released(now, self._privacy.summary.rows + self._laplace(), is_closed=is_back))

    def doubt(self) -> None:
        """Release nothing new any more: this peer has said more than its disk knows of, as after an old backup."""
        if not self.record.is_closed:
            self._keep(replace(self.record, is_closed=True))

    def due(self, now: int, horizon: int, said: Summary | None) -> Summary | None:
        """Return the summary that others should have now; None before the first. A new one is on the disk by then.

        ``said`` is the last of this peer that is known of in the swarm. Raises NotWrittenError.
        """
        record = self.record
        if said is not None and said.release > record.number:
            self._keep(replace(record, number=said.release, summary=replace(said, peer=None), is_closed=True))
        elif self._may_release() and self._is_time(now, horizon):
            number = record.number + 1
            summary = self._statistics().release(number, self._privacy, self._overlap, self._normals)
            self._keep(replace(record, number=number, time=now, summary=summary))
            _log.info("summary %d: about %d rows, epsilon %g", number, summary.rows, summary.noise.epsilon)
        return self.record.summary

    def has_opened(self, now: int, horizon: int) -> bool:
        """Return True once there are rows enough for what is released in masked sums: found out as ``due`` does.

        Raises NotWrittenError.
        """
        if not self.record.number and self._may_release() and self._is_time(now, horizon):
            self._keep(replace(self.record, number=1, time=now))
        return bool(self.record.number) and not self.record.is_closed and not self._is_barred()

    def status(self) -> dict[str, Any]:
        """Return what people see of it: nothing that is not published."""
        record, policy = self.record, self._privacy.summary
        spent = policy.epsilon if record.number else 0.0
        return {"release": record.number, "of": policy.releases, "epsilon": spent, "closed": record.is_closed}

    def _may_release(self) -> bool:
        is_over = self.record.is_closed or self.record.number >= self._privacy.summary.releases
        return not is_over and not self._is_barred()

    def _is_time(self, now: int, horizon: int) -> bool:
        record = self.record
        if record.number:
            return now - record.time >= horizon
        check = (now - record.began) // max(horizon // CHECKS, 1)
        if check <= self._asked:
            return False
        self._asked = check
        return self._rows() + self._laplace() >= record.floor

    def _laplace(self) -> int:
        """Draw noise for the floor, or for a count: each costs half of the gate's epsilon."""
        scale = 2 * self._overlap / (self._privacy.summary.epsilon * GATE)
        return round(scale * (math.log(1 - self._source.random()) - math.log(1 - self._source.random())))

    def _keep(self, record: Released) -> None:
        self._store.save(record.to_bytes())
        self._record = record
