"""Following: whose frames a peer fetches, and the replicas that it keeps of them.

A peer follows a bounded number of others, redrawn among the live ones (epidemic learning, De Vos et al. 2023), so that
memory and traffic do not grow with the swarm. A redraw is free where a keyframe is fetched in place of a delta: an
author with news hands its place to one that has just published a keyframe. It keeps the place until that frame is here.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from learnae.basics.bounded_dict import BoundedDict
from learnae.basics.error_log import ErrorLog
from learnae.errors import BlockMissingError, BrokenFrameError, FrameError, PeerError, SealError, UnknownEpochError
from learnae.ipld.cid import Cid
from learnae.membership.sealing import Seals
from learnae.ports import BlockStore, Keep, in_memory
from learnae.protocol.bodies import KEY, FrameHeader, Update
from learnae.protocol.identity import peer_name
from learnae.protocol.messages import Message
from learnae.protocol.tangle import Node, Tangle
from learnae.weights.codecs import Data, Vector
from learnae.weights.frames import check_shape, decode_frame
from learnae.weights.merge import Vote

Decoder = Callable[[FrameHeader, Sequence[Data], Vector | None, int], Vector]
_LIVE_HALF_LIVES = 10  # an update this old weighs a thousandth in the merge
_MAX_CHAIN = 1024  # deltas behind a keyframe: the manifest allows no more
_YOUNG = 1  # place for keys younger than a half-life
_MAX_TAUGHT = 4096  # authors remembered as followed at some time
_MAX_OFFENCES = 256  # authors: more would be the keys of one machine
_MAX_BROKEN = 1024  # updates remembered as broken: a forgotten one is found broken again


@dataclass(frozen=True, slots=True)
class News:
    """The newest update of an author."""

    author: bytes
    cid: Cid
    time: int
    update: Update


@dataclass(frozen=True, slots=True)
class Replica(Vote):
    """What an author's weights are believed to be, at its update ``cid``; a vote in the merge.

    ``began`` is the time (Unix ms) of the keyframe that it stands on.
    """

    cid: Cid
    began: int = 0


@dataclass(eq=False)
class Following:
    """Chooses authors to follow and decodes their frames into ``replicas``, by author.

    ``news`` holds the newest update of every author, the peer's own (``me``) too: it tells who is live.
    At most ``most`` others are followed; ``count`` values has the model; ``half_life`` (ms) is the merge's; ``fits``
    tells whether an author is to be heard; ``decode`` does as decode_frame. ``offences`` says of authors who signed
    what no peer can decode what it was: they are live no more. Where keys cost nothing (``is_open``), those that are
    younger than a half-life share one place, as long as others can take the rest.
    """

    tangle: Tangle
    store: BlockStore
    errors: ErrorLog
    rng: random.Random
    me: bytes
    count: int
    most: int
    half_life: int
    max_broken: int = _MAX_BROKEN
    seals: Seals = Seals()
    fits: Callable[[bytes], bool] = lambda _: True
    is_open: bool = True
    decode: Decoder = decode_frame
    keep: Keep = in_memory

    def __post_init__(self) -> None:
        self.replicas: dict[bytes, Replica] = {}
        self.news: dict[bytes, News] = {}
        self.redraws = 0
        self.offences = BoundedDict[bytes, str](_MAX_OFFENCES)
        self.ever = BoundedDict[bytes, None](_MAX_TAUGHT)  # who has been followed
        self._followed: dict[bytes, None] = {}
        self._since: dict[bytes, int] = {}  # by live author: the own clock (Unix ms) when it was first seen
        self._next_redraw: int | None = None
        self._successors: dict[bytes, News] = {}  # by followed author: the keyframe that takes its place
        self._broken = BoundedDict[Cid, None](self.max_broken)
        self.size_of: Callable[[int], int] = lambda heard: heard  # the swarm's, by how many live others are heard
        self._live: tuple[int, list[bytes]] | None = None  # as of an instant (Unix ms): a tick asks several times

    def note(self, message: Message) -> None:
        """Remember an attached update as its author's newest."""
        self._live = None
        known = self.news.get(message.author)
        if isinstance(message.body, Update) and (known is None or message.time > known.time):
            self.news[message.author] = News(message.author, message.cid, message.time, message.body)

    def advance(self, now: int) -> list[Replica]:
        """Follow live authors, and decode the frames that are here; return changed replicas."""
        for author in [author for author in self.news if not self.tangle.newest_of(author)]:
            del self.news[author]
        self._live = None  # what was heard may have banned some
        self._choose(now)
        changed, oldest = [], self._oldest(now)
        for author in list(self._followed):
            successor = self._successor_of(author, now, oldest)
            replica = self._advance_one(successor or author)
            if replica is None:
                continue
            if successor:
                del self._followed[author], self.replicas[author], self._successors[author]
                self._followed[successor] = self.ever[successor] = None
                self.redraws += 1
                self._next_redraw = None  # one that costs a whole chain can wait
            self.replicas[successor or author] = replica
            changed.append(replica)
        return changed

    def live(self, now: int) -> list[bytes]:
        """Return the authors, not banned, that have published lately."""
        if self._live is None or self._live[0] != now:
            oldest = self._oldest(now)
            fresh = [a for a, news in self.news.items() if news.time >= oldest or news.update.settled]
            self._live = now, [author for author in fresh if self.is_heard(author)]
        return list(self._live[1])

    def _oldest(self, now: int) -> int:
        """Return the time (Unix ms) before which an author who has not settled is live no more."""
        newest = max([news.time for news in self.news.values()], default=now)
        return min(now, newest) - _LIVE_HALF_LIVES * self.half_life

    def is_heard(self, author: bytes) -> bool:
        """Return True if nothing speaks against hearing this author."""
        return not self._is_out(author) and self.fits(author)

    def _is_out(self, author: bytes) -> bool:
        return author in self.offences or self.tangle.is_banned(author)

    def others(self, now: int) -> list[bytes]:
        """Return the live authors without the peer itself."""
        return [author for author in self.live(now) if author != self.me]

    def followed(self) -> list[bytes]:
        """Return the authors whose frames are fetched now."""
        return list(self._followed)

    def lacking(self) -> int:
        """Count the followed authors of whom nothing is decoded yet, although it may be."""
        authors = (author for author in self._followed if author not in self.replicas)
        return sum(author in self.news and self.news[author].cid not in self._broken for author in authors)

    def _choose(self, now: int) -> None:
        live = self.others(now)
        alive = set(live)
        keep = [author for author in self._followed if author in alive]
        others = [author for author in live if author not in self._followed]
        self._since = {author: min(now, self._since.get(author, now)) for author in live}
        if len(keep) == self.most and others and self._redraw_is_due(now):
            keep.remove(self.rng.choice(keep))
            self.redraws += 1
        others = self._not_too_young(keep, others, now)
        room = self.most - len(keep)
        keep += others if len(others) <= room else self.rng.sample(others, room)
        self._followed = dict.fromkeys(keep)
        self.ever.update(self._followed)
        self._successors = {a: news for a, news in self._successors.items() if a in self._followed}
        self.replicas = {author: self.replicas[author] for author in keep if author in self.replicas}

    def _not_too_young(self, keep: list[bytes], others: list[bytes], now: int) -> list[bytes]:
        """Return those of ``others`` among whom places are drawn; new keys lose theirs in ``keep`` to older ones."""
        if not self.is_open:
            return others
        old, new = list[bytes](), list[bytes]()
        for author in others:
            (new if self._is_young(author, now) else old).append(author)
        young = [author for author in keep if self._is_young(author, now)]
        places = max(_YOUNG, self.most - (len(keep) - len(young)) - len(old))  # that no older key can take
        for author in young[places:]:
            keep.remove(author)
        free = places - len(young[:places])
        return old + (new if len(new) <= free else self.rng.sample(new, free))

    def settled(self, now: int) -> list[bytes]:
        """Return the live authors, without the peer itself, whose keys are no longer new where keys cost nothing."""
        others = self.others(now)
        return [author for author in others if not self._is_young(author, now)] if self.is_open else others

    def size(self, now: int) -> int:
        """Return how many live peers the swarm has beside this one, as far as can be told."""
        return self.size_of(len(self.others(now)))

    def _is_young(self, author: bytes, now: int) -> bool:
        return now - self._since.get(author, now) < self.half_life

    def _successor_of(self, author: bytes, now: int, oldest: int) -> bytes | None:
        """Return the author whose keyframe is to be fetched in place of this one's next delta, if any."""
        chosen = self._successors.get(author)
        if chosen is not None and self.news.get(chosen.author) is chosen and not self._is_out(chosen.author):
            return chosen.author
        self._successors.pop(author, None)
        replica = self.replicas.get(author)
        if replica is None or replica.cid == self.news[author].cid or len(self._followed) < self.most:
            return None
        since = (replica.time + self.news[author].time) // 2
        keys = [news for news in self.news.values() if news.time > since and news.update.frame.kind == KEY]
        taken = {self.me, *self._followed, *(news.author for news in self._successors.values())} if keys else ()
        keys = [news for news in keys if news.author not in taken]
        if self.is_open and not self._is_young(author, now):  # a new key takes no place of an older one
            keys = [news for news in keys if not self._is_young(news.author, now)]
        alive = (news for news in keys if news.time >= oldest or news.update.settled)
        candidates = [news for news in alive if self.is_heard(news.author)]
        if not candidates:
            return None
        self._successors[author] = self.rng.choice(candidates)
        return self._successors[author].author

    def _redraw_is_due(self, now: int) -> bool:
        if self._next_redraw is not None and now < self._next_redraw:
            return False
        first = self._next_redraw is None
        self._next_redraw = now + self.half_life // self.most  # all of them within one half-life
        return not first

    def _advance_one(self, author: bytes) -> Replica | None:
        """Decode what is here of the author's newest frames, oldest first; return None if nothing changed."""
        news, replica = self.news[author], self.replicas.get(author)
        if replica is not None and replica.cid == news.cid:
            return None
        try:
            chain = self._chain(news.cid, replica)
        except FrameError as error:
            self._fail(news.cid, error)
            return None
        absent = list(dict.fromkeys(cid for _, node in chain for cid in node.blocks if not self.store.has(cid)))
        if absent:
            self.store.want(absent, origin=peer_name(author))
        before, lacking = replica, set(absent)
        if chain and not lacking.isdisjoint(chain[0][1].blocks):
            chain = self._older_keyframe(chain[0][1], replica)
        for cid, node in chain:
            if not lacking.isdisjoint(node.blocks):
                break
            try:
                replica = self._decode(cid, node, replica, news.update)
            except BlockMissingError:  # deleted since
                break
            except (FrameError, SealError) as error:
                if isinstance(error, (BrokenFrameError, SealError)) and not isinstance(error, UnknownEpochError):
                    self._note_offence(node, error)
                self._fail(cid, error)
                break
            except PeerError as error:  # damaged on the own disk: a good copy may come
                self.errors.count(error)
                break
        return replica if replica is not before else None

    def _chain(self, newest: Cid, replica: Replica | None) -> list[tuple[Cid, Node]]:
        """Return the updates to decode, oldest first: back to the replica or to a keyframe, whichever is nearer.

        Empty while a message of the chain is missing or a frame in it is known to be broken. Raises
        FrameError for what can never be decoded.
        """
        chain: list[tuple[Cid, Node]] = []
        step: Cid | None = newest
        while step is not None and not (replica is not None and step == replica.cid):
            node = self.tangle.node(step)
            if node is None or step in self._broken:
                return []
            if node.frame is None or len(chain) >= _MAX_CHAIN:
                raise FrameError(f"update {step.short} stands on something that is no frame chain")
            try:
                check_shape(node.frame, len(node.blocks), self.count)
            except BrokenFrameError as error:
                self._note_offence(node, error)
                raise
            chain.append((step, node))
            step = node.frame.base
        return chain[::-1]

    def _older_keyframe(self, newer: Node, replica: Replica | None) -> list[tuple[Cid, Node]]:
        """Return the newest keyframe before ``newer`` that is here, if it is newer than the replica.

        Where blocks take longer than their author from one keyframe to the next, the newest is always on its way.
        """
        for cid in self.tangle.checkpoints_of(newer.author):
            node = self.tangle.node(cid)
            assert node is not None
            if replica is not None and node.time <= replica.time:
                break
            is_older_key = node.seq < newer.seq and node.frame is not None and node.frame.kind == KEY
            if is_older_key and cid not in self._broken and all(map(self.store.has, node.blocks)):
                return [(cid, node)]
        return []

    def _decode(self, cid: Cid, node: Node, replica: Replica | None, newest: Update) -> Replica:
        """Return the replica after the update ``cid``.

        Raises BlockMissingError, EncodingError, FrameError or SealError.
        """
        assert node.frame is not None
        parts = ((index, self.store.get(block)) for index, block in enumerate(node.blocks))
        blocks = [self.seals.opened_block(node.author, node.seq, index, part) for index, part in parts]
        vector = None if replica is None or node.frame.kind == KEY else replica.vector
        decoded = self.decode(node.frame, blocks, vector, self.count)
        began = node.time if vector is None or replica is None else replica.began
        return Replica(self.keep(decoded), newest.samples, node.time, newest.settled, cid, began)

    def _note_offence(self, node: Node, error: PeerError) -> None:
        if node.author not in (self.me, *self.offences):
            self._live = None
            self.offences[node.author] = f"message {node.cid.short}: {error.problem}"

    def _fail(self, cid: Cid, error: PeerError) -> None:
        self.errors.count(error)
        self._broken[cid] = None
