"""Liars in a simulated swarm: members whose learners give lies, and what they send beside what a peer does."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from learnae.basics.overriding import override
from learnae.ipld.cid import DAG_CBOR, RAW, Cid
from learnae.models.dataset import Dataset
from learnae.models.wrapped_learner import WrappedLearner
from learnae.peer.learning.jury import LEAST_WITNESSES, POINTS, CappedLoss
from learnae.ports import Clock, Heard, Learner, Trained
from learnae.protocol.announcements import PREFIX_BYTES, Announcement, Entry
from learnae.protocol.bodies import Join, Profile, Update
from learnae.protocol.identity import Identity
from learnae.protocol.messages import Message, compose
from learnae.simulation.attacks import (
    BACKDOOR_CLASS,
    BLOCKS,
    FLIPPED,
    FORK,
    HEADS,
    MESSAGES,
    REPLAY,
    Knowledge,
    Lie,
    adapt,
    flipped,
    forge,
    mirrored,
    triggered,
)
from learnae.simulation.network import PACKET_BYTES
from learnae.swarm.manifest import Manifest
from learnae.weights.codecs import Vector

if TYPE_CHECKING:
    from learnae.simulation.simulator import Member, Simulation

_SECOND = 1000
_AHEAD_MS = 299 * _SECOND  # a second less than what other clocks may differ by
_MESSAGES_PER_SECOND = 50
_HEADS_PER_ANNOUNCEMENT, _ANNOUNCEMENTS_PER_SECOND = 64, 4
_NOWHERE = 64  # blocks that an update names
_REMEMBERED = 64  # announcements that are said again

Send = Callable[["Member"], None]


class Lying(WrappedLearner):
    """Goes on from what honest peers publish, whatever it is given, and gives ``lie`` of its weights in their place."""

    def __init__(self, inner: Learner, crew: Crew) -> None:
        super().__init__(inner)
        self._crew = crew
        self._lie: Vector | None = None

    @override
    def weights(self) -> Vector:
        if self._lie is None:
            self._lie = self._crew.lie(super().weights())
        return self._lie.copy()

    @override
    def load(self, weights: Vector) -> None:
        honest = self._crew.honest()
        super().load(np.mean(honest, axis=0) if honest else weights)
        self._lie = None

    @override
    def train(self, steps: int) -> Trained:
        self._lie = None
        return super().train(steps)


class Ahead(Clock):
    """A clock that is ahead of the ``inner`` one, by nearly as much as others take."""

    def __init__(self, inner: Clock) -> None:
        self._inner = inner

    @override
    def now(self) -> int:
        return self._inner.now() + _AHEAD_MS

    @override
    def uptime(self) -> int:
        return self._inner.uptime()


@dataclass(eq=False)
class Crew:
    """The liars of one simulation, its last ``count`` members, who know each other and all that honest peers publish.

    ``adaptive`` ones lie as much as a judge lets through, where summaries are there to judge by.
    """

    lie_of: Lie
    count: int
    adaptive: bool
    seed: int

    def __post_init__(self) -> None:
        self._rng = np.random.default_rng(self.seed)
        self._draw = random.Random(self.seed)
        self.simulation: Simulation | None = None
        self._old: Vector | None = None
        self._means: list[tuple[int, Vector]] = []  # of honest peers, with the time: the last and the one before
        self._proxy: tuple[NDArray[np.float32], NDArray[np.int64]] | None = None
        self._said: list[Announcement] = []

    @property
    def _manifest(self) -> Manifest:
        assert self.simulation is not None
        return self.simulation.manifest

    @property
    def liars(self) -> list[Member]:
        """Return the liars."""
        assert self.simulation is not None
        return self.simulation.members[len(self.simulation.members) - self.count :]

    def honest(self) -> list[Vector]:
        """Return what each honest member has published last (count,)."""
        if self.simulation is None:
            return []
        members = self.simulation.members[: len(self.simulation.members) - self.count]
        votes = [member.peer.frames.own_vote for member in members]
        return [vote.vector for vote in votes if vote is not None]

    def lie(self, own: Vector) -> Vector:
        """Return what a liar of ``own`` weights (count,) publishes now."""
        honest = self.honest()
        if not honest or self.simulation is None:
            return own
        now, mean = self.simulation.clock.time, np.asarray(np.mean(honest, axis=0), np.float32)
        self._old = mean if self._old is None else self._old
        if not self._means or now - self._means[-1][0] >= self.simulation.setting.period:
            self._means = [*self._means[-1:], (now, mean)]
        lie = forge(self.lie_of.weights, Knowledge(own, honest, self._means[0][1], self._old, self._rng))
        proxy = self._rows() if self.adaptive else None
        if proxy is None:
            return lie
        rows, classes = proxy
        model, count = self._manifest.definition, self._manifest.class_count
        return adapt(lie, honest, CappedLoss(model, rows, classes, count), self.count)

    def _rows(self) -> tuple[NDArray[np.float32], NDArray[np.int64]] | None:
        """Return rows drawn from what members tell, as an honest jury does; None while there is too little."""
        lessons = self.liars[0].peer.options.lessons
        if self._proxy is None and lessons and sum(map(bool, lessons.believed.values())) >= LEAST_WITNESSES:
            rows, classes = lessons.proxy(POINTS)
            self._proxy = rows, classes.reshape(len(rows)).astype(np.int64)
        return self._proxy

    # -- what they send

    def begin(self, simulation: Simulation) -> None:
        """Send from now on what this kind sends beside updates."""
        self.simulation = simulation
        sends: dict[str, tuple[Send, int]] = {
            FORK: (self._fork, _SECOND),
            REPLAY: (self._replay, _SECOND),
            MESSAGES: (self._flood_messages, _SECOND),
            BLOCKS: (self._flood_blocks, _SECOND),
            HEADS: (self._flood_heads, _SECOND // _ANNOUNCEMENTS_PER_SECOND),
        }
        if self.lie_of.does in sends:
            send, pause = sends[self.lie_of.does]
            for member in self.liars:
                self._repeat(partial(send, member), pause)

    def _repeat(self, action: Callable[[], None], pause: int) -> None:
        def turn() -> None:
            action()
            self._repeat(action, pause)

        assert self.simulation is not None
        self.simulation.network.at(self.simulation.clock.time + pause, turn)

    def _tell(self, member: Member, entries: Iterable[Entry]) -> None:
        """Announce to everybody at once."""
        announcement = Announcement(tuple(entries))
        heard, size = Heard(str(member.host.index), announcement), PACKET_BYTES + len(announcement.to_bytes())
        for host in member.host.network.hosts:
            if host is not member.host:
                member.host.network.send(member.host, host, size, "lies", partial(host.inbox.append, heard))

    def _show(self, member: Member, messages: Sequence[Message]) -> None:
        for message in messages:
            member.host.blocks[message.cid] = message.data
        entries = [
            Entry(each.author[:PREFIX_BYTES], each.seq, each.cid, each.cid if each.checkpoint else None)
            for each in messages
        ]
        self._tell(member, entries)

    def _fork(self, member: Member) -> None:
        """Sign another message in the place of the last one."""
        last = member.peer.own.last
        if last is not None and isinstance(last.body, Update):
            body = replace(last.body, steps=last.body.steps + 1).to_fields()
            self._show(
                member,
                [
                    compose(
                        member.identity, self._manifest.swarm, last.seq, last.parents, last.time + 1, body, last.blocks,
                        checkpoint=last.checkpoint, forked=last.forked,
                    )
                ],
            )  # fmt: skip

    def _replay(self, member: Member) -> None:
        entries = tuple(entry for _, entry in member.peer.tangle.entries())[:_HEADS_PER_ANNOUNCEMENT]
        self._said = [*self._said, Announcement(entries)][-_REMEMBERED:]
        self._tell(member, self._draw.choice(self._said).entries)

    def _flood_heads(self, member: Member) -> None:
        draw = self._draw
        self._tell(
            member,
            [
                Entry(draw.randbytes(PREFIX_BYTES), draw.randrange(1 << 20), Cid.of(DAG_CBOR, draw.randbytes(8)), None)
                for _ in range(_HEADS_PER_ANNOUNCEMENT)
            ],
        )

    def _flood_messages(self, member: Member) -> None:
        self._show(
            member,
            [self._from_new_key(Join(Profile("x", "agent", "0")).to_fields(), ()) for _ in range(_MESSAGES_PER_SECOND)],
        )

    def _flood_blocks(self, member: Member) -> None:
        last = member.peer.own.last
        if last is not None and isinstance(last.body, Update):
            body = replace(last.body, peer=Profile("x", "agent", "0")).to_fields()
            nowhere = [
                tuple(Cid.of(RAW, self._draw.randbytes(8)) for _ in range(_NOWHERE))
                for _ in range(_MESSAGES_PER_SECOND)
            ]
            self._show(member, [self._from_new_key(body, blocks) for blocks in nowhere])

    def _from_new_key(self, body: dict[str, object], blocks: tuple[Cid, ...]) -> Message:
        assert self.simulation is not None
        identity = Identity.from_seed(self._draw.randbytes(32))
        time = self.simulation.clock.time
        return compose(identity, self._manifest.swarm, 0, (), time, body, blocks, checkpoint=True)


def trained_on(lie: Lie, data: Dataset, manifest: Manifest) -> Dataset:
    """Return the rows that a liar trains on in place of ``data``."""
    if not lie.rows:
        return data
    rows, targets = data.train.rows, data.train.targets
    if lie.rows == FLIPPED:
        return _dataset(manifest, rows, _flipped(targets, manifest), data)
    half = rows[::2]
    wrong = np.full_like(targets[::2], BACKDOOR_CLASS)
    return _dataset(manifest, np.concatenate([rows, triggered(half)]), np.concatenate([targets, wrong]), data)


def told(lie: Lie, data: Dataset, manifest: Manifest) -> Dataset:
    """Return the rows that a liar's summary is of."""
    if not lie.flipped:
        return data
    return _dataset(manifest, data.train.rows, _flipped(data.train.targets, manifest), data)


def _flipped(targets: NDArray[np.generic], manifest: Manifest) -> NDArray[np.generic]:
    if not manifest.class_count:
        return mirrored(np.asarray(targets, np.float32))
    return flipped(targets.reshape(len(targets), -1).astype(np.int64)[:, 0], manifest.class_count)


def _dataset(manifest: Manifest, rows: NDArray[np.float32], targets: NDArray[np.generic], like: Dataset) -> Dataset:
    result = Dataset(manifest.model, manifest.objective)
    result.add(rows, targets.reshape(len(rows), *like.train.targets.shape[1:]))
    result.add(like.holdout.rows, like.holdout.targets, holdout=True)
    return result
