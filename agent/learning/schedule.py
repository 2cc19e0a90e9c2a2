"""When an agent does what: it collects once a second, and ticks and listens as its governor allows."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agent.ingestion.recorder import Recorder
from agent.labels import LabelNames
from agent.learning.collector import Collector, Judged
from agent.learning.governor import Governor, Usage
from agent.learning.inference import Inferrer, ResultFile
from agent.learning.resources import Board
from learnae.basics.overriding import override
from learnae.peer.peer import Peer, Tick
from learnae.peer.publishing_policy import PublishPolicy
from learnae.ports import Monitor
from learnae.runtime.peer_service import Schedule
from learnae.text import counted

if TYPE_CHECKING:
    from agent.sources.replay import ReplaySource

_LONGEST_WAIT = 1.0  # seconds between two ticks, and calls of the collector, however rarely the peer publishes


@dataclass(frozen=True, slots=True)
class Intake:
    """Turns readings into rows: the collector reads recordings, the recorder live sources, if there are any."""

    collector: Collector
    recorder: Recorder | None
    names: LabelNames
    recordings: "Mapping[str, ReplaySource]"

    def begin(self) -> None:
        """Read live sources from now on."""
        if self.recorder:
            self.recorder.start()

    def end(self) -> None:
        """Put on the disk what has been read."""
        if self.recorder:
            self.recorder.stop()

    def status(self) -> dict[str, Any]:
        """Return what the status shows."""
        recorded = self.recorder.status() if self.recorder else {}
        unknown = {"unknown_labels": self.names.unknown_names} if self.names.unknown else {}
        return {
            "samples": self.collector.samples,
            "unlabelled": self.collector.unlabelled,
            **unknown,
            **recorded,
        }

    def why_unmeasured(self, held_out_rows: int) -> str:
        """Return why the model cannot be measured on held-out rows yet, and until when; "" if it can."""
        collector = self.collector
        if held_out_rows:
            return ""
        if not collector.samples:
            return "no reading has come yet"
        if collector.manifest.needs_labels and collector.unlabelled and not collector.labelled:
            return f"{counted(collector.unlabelled, 'window')} and no label"
        now, holdouts = time.time(), self.recorder.holdout.values() if self.recorder else ()
        begins = [holdout.next_begin(now) for holdout in holdouts]
        begins += [now + recording.until_holdout() for recording in self.recordings.values()]
        begin = min(begins, default=math.inf)
        if math.isinf(begin):
            short = any(recording.holds_out for recording in self.recordings.values())
            return "what is held out has no window of its own" if short else "no rows are held out: source.holdout"
        if begin <= now:
            return "rows are being held out now"
        return f"no rows are held out before {time.strftime('%H:%M:%S', time.localtime(begin))}"


@dataclass(frozen=True, slots=True)
class Oracle:
    """Judges the newest windows: for this machine with its personal model, for others with the swarm's."""

    inferrer: Inferrer
    results: ResultFile
    monitor: Monitor

    def judge(self, peer: Peer, newest: Callable[[], Sequence[Judged]]) -> None:
        """Judge the ``newest`` windows, once the estimate is more than the random weights that every peer begins with.

        Until then they wait: a recording that is read at once has no others.
        """
        if not (peer.steps > 0 or peer.following.replicas):
            return
        if windows := newest():
            common, own = peer.estimate(), peer.own_estimate()
            self.monitor.infer(found := self.inferrer.infer(common, windows))
            self.results.append(found if own is common else self.inferrer.infer(own, windows, is_shown=False))


def tick_pause(policy: PublishPolicy) -> float:
    """Return the seconds between two ticks: an agent takes a few steps at each, and publishes at some."""
    return min(policy.every / 1000, _LONGEST_WAIT)


class AgentSchedule(Schedule):
    """Collects at least once a second, and lets the peer tick when the governor says that it is time.

    ``policy`` gives how often it publishes, as the configuration is now.
    """

    def __init__(
        self,
        peer: Peer,
        intake: Intake,
        oracle: Oracle,
        governor: Governor,
        board: Board,
        policy: Callable[[], PublishPolicy],
    ) -> None:
        super().__init__(peer, tick_pause(peer.cadence.policy))
        self._intake = intake
        self._oracle = oracle
        self._governor = governor
        self._board = board
        self._policy = policy

    def _usage(self) -> Usage:
        traffic = self.peer.traffic
        return self._board.usage(traffic.bytes_out + traffic.bytes_in)

    @override
    def collect(self) -> None:
        self._intake.collector.collect()
        self._oracle.judge(self.peer, self._intake.collector.newest)

    @override
    def tick(self) -> Tick | None:
        if not self._governor.may_tick(self._usage()):
            self._oracle.monitor.report(self.peer.status())
            return None
        try:
            return super().tick()
        finally:
            self._governor.end(self._usage())

    @override
    def listen(self) -> None:
        if self._governor.may_listen:
            super().listen()

    @override
    def reload(self) -> None:
        policy = self._policy()
        self.peer.cadence.policy = policy
        self._governor.change_pause(tick_pause(policy))
        self.pause = tick_pause(policy)

    @override
    def leave(self) -> None:
        self._intake.end()
