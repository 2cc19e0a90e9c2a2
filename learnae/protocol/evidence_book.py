"""Evidence that authors have signed two messages with one seq: kept for ever, and judged once both are here. Pure."""

from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import TypeVar

from learnae.ipld.cid import Cid
from learnae.protocol.bodies import Evidence
from learnae.protocol.limits import Limits
from learnae.protocol.messages import Message

T = TypeVar("T", bound=Hashable)
Signed = tuple[bytes, int]  # who signed a message, and with which seq


class EvidenceBook:
    """Keeps at most ``Limits.evidence`` a reporter. What it cannot judge yet is a trial, and its witnesses are missing.

    Trials are booked on who has reported them first: of too many, the last one of the reporter with most is dropped.
    ``signed`` tells author and seq of a message that is here, attached or not.
    """

    def __init__(self, limits: Limits, signed: Callable[[Cid], Signed | None]) -> None:
        self._limits = limits
        self._signed = signed
        self._kept: dict[bytes, dict[Cid, Evidence]] = {}  # by reporter
        self._true: dict[Evidence, int] = {}  # what is kept and has been shown to be true: with the seq that it proves
        self._ready: dict[Evidence, None] = {}  # trials whose witnesses have both been here
        self._trials: dict[Evidence, list[Signed | None]] = {}  # what is known of both witnesses
        self._reporters: dict[Evidence, bytes] = {}
        self._open: dict[bytes, dict[Evidence, None]] = {}  # trials by reporter
        self._witnesses: dict[Cid, dict[Evidence, None]] = {}  # trials by the messages that they name

    def __iter__(self) -> Iterator[Cid]:
        """Return the names of the messages that are kept."""
        for own in self._kept.values():
            yield from own

    def __contains__(self, cid: Cid) -> bool:
        return any(cid in own for own in self._kept.values())

    def has_of(self, reporter: bytes) -> bool:
        """Return True if something that ``reporter`` has said is kept."""
        return reporter in self._kept

    def trials(self) -> Iterator[Evidence]:
        """Return what cannot be judged yet."""
        return iter(list(self._trials))

    def is_witness(self, cid: Cid) -> bool:
        """Return True if a trial waits for the message."""
        return cid in self._witnesses

    def concerns(self, message: Message) -> bool:
        """Return True if the message is evidence, or a trial waits for it."""
        return message.cid in self._witnesses or isinstance(message.body, Evidence)

    def naming(self, cid: Cid) -> list[Evidence]:
        """Return the trials that wait for the message."""
        return list(self._witnesses.get(cid, ()))

    def missing(self) -> Iterator[tuple[Cid, bytes]]:
        """Return the witnesses that are not here, and who has reported what they are to prove."""
        for evidence, found in self._trials.items():
            reporter = self._reporters[evidence]
            yield from ((cid, reporter) for cid, one in zip(evidence.names, found, strict=True) if one is None)

    def keep(self, message: Message) -> Evidence | None:
        """Keep the evidence in a message, wherever it stands in its author's chain; return it if it is new."""
        if not isinstance(message.body, Evidence):
            return None
        own = self._kept.get(message.author, {})
        if message.cid in own or len(own) >= self._limits.evidence:
            return None
        self._kept.setdefault(message.author, {})[message.cid] = message.body
        return message.body

    def believe(self, evidence: Evidence, seq: int) -> None:
        """Note that evidence which is kept proves that its author has used ``seq`` twice."""
        self._true[evidence] = seq

    def is_full(self, reporter: bytes) -> bool:
        """Return True if nothing more of ``reporter`` would be kept."""
        return len(self._kept.get(reporter, ())) >= self._limits.evidence

    def proves(self, author: bytes, least: int) -> bool:
        """Return True if evidence that is kept, and true, convicts ``author`` at a seq from ``least`` on."""
        return any(seq >= least for evidence, seq in self._true.items() if evidence.author == author)

    def open(self, evidence: Evidence, reporter: bytes) -> list[Cid]:
        """Begin a trial, unless there is one already.

        Return the messages that are kept no more, where it is one too many.
        """
        if evidence in self._trials:
            return []
        self._trials[evidence] = [self._signed(evidence.first), self._signed(evidence.second)]
        self._reporters[evidence] = reporter
        self._note_ready(evidence)
        self._open.setdefault(reporter, {})[evidence] = None
        for cid in evidence.names:
            self._witnesses.setdefault(cid, {})[evidence] = None
        if len(self._trials) <= self._limits.trials:
            return []
        crowd: dict[Evidence, None] = max(self._open.values(), key=len)
        return self.drop(next(reversed(crowd)))

    def _close(self, evidence: Evidence) -> None:
        if self._trials.pop(evidence, None) is None:
            return
        reporter = self._reporters.pop(evidence)
        self._ready.pop(evidence, None)
        _take(self._open, reporter, evidence)
        for cid in evidence.names:
            _take(self._witnesses, cid, evidence)

    def testify(self, message: Message) -> None:
        """Take a message that some evidence names."""
        for evidence in self._witnesses.get(message.cid, ()):
            self._trials[evidence][int(message.cid == evidence.second)] = message.author, message.seq
            self._note_ready(evidence)

    def _note_ready(self, evidence: Evidence) -> None:
        if None not in self._trials[evidence]:
            self._ready[evidence] = None

    def judge(self) -> Iterator[tuple[Evidence, int | None]]:
        """End the trials whose witnesses have been here; give each with the seq that proves it, None if it is false."""
        for evidence in list(self._ready):
            first, second = self._trials[evidence]
            if first is not None and second is not None:
                self._close(evidence)
                seq = first[1] if first == second and first[0] == evidence.author else None
                if seq is not None:
                    self.believe(evidence, seq)
                yield evidence, seq

    def forget(self, author: bytes) -> Iterable[Cid]:
        """Keep nothing that ``author`` has reported, and try it no more; return the messages that were kept."""
        gone = self._kept.pop(author, {})
        reported = {evidence for own in self._kept.values() for evidence in own.values()}
        self._true = {evidence: seq for evidence, seq in self._true.items() if evidence in reported}
        for trial in self.trials():
            if trial.author == author or trial not in reported:
                self._close(trial)
        return gone

    def drop(self, evidence: Evidence) -> list[Cid]:
        """Keep false evidence no more: it would take the place of true evidence. Return the messages with it."""
        self._close(evidence)
        dropped = []
        for reporter, own in list(self._kept.items()):
            for cid in [cid for cid, each in own.items() if each == evidence]:
                del own[cid]
                dropped.append(cid)
            if not own:
                del self._kept[reporter]
        return dropped


def _take(groups: dict[T, dict[Evidence, None]], key: T, evidence: Evidence) -> None:
    """Take a trial out of its group, which goes with the last one."""
    group = groups.get(key, {})
    group.pop(evidence, None)
    if not group:
        groups.pop(key, None)
