"""The peer: it hears at each tick; a cycle of ticks is merge, train, publish. Speaks only to ports; knows no role."""

import logging
import os
import random
from collections.abc import Callable, Generator, Iterable, Mapping, MutableMapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

import learnae
from learnae.basics.error_log import ErrorLog
from learnae.errors import EquivocationError, MaskError, NotWrittenError, StateError
from learnae.ipld.cid import Cid
from learnae.membership.gate import MEMBER, Gate
from learnae.membership.sealing import NO_SECRETS, Seals, Secrets
from learnae.models.dataset import Rows
from learnae.peer.archive import Archive
from learnae.peer.catching_up import CatchUp, Progress
from learnae.peer.contributions.rating import Rating, why_unrated
from learnae.peer.following import Decoder, Following
from learnae.peer.forgetting import Forgetting
from learnae.peer.frame_encoder import FrameEncoder
from learnae.peer.learning.founding import Founding
from learnae.peer.learning.growth import is_by_heart
from learnae.peer.learning.guard import Suspicion
from learnae.peer.learning.jury import OwnLoss, jury_of
from learnae.peer.learning.merging import Merging
from learnae.peer.learning.settling import Settled, Settling
from learnae.peer.learning.training import ENDLESS, PRIVATE_STEPS, Training
from learnae.peer.learning.trajectory import Trajectory
from learnae.peer.members.accusing import Accuser
from learnae.peer.members.hearing import Hearing
from learnae.peer.members.records_here import open_gate
from learnae.peer.own_chain import OwnChain
from learnae.peer.publisher import Publisher
from learnae.peer.publishing_policy import Cadence, PublishPolicy
from learnae.peer.replication import Opener, Replicator
from learnae.peer.summaries.lessons import Lessons
from learnae.peer.summaries.releasing import Releasing
from learnae.peer.swarm_view import SwarmView
from learnae.ports import BlockStore, Clock, Gossip, Keep, Learner, Monitor, StateStore, Traffic, Trained, in_memory
from learnae.privacy.clipping import UpdateClip
from learnae.privacy.floors import Floors, ReleaseFloor
from learnae.privacy.policy import MASKED
from learnae.privacy.spent import PrivacySpent
from learnae.protocol.bodies import Profile, Summary, Update
from learnae.protocol.identity import Identity, peer_name
from learnae.protocol.messages import Message, open_message
from learnae.protocol.neighbourhood.attention import WHOLE, Attention
from learnae.protocol.tangle import Node, Tangle
from learnae.samples.dp_statistics import layout_of
from learnae.swarm.initial_weights import starting_weights
from learnae.swarm.manifest import OPEN, Manifest
from learnae.weights.codecs import Vector
from learnae.weights.frames import decode_frame

if TYPE_CHECKING:
    from learnae.peer.learning.personal import Personal
    from learnae.peer.masking.sums import MaskedSums, Source
    from learnae.peer.members.steward import Steward

T = TypeVar("T")
Turn = Generator[int, None, T]  # see Peer.turn
_CHECKPOINTS_PER_HORIZON = 3  # of a peer that has nothing to say: others never forget it
_SHOW_MS = 500  # between two announcements of the same, while a cycle goes on
_SAID_PER_HORIZON = 2880  # the same summary, at most, where no one is new: each half-minute of a day
_SETTLED_SHOW_MS = 10_000  # of a settled peer: a lost one is healed so late

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Ports:
    """Everything outside that a peer uses."""

    store: BlockStore
    gossip: Gossip
    learner: Learner
    state: StateStore
    monitor: Monitor
    clock: Clock
    keep: Keep = in_memory  # for what is only looked at when there are updates


@dataclass(frozen=True, slots=True)
class Options:
    """How one peer differs from another, as its role decides; all have the same rights.

    ``follow`` bounds the replicas that it keeps (Following); ``seed`` makes its choices repeatable; ``steps`` optimiser
    steps are taken between two merges, 0 for as many as the manifest says, few with noise; ``first_steps`` in the first
    cycles, which then grow, 0 for as many as in any (Training). ``publish`` says
    when what they change is published; after ``patience`` updates without a gain the peer settles, 0 for never, until
    there are more ``rows`` to train on, or others have news (Settling). ``chance`` gives the loss of knowing nothing of
    them but how often classes are, 0 where there is none. One that ``rests`` begins a cycle of so many
    steps as late as it may: what is merged first, and trained on, is then as new as it can be when others get it. Where
    updates are differentially private, ``privacy`` gives what is spent: an update then says nothing else of rows, and
    the time alone decides when there is one. ``recall`` takes the number of releases that own messages tell of, which
    the own disk may have forgotten. ``facts`` gives what only the role knows, such as the device that trains: shown in
    the status as it is.
    ``summaries`` releases what this peer tells of its rows, ``lessons`` takes in what others tell of theirs; None for
    nothing. Replicas may be judged on rows ``held_out``, or by a ``loss``. ``addend`` gives at a time (Unix ms) what it
    adds to masked sums, where the manifest has these. What others contribute is measured by lessons, and kept in
    ``contributions``; None for not at all. One that ``is_archive`` fetches and keeps everything. ``floors``
    say which updates are held back; ``update_clip`` bounds each as a whole, where learners cannot clip rows.
    ``suspicion`` says what is wrong with weights that are to be trained on (Guard). ``personal`` is the model that
    serves this machine alone; None for the common one. While it not ``may_merge``, the weights are being trained on
    elsewhere. Up to so many live authors as it ``hears`` all are heard, 0 for 64, or as many as are followed; beyond,
    zones, of so many ``levels`` at first, where the swarm is known to be a large one.
    """

    name: str
    role: str
    follow: int
    seed: int | None = None
    steps: int = 0
    first_steps: int = 0
    publish: PublishPolicy = PublishPolicy()
    patience: int = 0
    rows: Callable[[], int] = lambda: 0
    chance: Callable[[], float] = lambda: 0.0
    facts: Callable[[], Mapping[str, Any]] = dict
    summaries: Releasing | None = None
    lessons: Lessons | None = None
    held_out: Rows | None = None
    addend: "Callable[[int], Source | None]" = lambda _: None
    privacy: Callable[[], PrivacySpent | None] = lambda: None
    recall: Callable[[int], None] = lambda _: None
    is_archive: bool = False
    rests: bool = False
    update_clip: UpdateClip | None = None
    floors: ReleaseFloor = field(default_factory=ReleaseFloor)
    suspicion: Suspicion | None = None
    personal: "Personal | None" = None
    loss: OwnLoss | None = None
    may_merge: Callable[[], bool] = lambda: True
    contributions: StateStore | None = None
    levels: int = 0
    hears: int = 0


@dataclass(frozen=True, slots=True)
class Tick:
    """What one tick did: messages attached, replicas merged, training, and the name of the update or summary."""

    heard: int
    merged: int
    trained: Trained
    published: Cid | None


@dataclass(eq=False)
class Peer:
    """Takes part in a swarm: decides at each tick what its parts do. ``compose_peer`` makes it and its parts."""

    manifest: Manifest
    ports: Ports
    options: Options
    errors: ErrorLog
    traffic: Traffic
    replication: Replicator
    following: Following
    own: OwnChain
    catching_up: CatchUp
    frames: FrameEncoder
    merging: Merging
    training: Training
    view: SwarmView
    publisher: Publisher
    forgetting: Forgetting
    cadence: Cadence
    settling: Settling
    founding: Founding
    archive: Archive | None
    accuser: Accuser
    steward: "Steward | None"  # None in an open swarm
    sums: "MaskedSums | None" = None  # where summaries are masked
    rating: Rating | None = None  # where others' contributions can be told
    hearing: Hearing | None = None  # None where all are heard, however many

    def __post_init__(self) -> None:
        self.author = self.own.author
        self.swarm = self.manifest.swarm
        self._swarm_name = str(self.swarm)
        self.tangle = self.replication.tangle
        self.has_start = False
        self.is_private = self.options.privacy() is not None
        self._shown: int | None = None  # uptime of the last announcement
        self.unmerged: dict[str, Any] = {}
        self._held_back = ""  # why no update was published though one was due
        self._told: frozenset[bytes] = frozenset()  # the authors that were here when the summary was said last

    def start(self, is_back: bool, is_first: bool = False) -> None:
        """Go on from the saved state; without one, ``is_back`` says that this key has spoken here before.

        ``is_first`` says that no other peer of the swarm can have spoken. Called once, before the first tick. Raises
        StateError.
        """
        self._find_start()
        has_state = self.publisher.restore()
        if self.is_private and has_state:
            self._check_paid()
        if self.rating:
            self.rating.begin()
        self.options.floors.begin()
        self.founding.is_first = is_first
        if self.frames.own_vote is not None:  # it has published before
            self.options.floors.note_merged()
        if self.frames.own_vote and self.frames.own_vote.settled:
            self.settling.settle(self.frames.own_vote.time)
        if self.options.summaries:
            self.options.summaries.begin(self.ports.clock.now(), self.manifest.limits, has_state or is_back)
            if self.sums and not has_state and self.options.summaries.record.number:
                self.options.summaries.doubt()  # which vectors are out is in the state that is lost
        spoken = self.own.last.time if self.own.last else None
        self.catching_up.start(spoken, is_new=not (has_state or is_back), is_first=is_first)

    @property
    def steps(self) -> int:
        """Return how many optimiser steps this peer has taken in all."""
        return self.training.steps

    # -- the tick

    def tick(self) -> Tick:
        """Hear; merge if a cycle begins; train; publish what is due, which ends the cycle. Return soon."""
        turn = self.turn()
        while True:
            try:
                next(turn)
            except StopIteration as end:
                done: Tick = end.value
                return done

    def turn(self) -> "Turn[Tick]":
        """Do what ``tick`` does, with a stop before training that yields how many steps the learner is to take.

        Where many peers share a process their learners may be prepared for these steps together.
        """
        heard = self.hear() + self._serve()
        try:
            may_begin = self._may_begin()
        except NotWrittenError:
            yield from self._bide(heard)  # what is saved cannot be shown
            raise
        if self.own.has_forked and not self.own.may_declare:  # no other peer takes in what it says
            raise EquivocationError
        if not may_begin:
            return (yield from self._bide(heard))
        self._introduce()
        self._accuse()
        if self.options.floors.waits_for_others and self.founding.is_over(bool(self.following.replicas)):
            self.options.floors.note_merged()
        is_resting = self._rest() > 0
        merged, trained, published = 0, Trained(0, 0, 0.0), None
        if not is_resting:
            merged, trained, published = yield from self._advance_cycle()
        summarised = self._summarise()
        self._rate()
        self._sum()  # last, so that no checkpoint replaces it before it is announced
        self._show(bool(heard or (self.training.taken == 0 and not is_resting)))
        self.forgetting.forget(self.own.last.cid if self.own.last else None)
        self.view.forget_absent(self.tangle)
        if self.options.personal and self.steps:
            self.options.personal.advance(self.estimate())
        return Tick(heard, merged, trained, published or summarised)

    def _advance_cycle(self) -> "Turn[tuple[int, Trained, Cid | None]]":
        merged = self._merge() if self.training.taken == 0 else 0  # it replaces what is not published
        self.cadence.is_hurried = self.training.is_early
        begun = self.ports.clock.uptime()
        trained = yield from self._train()
        if trained.steps and self.training.taken == trained.steps:
            self.cadence.begin(begun)
        if trained.steps and self.training.is_done:
            self.cadence.note_done(self.ports.clock.uptime())
            if self.training.between_merges == ENDLESS and self.cadence.is_full:
                self.training.stop_growing()
        published = self._end_cycle() if self.training.taken else self._go_without_training(merged)
        return merged, trained, published

    def _rest(self) -> float:
        """Return the milliseconds until a cycle is to begin; 0 within one, and where none has an end."""
        training = self.training
        is_free = self.is_private or self.settling.since is not None or training.goal == ENDLESS
        if not self.options.rests or training.taken or is_free:
            return 0.0
        return self.cadence.rest(self.ports.clock.uptime())

    def spare(self) -> float:
        """Return the milliseconds in which a tick has nothing to do but to hear, as far as is known; 0 for none."""
        if self.training.taken:
            return self.cadence.wait(self.ports.clock.uptime()) if self.training.is_done else 0.0
        return self._rest()

    def hear(self) -> int:
        """Take in messages, records and frames; return how many messages were attached, and records taken in."""
        records = self.replication.records
        outcome = self.replication.hear()
        self.forgetting.let_go(self.own.last.cid if self.own.last else None)
        self.view.note(outcome)
        if self.sums:
            self.sums.take(outcome.attached, self.ports.clock.now())
        elif self.options.lessons and self.view.has_new_summaries:
            self.view.has_new_summaries = False
            self.options.lessons.note(self.view.believed())
        if self.rating:
            self.rating.note(outcome.attached, self.following.news)
        if self.archive:
            self.archive.collect(outcome.attached, self.ports.clock.uptime())
        self.following.advance(self.ports.clock.now())
        if self.hearing:
            self.hearing.look()
        return len(outcome.attached) + self.replication.records - records

    def _serve(self) -> int:
        """Do for others what a member does; return how many records were published."""
        try:
            return self.steward.act() if self.steward else 0
        except NotWrittenError as error:
            self.errors.count(error)
            return 0

    def listen(self) -> int:
        """Hear between two ticks, and pass on what is new; return what ``hear`` does.

        What is heard between ticks is a tick younger when it is merged, at every hop.
        """
        heard = self.hear()
        if heard:
            self._announce()
        return heard

    def endure(self, error: NotWrittenError) -> None:
        """Show that the disk took nothing: nothing is published until it does."""
        self.publisher.fail(error)
        self.ports.monitor.report(self.status())

    def estimate(self) -> Vector:
        """Return the consensus estimate (count,): what is used, shown and exported as the swarm's model."""
        return self.merging.estimate

    def own_estimate(self) -> Vector:
        """Return the weights (count,) that serve this machine best: the consensus estimate, or the personal model."""
        personal = self.options.personal
        return personal.vector(self.estimate()) if personal else self.estimate()

    def save(self) -> None:
        """Save weights and optimiser too, as before a planned stop; raises NotWrittenError."""
        if self.own.last is not None:
            self.publisher.save(self.own.last)
        if self.rating and not self.rating.is_saved:
            self.rating.save()

    def leave_out(self, authors: Iterable[bytes]) -> None:
        """Merge nothing of these authors, and of no others, from now on; their messages are passed on all the same."""
        self.view.leave_out(frozenset(authors).difference([self.author]))

    def go_back(self, vector: Vector, held: frozenset[bytes]) -> None:
        """Go on from weights (count,) of earlier, which those of ``held`` authors have gone into.

        The optimiser begins anew; steps, and what they have cost, stay counted. The next update is a checkpoint. Raises
        NotWrittenError.
        """
        now = self.ports.clock.now()
        self.merging.go_back(vector, held, now)
        self.frames.go_back(vector)
        self.training.taken = 0
        self.settling.wake()
        self.training.evaluate(self.merging.estimate)
        self.save()

    # -- before the first message

    def _may_begin(self) -> bool:
        """Return True if this peer may speak: it knows where all start, what they know, and its own last message."""
        if not self.has_start and not self._find_start():
            return False
        if self.steward and self.steward.standing != MEMBER:
            return False
        before = self.own.last
        is_silent = self.catching_up.must_stay_silent(before is not None)
        if is_silent or not self.replication.seals.may_speak or not self.own.catch_up(self.ports.store):
            return False
        if self.catching_up.is_new:
            self.catching_up.is_new = False
            if self.merging.adopt(self.ports.clock.now()):
                self.options.floors.note_merged()
        if self.own.last is not before:
            self.frames.forget()
            if self.options.summaries:
                self.options.summaries.doubt()
        self.view.note(self.own.show_again())
        return True

    def _bide(self, heard: int) -> "Turn[Tick]":
        """Learn while nothing may or can be published; a newcomer's own weights are replaced, so it waits.

        A step with noise is paid for, published or not, and what this peer has said may tell of more than it knows of.
        """
        merged, trained = 0, Trained(0, 0, 0.0)
        if self.has_start and not self.catching_up.is_new:
            merged = self._merge()
            if merged:
                self.merging.believe(None, self.ports.clock.now())
            if not self.is_private:
                trained = yield from self._train()
            self.training.taken = 0
        if self._show(bool(heard)) and trained.steps and self.catching_up.since is not None:  # that may take minutes
            self.save()
        return Tick(heard, merged, trained, None)

    def _show(self, has_news: bool) -> bool:
        """Announce what is known and report the status: at once if it ``has_news``, else once in a while."""
        uptime, is_settled = self.ports.clock.uptime(), self.settling.since is not None
        least = _SETTLED_SHOW_MS if is_settled else 0 if has_news else _SHOW_MS
        if self._shown is not None and uptime - self._shown < least:
            return False
        self._shown = uptime
        self._announce()
        self.ports.monitor.report(self.status())
        return True

    def _announce(self) -> None:
        self.replication.announce(self.following.followed())

    def _find_start(self) -> bool:
        """Begin with the swarm's starting weights; return False while they are still on their way."""
        start = starting_weights(self.manifest, self.ports.store)
        if start is None:
            return False
        self.has_start = True
        self.merging.begin(start)
        return True

    def _check_paid(self) -> None:
        """Raise StateError if a private peer's saved weights hold steps that no row has paid for."""
        last = self.own.last.body if self.own.last else None
        if isinstance(last, Update) and last.privacy:  # they were paid for, and the file that says so may be lost
            self.view.released = max(self.view.released, self.steps)
        self.options.recall(self.view.released)
        spent = self.options.privacy()
        if spent and spent.releases < self.steps:
            raise StateError(
                f"this peer has taken {self.steps:,} steps, and only {spent.releases:,} with noise",
                "join under another --name: differential privacy begins with weights that know none of the rows",
            )

    # -- what to learn

    def _merge(self) -> int:
        if not self.options.may_merge():
            return 0
        merged = self.merging.merge(self.ports.clock.now(), self._knows_by_heart)
        if merged:
            self.options.floors.note_merged()
        return merged

    def _knows_by_heart(self) -> bool:
        """Return True if training on would change nothing of what was learnt; steps that are paid for are kept."""
        learns = not self.is_private and not self.manifest.is_own_loop and self.settling.since is None
        return learns and is_by_heart(self.training.loss, self.options.chance())

    def _train(self) -> "Turn[Trained]":
        """Train, unless this peer has settled and nothing is new; where steps are paid for, none that is held back."""
        if self.is_private:
            if self.options.floors.waits_for_others:
                return Trained(0, 0, 0.0)
            self.options.recall(self.view.released)
        if self.settling.since is not None:
            why = self.settling.why_wake(
                self.options.rows(), self.following.others(self.ports.clock.now()), self.merging.estimate
            )
            if not why:
                return Trained(0, 0, 0.0)
            _log.info("learning again: %s", why)
            self.settling.wake()
        yield self.training.due()
        return self.training.train()

    def _end_cycle(self) -> Cid | None:
        """End the cycle if that is due, and publish what it changed if that is worth it."""
        uptime, before, published = self.ports.clock.uptime(), self.traffic.bytes_out, None
        if not (self.training.is_done and self.cadence.is_due(uptime)):
            return None
        is_last = self.settling.is_due
        self._held_back = self.options.floors.why_held_back()
        self.training.end_cycle()  # also if the disk takes nothing: it trains on
        if self._held_back:
            return self._hold_back(uptime, is_last)
        if is_last and self.settling.best is not None:
            self.training.learner.load(self.settling.best)
        if is_last or self._must_renew() or self._is_worth():
            whole, self.frames.room = is_last or self._is_new_epoch(), self.cadence.policy.room
            published = self.publisher.publish_update(self.training.rows, whole=whole, settled=is_last)
            if published:
                self.options.floors.begin()
        else:  # what others have learnt since is believed all the same
            self.merging.believe(self.frames.own_vote, self.ports.clock.now())
            self.training.evaluate(self.merging.estimate)
        self.cadence.end(uptime, self.traffic.bytes_out - before)
        self._note_gain()
        if is_last and published:
            self._settle()
        return published

    def _is_worth(self) -> bool:
        """Return True if what was learnt is worth its bytes; a private peer asks no row."""
        return self.is_private or self.cadence.is_worth(self.frames.change(self.training.learner.weights()))

    def _hold_back(self, uptime: int, is_last: bool) -> Cid | None:
        """End a cycle of which nothing may be published: what it learnt serves this machine alone."""
        published, now = self._renew() if self._must_renew() else None, self.ports.clock.now()
        self.merging.believe_own(self.training.rows, now)
        self.training.evaluate(self.merging.estimate)
        self.cadence.end(uptime, 0)
        self._note_gain()
        self.settling.forget_best()  # it would be published
        if is_last and self.options.floors.lacks_rows():
            self._settle()
        return published

    def _note_gain(self) -> None:
        training = self.training
        self.settling.note(training.metrics, training.loss, self.merging.estimate, training.learner.evaluate)

    def _settle(self) -> None:
        now = self.ports.clock.now()
        authors = frozenset(self.following.others(now))
        self.settling.settle(now, Settled(self.options.rows(), authors, self.merging.estimate))
        _log.info("nothing was gained in %d updates: quiet until there is something new", self.settling.patience)

    # -- what to publish

    def _introduce(self) -> None:
        """Publish the own name before anything else; the next checkpoints repeat it."""
        if self.own.last is None:
            self.publisher.introduce()

    def _accuse(self) -> None:
        """Publish evidence where it is this peer's turn."""
        for evidence in self.accuser.due(self.following.live(self.ports.clock.now()), self.view.summaries):
            if self.own.needs_checkpoint or not self.own.may_speak():  # nothing else would be attached
                return
            self.publisher.accuse(evidence)

    def _rate(self) -> None:
        """Measure others' contributions now and then, and say what is due of that; nothing hangs on it."""
        rating, own, clock = self.rating, self.frames.own_vote, self.ports.clock
        if rating is None:
            return
        try:
            if own is not None:
                rating.measure(own, self.following.replicas, clock.now(), clock.uptime)
            rating.keep(self._raters(rating.book.raters, rating.book.heard), clock.uptime())
            may_speak = not (self.own.needs_checkpoint or self._is_new_epoch()) and self.own.may_speak()
            body = rating.due(clock.now()) if may_speak else None
        except NotWrittenError as error:
            self.errors.count(error)
            return
        if body is not None:
            self.publisher.say(body)

    def _raters(self, before: Iterable[bytes], heard: Iterable[bytes]) -> list[bytes]:
        """Return whose word counts: members'; where keys cost nothing, theirs who were followed last."""
        if not self.replication.gate.is_open:
            found = [author for author in heard if self.replication.gate.admits(author)]
        else:
            found = list(dict.fromkeys([*self.following.replicas, *before]))[: self.options.follow]
        return [author for author in found if self.following.is_heard(author)]

    def _sum(self) -> None:
        """Say what is due of masked sums; none of it is a checkpoint."""
        ledger = self.replication.gate.ledger
        if self.sums is None or ledger is None or self.own.needs_checkpoint or not self.own.may_speak():
            return
        members, now = ledger.roster().members, self.ports.clock.now()
        try:
            self.sums.act(now, members, self.view.checkpointed, self.publisher.say)
        except MaskError as error:
            self.errors.count(error)
        totals = self.sums.take_totals() if self.options.lessons else None
        if totals is not None and self.options.lessons:
            self.options.lessons.note_totals([(total.values, len(total.authors)) for total in totals])

    def _go_without_training(self, merged: int) -> Cid | None:
        if merged:
            now = self.ports.clock.now()
            self.merging.believe(self.frames.own_vote if self.settling.since is not None else None, now)
        if not self.own.may_speak():
            return None
        return self._renew() if self._must_renew() else None

    def _summarise(self) -> Cid | None:
        """Let others have the summary of the own rows: again after a checkpoint, as newcomers do not see the last.

        It is said soon where there are newcomers, else seldom.
        """
        summaries, last = self.options.summaries, self.view.summary
        if summaries is None or self.sums or not self.own.may_speak():  # no summary is seen where they are masked
            return None
        said = last.body if last and isinstance(last.body, Summary) else None
        summary = summaries.due(self.ports.clock.now(), self.manifest.limits.horizon, said)
        if summary is None:
            return None
        is_alone = summaries.is_alone()
        if last and said and said.release == summary.release and self._is_known(last, is_alone):
            return None
        if not is_alone and self.own.needs_checkpoint:  # nothing else would be attached
            return None
        self._told = frozenset(self.tangle.authors())
        return self.publisher.summarise(summary, checkpoint=is_alone)

    def _is_known(self, last: Message, is_alone: bool) -> bool:
        """Return True if others have the ``last`` summary: no checkpoint has followed it, or all heard it lately."""
        if last.seq >= self.view.checkpoint:
            return True
        least = 0 if is_alone else self.manifest.limits.horizon // _SAID_PER_HORIZON
        return 0 <= self.ports.clock.now() - last.time < least and self._told.issuperset(self.tangle.authors())

    def _must_renew(self) -> bool:
        age = self.ports.clock.now() - self.view.checkpointed
        is_old = age >= self.manifest.limits.horizon // _CHECKPOINTS_PER_HORIZON or self._is_new_epoch()
        return is_old or self.own.needs_checkpoint

    def _is_new_epoch(self) -> bool:
        """Return True if newcomers, who have the secret of the present key epoch alone, can read nothing of this peer.

        The first that it says in an epoch stands alone, so that all that follows can be read.
        """
        return self.view.epoch != self.replication.seals.epoch

    @property
    def _is_alone(self) -> bool:
        """Return True if this peer sends summaries and nothing else."""
        return self.options.summaries is not None and self.options.summaries.is_alone()

    def _renew(self) -> Cid | None:
        """Repeat the last checkpoint, so that no peer forgets this one, and newcomers find it."""
        vote, summaries = self.frames.own_vote, self.options.summaries
        if vote is not None and not self._is_alone:
            again = self.is_private or bool(self.options.floors.why_held_back())
            return self.publisher.publish_update(vote.samples, whole=True, settled=True, again=again)
        if summaries is not None and self._is_alone and summaries.record.summary:
            return self.publisher.summarise(summaries.record.summary, checkpoint=True)
        return self.publisher.introduce()

    # -- what people see

    def status(self) -> dict[str, Any]:
        """Return a plain map for people and monitors; accuracy and loss as in bodies.Metrics.

        ``unwritable`` says since when (Unix milliseconds) and why nothing can be saved, and thus published;
        ``listening`` since when it has heard others before it speaks, ``catching_up`` how many authors of how many are
        here; ``banned`` that its key has equivocated; ``settled`` since when it has nothing to add;
        ``privacy`` what of differential privacy is spent (bodies.PrivacySpent), None without any; ``unmeasured`` why
        there is neither accuracy nor loss, and until when; ``held_back`` why no update is published (ReleaseFloor);
        ``membership`` is open, or whether this peer may speak, and what it waits for;
        ``sums``, where summaries are masked, where it stands with these; ``zones``, in a large
        swarm, what is heard of it; ``muted`` whose weights are not merged now,
        and why; ``unmerged`` when and how this peer has gone back from what a banned one taught; ``personal`` is of the
        model for this machine alone (Personal), and shown here alone.
        """
        metrics, now, facts = self.training.metrics, self.ports.clock.now(), self.options.facts()
        spent = self.options.privacy()
        return {
            "peer": peer_name(self.author),
            "name": self.options.name,
            "shown": self.view.shown(self.options.name),
            "role": self.options.role,
            "software": learnae.__version__,
            "swarm": self._swarm_name,
            "time": now,
            "seq": self.own.last.seq if self.own.last else None,
            "steps": self.steps,
            "training_loss": self.training.loss,
            "loss": metrics.loss if metrics else None,
            "accuracy": metrics.accuracy if metrics else None,
            **({"mae": metrics.mae, "r2": metrics.r2} if metrics and metrics.mae is not None else {}),
            "holdout_rows": metrics.rows if metrics else 0,
            "peers": self.following.size(now) + (self.author in self.following.live(now)),
            "following": len(self.following.replicas),
            "messages": len(self.tangle),
            "bytes_out": self.traffic.bytes_out,
            "bytes_in": self.traffic.bytes_in,
            "unwritable": self.publisher.unwritable,
            "listening": self.catching_up.since,
            "catching_up": asdict(self.catching_up.progress) if self.catching_up.since is not None else None,
            "settled": self.settling.since,
            "privacy": spent.to_fields() if spent else None,
            "held_back": self._why_held_back(),
            "banned": self.own.has_forked,
            "membership": self.steward.standing if self.steward else OPEN,
            **({"sums": self.sums.status()} if self.sums else {}),
            **({"zones": zones} if self.hearing and (zones := self.hearing.status()) else {}),
            **({"muted": muted} if (muted := self.merging.muted()) or self.merging.jury else {}),
            **({"unmerged": self.unmerged} if self.unmerged else {}),
            **({"personal": self.options.personal.status()} if self.options.personal else {}),
            "problems": self.errors.counts,
            "last_problems": self.errors.last,
            **facts,
            "unmeasured": facts.get("unmeasured") or self._why_unmeasured(),
        }

    def _why_held_back(self) -> str:
        """Return why updates are held back; "" where none is due, or none is to be."""
        if self._is_alone:
            return ""
        return self.options.floors.lacks_rows() or ("" if self.settling.since is not None else self._held_back)

    def _why_unmeasured(self) -> str:
        """Return why, and until when, there are no metrics though rows are held out; "" if there are some."""
        training = self.training
        if training.metrics is not None:
            return ""
        if self.catching_up.since is not None:
            return "it hears others first"
        if not self.steps:
            return "its first steps are being taken" if self.options.rows() else "there is no row to train on yet"
        if training.goal != ENDLESS and training.taken < training.goal:
            return f"it is measured after this cycle: {training.taken:,} of {training.goal:,} steps are taken"
        return f"it is measured after this cycle, in {self.cadence.wait(self.ports.clock.uptime()) / 1000:.0f} s"


def measure(replication: Replicator, following: Following) -> Progress:
    """Return how much of what others announced is here: authors attached, and decoded where they are followed."""
    done, known = replication.progress()
    return Progress(max(0, done - following.lacking()), known)


def compose_peer(
    identity: Identity,
    manifest: Manifest,
    ports: Ports,
    options: Options,
    errors: ErrorLog | None = None,
    traffic: Traffic | None = None,
    opener: Opener = open_message,
    decode: Decoder = decode_frame,
    nodes: MutableMapping[Cid, Node] | None = None,
    *,
    is_back: bool = False,
    is_first: bool = False,
    gate: Gate | None = None,
    secrets: Secrets | None = None,
    entropy: Callable[[int], bytes] = os.urandom,
) -> Peer:
    """Make a peer and its parts, and let it go on from its saved state; raises StateError.

    Survived errors are counted in ``errors``; ``traffic`` is counted by the store in ``ports`` (MeteredStore).
    ``is_back`` says that this key has spoken here before, also if nothing is left of its state (CatchUp); ``is_first``,
    that no other peer of the swarm can have spoken. ``gate`` is shared with the links; without one, it is made of the
    records in the store. ``opener`` and ``decode`` do as open_message and decode_frame: peers of one process share what
    they find, and the ``nodes`` of their tangles. ``secrets`` are those that a sealed swarm's messages are read and
    sealed with; by default, those that records tell this peer. ``entropy`` returns so many unpredictable bytes.

    A peer alone, in memory, publishes its name and an update, once it has heard for some seconds that it is alone:

    >>> import numpy as np
    >>> from learnae.models.dataset import Dataset
    >>> from learnae.simulation import in_memory, network, simulator
    >>> from learnae.swarm.presets import dense_config
    >>> manifest = Manifest(name="line", config=dense_config(1, (), 1, "linear"), loss="mean_squared_error")
    >>> data = Dataset(manifest.model, manifest.objective)
    >>> data.add(np.ones((8, 1)), np.ones((8, 1)))
    >>> clock = network.VirtualClock(simulator.START)
    >>> host = network.Network(clock, random.Random(1), network.Weather()).host()
    >>> store, gossip = in_memory.MemoryBlockStore(host), in_memory.MemoryGossip(host, fanout=4)
    >>> learner = simulator.numpy_learner(manifest, data, np.random.default_rng(1))
    >>> state, monitor = in_memory.MemoryStateStore(), in_memory.SilentMonitor()
    >>> ports = Ports(store, gossip, learner, state, monitor, clock)
    >>> peer = compose_peer(Identity.from_seed(bytes(32)), manifest, ports, Options("alice", "agent", follow=8))
    >>> while not (published := peer.tick().published):
    ...     clock.time += 1000
    >>> published == peer.tangle.newest_of(peer.author)
    True
    >>> peer.status()["seq"]
    1
    """
    errors, traffic, clock, author = errors or ErrorLog(), traffic or Traffic(), ports.clock, identity.author
    rng, is_archive = random.Random(options.seed), options.is_archive
    gate = gate if gate is not None else open_gate(manifest, ports.store, errors)
    steward = _steward(identity, gate, ports, errors, entropy)
    sums = _sums(identity.author, manifest, options, errors, entropy)
    secrets = secrets or (steward.keyring if steward else NO_SECRETS)
    tangle, seals = Tangle(manifest.limits, rng, author, nodes), Seals(manifest.is_sealed, secrets, entropy)
    replication = Replicator(
        manifest.swarm, tangle, ports.store, ports.gossip, clock, errors, opener,
        is_archive=is_archive, gate=gate, seals=seals,
    )  # fmt: skip
    archive = Archive(manifest.swarm, ports.store, manifest.limits, errors, opener) if is_archive else None
    following = Following(
        tangle, ports.store, errors, rng, author, manifest.model.count, options.follow, manifest.merge.half_life,
        seals=seals, is_open=gate.is_open, decode=decode, keep=ports.keep,
    )  # fmt: skip
    own = OwnChain(identity, replication, clock, errors)
    frames = FrameEncoder(manifest.codec, may_be_coarser=not len(ports.learner.moments.means), keep=ports.keep)
    once, is_private = manifest.training, options.privacy() is not None
    if is_private:  # whether it publishes must not follow from a number of rows, and noise protects few of them
        options = replace(options, floors=ReleaseFloor(Floors(merge_first=options.floors.waits_for_others)))
    floors = options.floors
    suspicion = None if is_private else options.suspicion  # it would tell of rows; noise hides each
    jury = jury_of(manifest, options.lessons, options.held_out, is_private, options.loss)
    merging = Merging(manifest, ports.learner, following, frames, floors.begin, suspicion, jury, is_private, ports.keep)
    wants_more = lambda: floors.wants_more  # noqa: E731
    trajectory = Trajectory(ports.learner, once.steps, once.batch, wants_more, ports.keep)
    training = Training(
        ports.learner, _steps(manifest, options), trajectory, is_private, wants_more, options.update_clip,
        0 if is_private else options.first_steps, ports.keep,
    )  # fmt: skip
    view = SwarmView(author, following, training, traffic, errors, gate)
    following.fits = view.fits
    profile = Profile(options.name, options.role, learnae.__version__)
    publisher = Publisher(
        manifest.swarm, manifest.is_sealed, ports.state, clock, own, frames, merging, training, view, errors, traffic,
        profile, options.privacy, sums,
    )  # fmt: skip
    catching_up = CatchUp(clock, ports.gossip, replication.begin, lambda: measure(replication, following))
    forgetting = Forgetting(tangle, ports.store, clock, [manifest.swarm, *manifest.start], is_archive, gate)
    hears_all = is_archive or sums is not None  # those who sum must all hear each other
    hears = options.hears or max(WHOLE, options.follow)
    attention = Attention(manifest.swarm.to_bytes(), author, random.Random(options.seed), options.levels, hears)
    hearing = None if hears_all else Hearing(attention, replication, following, forgetting, clock)
    if hears_all:
        replication.attend(attention.interest)
    peer = Peer(
        manifest, ports, options, errors, traffic, replication, following, own, catching_up,
        frames, merging, training, view, publisher, forgetting,
        Cadence(options.publish), Settling(0 if is_private else options.patience), Founding(clock, ports.gossip),
        archive, Accuser(tangle, following, clock), steward, sums, _rating(manifest, author, options), hearing,
    )  # fmt: skip
    peer.start(is_back, is_first)
    return peer


def _steps(manifest: Manifest, options: Options) -> int:
    """Return the optimiser steps between two merges: few where each is paid for, unless all have agreed on more."""
    once = manifest.training.steps
    if options.privacy() is None:
        return options.steps or once
    return once if manifest.privacy.training else min(once, PRIVATE_STEPS)


def _rating(manifest: Manifest, author: bytes, options: Options) -> Rating | None:
    if options.lessons is None or options.contributions is None or why_unrated(manifest):
        return None
    return Rating(manifest, author, options.lessons, options.contributions, options.seed)


def _steward(
    identity: Identity, gate: Gate, ports: Ports, errors: ErrorLog, entropy: Callable[[int], bytes]
) -> "Steward | None":
    if gate.ledger is None:
        return None
    from learnae.peer.members.steward import Steward  # noqa: PLC0415 - ciphers, for which open swarms have no use

    return Steward(identity, gate, gate.ledger, ports.store, ports.clock, errors, entropy)


def _sums(
    author: bytes, manifest: Manifest, options: Options, errors: ErrorLog, entropy: Callable[[int], bytes]
) -> "MaskedSums | None":
    layout = layout_of(manifest)
    if manifest.privacy.summary.sharing != MASKED or layout is None:
        return None
    from learnae.peer.masking.sums import MaskedSums  # noqa: PLC0415 - ciphers, for which other swarms have no use

    values, horizon = layout.groups * layout.size, manifest.limits.horizon
    return MaskedSums(author, manifest.swarm, values, horizon, options.addend, errors, entropy)
