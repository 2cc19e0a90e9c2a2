"""Floods of messages, heads and evidence, for one peer on a virtual clock with a real block store.

Processor time is what this process needs for the peer alone, memory what Python has allocated, disk what the blocks
database grows by. Strangers' blocks are in a database of their own, and come as soon as they are asked for.
"""

from __future__ import annotations

import os
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.harness import AT_LEAST, AT_MOST, Race
from learnae.adapters.local.block_store import LocalBlockStore
from learnae.adapters.local.gossip import LocalGossip
from learnae.basics.overriding import override
from learnae.ipld.cid import DAG_CBOR, MAX_BLOCK_BYTES, RAW, Cid
from learnae.models.passive_learner import PassiveLearner
from learnae.peer.peer import Options, Peer, Ports, compose_peer
from learnae.ports import BlockStore, Gossip, Heard
from learnae.protocol.announcements import PREFIX_BYTES, Announcement, Entry
from learnae.protocol.bodies import Evidence, FrameHeader, Join, Profile, Update
from learnae.protocol.identity import Identity, peer_name
from learnae.protocol.messages import Message, compose
from learnae.simulation.in_memory import MemoryStateStore, SilentMonitor
from learnae.simulation.network import VirtualClock
from learnae.swarm.manifest import Manifest
from learnae.swarm.presets import dense_config

_START = 1_790_000_000_000  # Unix ms
_TICK = 250  # ms between two looks, as a running peer has it
_RATE = 500  # of messages, heads or names a second
_ANNOUNCERS = 64
_HONEST = 8
_SPEAK = 5_000  # ms between two messages of each honest peer
_QUIET = 90_000  # ms before the flood: the honest peers are known
_MOST_SHARE, _MOST_MEGABYTES, _MOST_WAIT = 5.0, 16.0, 5.0
_FREE_KEYS = 50
_FOLLOWED = 8
_FILES = 20_000
_WAITING, _CHAIN = 4_200, 199

MANIFEST = Manifest(name="floods", config=dense_config(1, (), 1, "linear"), loss="mean_squared_error", created=_START)
COUNT = MANIFEST.model.count


class Author:
    """Signs messages with a key of its own; ``number`` makes it repeatable."""

    def __init__(self, number: int) -> None:
        self.identity = Identity.from_seed(number.to_bytes(32, "big"))
        self.name = peer_name(self.identity.author)
        self.last: Message | None = None
        self.checkpoint: Message | None = None

    def say(self, now: int, body: dict[str, object], checkpoint: bool = False, blocks: tuple[Cid, ...] = ()) -> Message:
        """Sign the next message."""
        seq = self.last.seq + 1 if self.last else 0
        before = (self.last.cid,) if self.last else ()
        checkpoint = checkpoint or not before
        self.last = compose(self.identity, MANIFEST.swarm, seq, before, now, body, blocks, checkpoint=checkpoint)
        self.checkpoint = self.last if checkpoint else self.checkpoint
        return self.last

    def entry(self, head: Message | None = None) -> Entry:
        """Return what is announced of it."""
        head = head or self.last
        assert head is not None
        checkpoint = self.checkpoint.cid if self.checkpoint else None
        return Entry(self.identity.author[:PREFIX_BYTES], head.seq, head.cid, checkpoint)


class Remote(BlockStore):
    """A real store, and beside it what others hold: it comes as soon as it is asked for."""

    def __init__(self, own: LocalBlockStore, others: LocalBlockStore) -> None:
        self._own, self._others = own, others
        self.seconds = 0.0  # of the others' part

    @override
    def put(self, codec: int, data: bytes) -> Cid:
        return self._own.put(codec, data)

    @override
    def get(self, cid: Cid) -> bytes:
        return self._own.get(cid)

    @override
    def has(self, cid: Cid) -> bool:
        return self._own.has(cid)

    @override
    def want(self, cids: Sequence[Cid], most: int = MAX_BLOCK_BYTES, origin: str = "") -> None:
        begun = time.process_time()
        for cid in self._others.held(cids) - self._own.held(cids):
            data = self._others.get(cid)
            if len(data) <= most:
                self._own.keep(cid, data)
        self.seconds += time.process_time() - begun

    @override
    def cids(self) -> Iterator[Cid]:
        return self._own.cids()

    @override
    def delete(self, cids: Iterable[Cid], unused_for: int = 0) -> None:
        self._own.delete(cids, unused_for)


class Said(Gossip):
    """What the others have announced since the last look: of each its newest, as transports have it."""

    def __init__(self) -> None:
        self.inbox: dict[str, Announcement] = {}
        self.own = Announcement()

    @override
    def announce(self, announcement: Announcement) -> None:
        self.own = announcement

    @override
    def heard(self) -> list[Heard]:
        heard = [Heard(*each) for each in self.inbox.items()]
        self.inbox.clear()
        return heard


@dataclass(frozen=True, slots=True)
class Cost:
    """What a peer needed: share of a core, bytes of memory and disk, and the longest wait for a true head (ms)."""

    cpu: float
    memory: int
    disk: int
    wait: int
    newcomer: int


class World:
    """One honest peer, eight others that speak every five seconds, a newcomer every ten, and strangers."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.clock = VirtualClock(_START)
        self.own = LocalBlockStore(directory / "own")
        self.others = LocalBlockStore(directory / "others")
        self.store, self.gossip = Remote(self.own, self.others), Said()
        state, monitor = MemoryStateStore(), SilentMonitor()
        ports = Ports(self.store, self.gossip, PassiveLearner(COUNT), state, monitor, self.clock)
        options = Options("honest", "agent", follow=_FOLLOWED, seed=1)
        self.peer: Peer = compose_peer(Identity.from_seed(bytes(32)), MANIFEST, ports, options, is_first=True)
        self.honest = [Author(1 + number) for number in range(_HONEST)]
        self.newcomers: list[Author] = []
        self.frame = self.others.put(RAW, bytes(4 * COUNT))
        self.due: dict[Cid, int] = {}  # true heads that are not attached yet, with when they were announced
        self.waits: list[int] = []
        self.is_new: set[Cid] = set()
        self.new_waits: list[int] = []
        self.seconds = 0.0
        self.flooded = 0

    @property
    def now(self) -> int:
        """Return Unix ms."""
        return self.clock.now()

    def run(self, wait: int, flood: Callable[[int], None] = lambda _: None) -> None:
        """Let ``wait`` ms pass."""
        end = self.now + wait
        while self.now < end:
            self.clock.time += _TICK
            flood(self.now)
            self._speak()
            begun, others = time.process_time(), self.store.seconds
            self.peer.tick()
            self.seconds += time.process_time() - begun - (self.store.seconds - others)
            for cid in [cid for cid in self.due if cid in self.peer.tangle]:
                (self.new_waits if cid in self.is_new else self.waits).append(self.now - self.due.pop(cid))

    def _speak(self) -> None:
        step = (self.now - _START) // _TICK
        for number, author in enumerate(self.honest):
            if (step + number) % (_SPEAK // _TICK) == 0:
                self.announce(author, update(author, self.now, self.frame))
        if step % (2 * _SPEAK // _TICK) == 0:
            self.newcomers.append(Author(1_000_000 + step))
            message = self.newcomers[-1].say(self.now, joined("new"))
            self.is_new.add(message.cid)
            self.announce(self.newcomers[-1], message)

    def announce(self, author: Author, message: Message) -> None:
        """Let an honest author announce its newest message."""
        self.others.keep(message.cid, message.data)
        self.gossip.inbox[author.name] = Announcement((author.entry(),))
        self.due[message.cid] = self.now

    def cost(self, wait: int, flood: Callable[[int], None], memory: bool) -> Cost:
        """Return what ``wait`` ms of a flood cost more than nothing."""
        self.run(_QUIET)
        self.seconds, before = 0.0, disk_bytes(self.directory / "own")
        self.waits, self.new_waits = [], []
        if memory:
            tracemalloc.start()
        held = tracemalloc.get_traced_memory()[0] if memory else 0
        self.run(wait, flood)
        grown = tracemalloc.get_traced_memory()[0] - held if memory else 0
        tracemalloc.stop()
        longest, newest = self._longest(self.waits, new=False), self._longest(self.new_waits, new=True)
        disk = disk_bytes(self.directory / "own") - before
        return Cost(100 * self.seconds / (wait / 1000), grown, max(0, disk), longest, newest)

    def _longest(self, waits: list[int], new: bool) -> int:
        left = [self.now - since for cid, since in self.due.items() if (cid in self.is_new) == new]
        return max([*waits, *left], default=0)

    def close(self) -> None:
        """Let go of the files."""
        self.own.close()
        self.others.close()


def disk_bytes(directory: Path) -> int:
    """Return what all files there take."""
    return sum(entry.stat().st_size for entry in os.scandir(directory) if entry.is_file())


def joined(name: str) -> dict[str, object]:
    """Return the body of a first message."""
    return Join(Profile(name, "agent", "0")).to_fields()


def update(author: Author, now: int, frame: Cid) -> Message:
    """Sign an update with a keyframe, which is a checkpoint, always."""
    header = FrameHeader("key", "f32", COUNT, None)
    profile = Profile("honest", "agent", "0")
    body = Update(header, 1, 100, None, (), 0, 0, peer=profile).to_fields()
    return author.say(now, body, checkpoint=True, blocks=(frame,))


# -- the floods: each is called every tick, and brings what comes at 500 a second


def old_rate(world: World) -> Callable[[int], None]:
    """One key: messages dated just inside the horizon, each continuing one that nobody has."""
    author = Author(2_000_000)
    horizon = MANIFEST.limits.horizon

    def flood(now: int) -> None:
        for number in range(_RATE * _TICK // 1000):
            parent = Cid.of(DAG_CBOR, b"%d %d" % (now, number))
            body = {"kind": "note"}
            time = now - horizon + 300
            message = compose(author.identity, MANIFEST.swarm, 5 + number, (parent,), time, body)
            _bring(world, f"s{number % _ANNOUNCERS}", author, message)

    return flood


def checkpoints(world: World) -> Callable[[int], None]:
    """One key: checkpoints whose numbers fall, so that none has one before it."""
    author, seq = Author(2_000_001), iter(range(2**40, 0, -1))

    def flood(now: int) -> None:
        for number in range(_RATE * _TICK // 1000):
            parent = Cid.of(DAG_CBOR, b"%d %d" % (now, number))
            body = joined("x")
            message = compose(author.identity, MANIFEST.swarm, next(seq), (parent,), now, body, checkpoint=True)
            _bring(world, f"s{number % _ANNOUNCERS}", author, message)

    return flood


def rising(world: World) -> Callable[[int], None]:
    """One key: checkpoints with rising numbers, dated 20 ms apart since a horizon ago."""
    author, seq = Author(2_000_002), iter(range(2**40))
    begin = world.now - MANIFEST.limits.horizon + 600_000

    def flood(now: int) -> None:
        for number in range(_RATE * _TICK // 1000):
            parent, each = Cid.of(DAG_CBOR, b"%d %d" % (now, number)), next(seq)
            body, time = joined("x"), begin + 20 * each
            message = compose(author.identity, MANIFEST.swarm, 1 + each, (parent,), time, body, checkpoint=True)
            _bring(world, f"s{number % _ANNOUNCERS}", author, message)

    return flood


def free_keys(world: World) -> Callable[[int], None]:
    """Keys without end: a first message each."""
    keys = iter(range(3_000_000, 4_000_000))

    def flood(now: int) -> None:
        for number in range(_RATE * _TICK // 1000):
            author = Author(next(keys))
            _bring(world, f"s{number % _ANNOUNCERS}", author, author.say(now, joined("x")))

    return flood


def free_announcers(world: World) -> Callable[[int], None]:
    """Keys without end: a first message each, which each announces by itself."""
    keys = iter(range(4_000_000, 5_000_000))

    def flood(now: int) -> None:
        for _ in range(_RATE * _TICK // 1000):
            author = Author(next(keys))
            _bring(world, author.name, author, author.say(now, joined("x")))

    return flood


def waiting_keys(world: World) -> Callable[[int], None]:
    """Keys without end: a message each that continues one that nobody has."""
    keys = iter(range(5_000_000, 6_000_000))

    def flood(now: int) -> None:
        for number in range(_RATE * _TICK // 1000):
            author = Author(next(keys))
            parent = Cid.of(DAG_CBOR, author.identity.author)
            message = compose(author.identity, MANIFEST.swarm, 5, (parent,), now, {"kind": "note"})
            _bring(world, f"s{number % _ANNOUNCERS}", author, message)

    return flood


def invented_heads(world: World) -> Callable[[int], None]:
    """Make 64 announcements at once with 64 authors each, of whom nothing exists; then 500 new ones a second."""
    made = iter(range(1 << 40))

    def invented() -> Entry:
        number = next(made)
        head, checkpoint = (Cid.of(DAG_CBOR, b"%s %d" % (kind, number)) for kind in (b"head", b"checkpoint"))
        return Entry(b"%08d" % (number % 10**8), 7, head, checkpoint)

    def flood(_: int) -> None:
        for announcer in range(_ANNOUNCERS):
            per_tick = _RATE * _TICK // 1000 / _ANNOUNCERS
            first = world.flooded == 0
            count = 64 if first else int(per_tick * (announcer + 1)) - int(per_tick * announcer)
            _name(world, f"s{announcer}", [invented() for _ in range(count)])
        world.flooded += 1

    return flood


def followed_heads(world: World) -> Callable[[int], None]:
    """Invent heads of those that are followed: 500 a second."""
    made = iter(range(1 << 40))

    def flood(_: int) -> None:
        for number in range(_RATE * _TICK // 1000):
            author = world.honest[number % _HONEST]
            head = Cid.of(DAG_CBOR, b"followed %d" % next(made))
            entry = Entry(author.identity.author[:PREFIX_BYTES], 2**40, head, head)
            _name(world, f"s{number % _ANNOUNCERS}", [entry])

    return flood


def evidence(world: World) -> Callable[[int], None]:
    """Ten keys: evidence, each naming two messages that nobody has."""
    authors = [Author(2_100_000 + number) for number in range(10)]
    made = iter(range(1 << 40))

    def flood(now: int) -> None:
        for number in range(_RATE * _TICK // 1000):
            author = authors[number % 10]
            if author.last is None or author.last.seq - (author.checkpoint.seq if author.checkpoint else 0) > 900:
                author.say(now - 1000, joined("x"), checkpoint=True)
                world.others.keep(author.last.cid, author.last.data)  # type: ignore[union-attr]
            accused = b"%032d" % next(made)
            names = (Cid.of(DAG_CBOR, b"%d" % next(made)) for _ in range(2))
            time = max(now - 400, author.last.time + 20)  # type: ignore[union-attr]
            message = author.say(time, Evidence(accused, *names).to_fields())
            _bring(world, author.name, author, message)

    return flood


def refused(world: World) -> Callable[[int], None]:
    """Honest keys' next messages with wrong signatures."""
    made = iter(range(1 << 40))

    def flood(now: int) -> None:
        for number in range(_RATE * _TICK // 1000):
            author = world.honest[number % _HONEST]
            if author.last is None:
                continue
            seq, parent = author.last.seq + 1, author.last.cid
            body = {"kind": "note", "n": next(made)}
            data = compose(author.identity, MANIFEST.swarm, seq, (parent,), now, body).data
            cid = world.others.put(DAG_CBOR, data[:-1] + bytes([data[-1] ^ 1]))
            entry = Entry(author.identity.author[:PREFIX_BYTES], seq, cid, cid)
            _name(world, f"s{number % _ANNOUNCERS}", [entry])

    return flood


def garbage(world: World) -> Callable[[int], None]:
    """Names of blocks of 1 MiB, which are there, and are no messages: four a second."""
    made = iter(range(1 << 40))

    def flood(now: int) -> None:
        data = next(made).to_bytes(8, "big") + bytes((1 << 20) - 8)
        cid = world.others.put(DAG_CBOR, data)
        _name(world, f"s{now // _TICK % _ANNOUNCERS}", [Entry(b"%08d" % (now % 10**8), 7, cid, cid)])

    return flood


def _bring(world: World, announcer: str, author: Author, message: Message) -> None:
    world.others.keep(message.cid, message.data)
    checkpoint = author.checkpoint.cid if author.checkpoint else None
    named = message.cid if message.checkpoint else checkpoint
    _name(world, announcer, [Entry(author.identity.author[:PREFIX_BYTES], message.seq, message.cid, named)])


def _name(world: World, announcer: str, entries: list[Entry]) -> None:
    """Add to what a stranger announces at this tick."""
    said = world.gossip.inbox.get(announcer, Announcement()).entries
    world.gossip.inbox[announcer] = Announcement((*said, *entries)[-64:])


FLOODS: dict[str, Callable[[World], Callable[[int], None]]] = {
    "messages that continue nothing, dated a horizon ago": old_rate,
    "checkpoints with falling numbers": checkpoints,
    "checkpoints dated 20 ms apart": rising,
    "a new key a message": free_keys,
    "a new key and announcer a message": free_announcers,
    "a new key a message that waits": waiting_keys,
    "invented heads": invented_heads,
    "invented heads of those followed": followed_heads,
    "evidence of nothing": evidence,
    "wrong signatures": refused,
    "blocks of 1 MiB that are no messages": garbage,
}


def run(race: Race) -> None:
    """Run each flood twice: for processor time and waiting, and for memory and disk. Then what is no flood."""
    wait = 2_000 if race.quick else 60_000
    with race.step("no flood"):
        quiet = _measured(lambda _: lambda _: None, wait, memory=False)
    race.figure("processor time of a quiet peer, of one core", quiet.cpu, "%")
    for what, flood in FLOODS.items():
        with race.step(what):
            fast, grown = (_measured(flood, wait, memory) for memory in (False, True))
        note = f"{_RATE} a second for {wait // 1000} s of virtual time"
        race.check(f"{what}: processor time", fast.cpu - quiet.cpu, _MOST_SHARE, AT_MOST, "% of a core", note)
        taken = max(0, grown.memory) + grown.disk
        note = f"{grown.memory / 1e6:.1f} and {grown.disk / 1e6:.1f} MB"
        race.check(f"{what}: memory and disk", taken / 1e6, _MOST_MEGABYTES, AT_MOST, "MB", note)
        race.check(f"{what}: a true head after", fast.wait / 1000, _MOST_WAIT, AT_MOST, "s", "virtual time")
        name = f"{what}: a newcomer's first head, announced once"
        if flood is free_announcers:  # it is one of them, and is heard by chance
            race.figure(name, fast.newcomer / 1000, "s")
        else:
            race.check(name, fast.newcomer / 1000, _MOST_WAIT, AT_MOST, "s", "virtual time")
    with race.step("among a thousand new keys"):
        _among_strangers(race)
    with race.step("a chain that waits"):
        left, needed = waiting_room(_WAITING // 10 if race.quick else _WAITING)
        note = f"of {_CHAIN} messages of a known author, after {needed:,} strangers' that wait"
        race.check("messages of the honest chain that wait", left, _CHAIN, AT_LEAST, "", note)
    with race.step(f"{_FILES:,} files of heads"), tempfile.TemporaryDirectory() as name:
        share = listening_share(Path(name), _FILES // 20 if race.quick else _FILES)
        race.check(f"{_FILES:,} files of heads: processor time", share, _MOST_SHARE, AT_MOST, "% of a core")


def _among_strangers(race: Race) -> None:
    """Hold what a peer says and whom it follows against a swarm of 1,000 keys that have just come."""
    with tempfile.TemporaryDirectory() as name:
        world = World(Path(name))
        world.run(_QUIET)
        ahead = MANIFEST.limits.skew // 2 - 1000
        strangers = [Author(6_000_000 + number) for number in range(1000)]
        for author in strangers:
            for _ in range(2):
                author.say(world.now + ahead - 60_000, joined("x"))
            message = update(author, world.now + ahead, world.frame)
            world.others.keep(message.cid, message.data)
        named, followed, ticks = 0, 0, 120
        for tick in range(ticks):
            for number in range(0, 1000, 64):
                part = strangers[number : number + 64]
                world.gossip.inbox[f"s{number}"] = Announcement(tuple(author.entry() for author in part))
            world.run(_TICK)
            own = {entry.author for entry in world.gossip.own.entries}
            must = {world.peer.author, *world.peer.following.followed()}
            named += {author[:PREFIX_BYTES] for author in must} <= own
            free = {author.identity.author for author in strangers}
            followed = max(followed, len(free & set(world.peer.following.followed()))) if tick * _TICK < 50_000 else 0
        note = f"{len(world.peer.tangle)} messages are attached"
        race.check(
            "own head and those of peers that are followed are announced",
            100 * named / ticks,
            100.0,
            AT_LEAST,
            "%",
            note,
        )
        race.check(f"new keys among {_FOLLOWED} that are followed", followed, 1, AT_MOST)
        hints = map(world.peer.tangle.node, world.peer.tangle.hints_for(world.peer.author, world.now))
        drag = max(0, *(hint.time - world.now for hint in hints if hint)) / 1000
        most = MANIFEST.limits.skew / 8 / 1000
        race.check(
            "dates ahead move the own clock by", drag, most, AT_MOST, "s", f"dates are {ahead / 1000:.0f} s ahead"
        )
        world.close()


def waiting_room(strangers: int) -> tuple[int, int]:
    """Return how many messages of a known author's chain still wait after so many strangers' messages, which wait."""
    with tempfile.TemporaryDirectory() as name:
        world = World(Path(name))
        world.run(_QUIET)
        author = world.honest[0]
        time = world.now - 300_000
        _, *chain = [author.say(time + 20 * number, {"kind": "note"}) for number in range(_CHAIN + 1)]
        for message in chain:
            world.own.keep(message.cid, message.data)
        world.gossip.inbox[author.name] = Announcement((author.entry(),))
        world.honest.clear()
        world.run(_TICK)
        flood, brought = waiting_keys(world), 0
        while brought < strangers:
            flood(world.now)
            brought += _RATE * _TICK // 1000
            world.run(_TICK)
        waiting = sum(message.author == author.identity.author for message in world.peer.tangle.waiting())
        world.close()
    return waiting, brought


def listening_share(directory: Path, files: int) -> float:
    """Return which share of a core, in %, four looks a second at a directory with so many files of heads need."""
    said = Announcement((Entry(bytes(PREFIX_BYTES), 1, Cid.of(DAG_CBOR, b"x"), None),)).to_bytes()
    gossip = LocalGossip(directory, None)
    for number in range(files):
        (directory / "heads" / peer_name(number.to_bytes(32, "big"))).write_bytes(said)
    list(gossip.heard())
    looks, begun = 40, time.process_time()
    for _ in range(looks):
        list(gossip.heard())
    return 100 * (time.process_time() - begun) / (looks * _TICK / 1000)


def _measured(flood: Callable[[World], Callable[[int], None]], wait: int, memory: bool) -> Cost:
    with tempfile.TemporaryDirectory() as name:
        world = World(Path(name))
        try:
            return world.cost(wait, flood(world), memory)
        finally:
            world.close()
