"""What sealing costs: bytes a second, and the share of an agent's tick."""

import os
import time
from collections.abc import Callable, Sequence
from statistics import median

import numpy as np

from bench.core import FOLLOW
from bench.harness import AT_LEAST, AT_MOST, Race, interleaved, seconds_of
from bench.swarms import FOUNDING, SECOND, load_people, split_over
from learnae.basics.overriding import override
from learnae.ipld import dagcbor
from learnae.ipld.cid import RAW, Cid
from learnae.membership.sealing import Seals, Secrets
from learnae.protocol.bodies import Update
from learnae.protocol.identity import Identity
from learnae.protocol.limits import Limits
from learnae.protocol.messages import compose, open_message
from learnae.protocol.opener import MessageOpener
from learnae.simulation.simulator import START, Setting, Simulation
from learnae.swarm.presets import preset
from learnae.weights.codecs import codec_named
from learnae.weights.frames import VALUES_PER_BLOCK, FramePolicy, encode_frame

_VALUES = 4 * VALUES_PER_BLOCK  # of a frame of four blocks, as large as they may be
_SMALL = {"4.4 kB": 4400, "600 bytes": 600}
_LEAST_SPEED = 500.0  # MB/s, of large blocks
_MOST_SHARE = 3.0  # % of a tick
_BATCH = 20  # of small ones, that are timed together


class OneEpoch(Secrets):
    """A key epoch that never ends."""

    def __init__(self) -> None:
        self._name, self._secret = os.urandom(8), os.urandom(32)

    @override
    def current(self) -> tuple[bytes, bytes] | None:
        return self._name, self._secret

    @override
    def secret_of(self, name: bytes) -> bytes | None:
        return self._secret if name == self._name else None


def run(race: Race) -> None:
    """Time sealing and opening alone, then what one tick of a swarm's member does of it, and the tick."""
    seals, repeats = Seals(is_sealed=True, secrets=OneEpoch()), 5 if race.quick else 200
    with race.step("sealing and opening blocks"):
        check_frame(race, seals, repeats)
        for name, size in _SMALL.items():
            sealing, opening = (found / _BATCH for found in median_seconds(seals, [os.urandom(size)] * _BATCH, repeats))
            race.figure(f"sealing {name}", sealing * 1e6, "µs")
            race.figure(f"opening {name}", opening * 1e6, "µs")
    with race.step("a tick of a wrist swarm"):
        check_tick(race, seals, repeats, 3 if race.quick else 60)


def check_frame(race: Race, seals: Seals, repeats: int) -> None:
    """Check a keyframe's blocks of 1 MiB, in a process that has made it."""
    weights = np.random.default_rng(1).normal(size=_VALUES).astype(np.float32)
    frame = encode_frame(weights, None, None, FramePolicy("f32"))
    times = median_seconds(seals, frame.blocks, repeats)
    for what, seconds in zip(("sealing", "opening"), times, strict=True):
        speed = sum(map(len, frame.blocks)) / seconds / 1e6
        note = f"{len(frame.blocks)} blocks, median of {repeats}: {seconds * 1e3:.2f} ms"
        race.check(f"{what} a frame of {_VALUES:,} float32", speed, _LEAST_SPEED, AT_LEAST, "MB/s", note)


def median_seconds(seals: Seals, blocks: Sequence[bytes], repeats: int) -> tuple[float, float]:
    """Return how long it takes to seal these blocks, and to open them, one after another."""
    author = os.urandom(32)
    sealed = [seals.block(author, 7, index, block) for index, block in enumerate(blocks)]

    def seal_all() -> None:
        for index, block in enumerate(blocks):
            seals.block(author, 7, index, block)

    def open_all() -> None:
        for index, block in enumerate(sealed):
            seals.opened_block(author, 7, index, block)

    sealing, opening = interleaved(repeats, lambda: seconds_of(seal_all), lambda: seconds_of(open_all))
    return median(sealing), median(opening)


def check_tick(race: Race, seals: Seals, repeats: int, ticks: int) -> None:
    """Check what a member adds to its tick: its own update is sealed, and those of all that it follows are opened."""
    manifest = preset("wrist", 1)
    peers = FOLLOW + 1
    simulation = Simulation(
        manifest, split_over(load_people(manifest), peers, manifest), Setting(seed=1, follow=FOLLOW)
    )
    for index in range(peers):  # which verifies for itself what it hears
        simulation.opener = MessageOpener()
        simulation.restart(index)
    simulation.run(FOUNDING + 10 * SECOND)
    before, said = time.process_time(), simulation.members[0].peer.own.last
    simulation.run(ticks * SECOND)
    tick = (time.process_time() - before) / ticks / peers
    last = simulation.members[0].peer.own.last
    if last is None or said is None or last.seq < said.seq + ticks // 2:
        raise AssertionError("the swarm has not learned meanwhile")
    update, block = newest_update(simulation), codec_named(manifest.codec.delta).size(manifest.model.count)
    plain, sealed = (Tick(form, manifest.swarm, update, os.urandom(block)) for form in (Seals(), seals))
    times = interleaved(10 * repeats, lambda: used(plain.act), lambda: used(sealed.act))
    open_seconds, sealed_seconds = (float(np.quantile(found, 0.1)) for found in times)  # signatures take most of it
    race.figure("a tick of 26 steps, and what it hears", tick * 1e3, "ms")
    race.figure("all that a sealed swarm adds, of a tick", 100 * (sealed_seconds - open_seconds) / tick, "%")
    sealing, opening = median_seconds(seals, [bytes(sealed.body_bytes), os.urandom(block)], repeats)
    seconds = sealing + FOLLOW * opening
    note = f"an update sealed, {FOLLOW} opened: {seconds * 1e6:.0f} µs"
    race.check("sealing and opening, of a tick", 100 * seconds / tick, _MOST_SHARE, AT_MOST, "%", note)


def used(action: Callable[[], object]) -> float:
    """Return the processor time of one call: other processes would hide it."""
    begun = time.process_time()
    action()
    return time.process_time() - begun


class Tick:
    """What a member does in one tick with messages and the blocks of their frames, in a swarm of one form."""

    def __init__(self, seals: Seals, swarm: Cid, update: Update, frame: bytes) -> None:
        self._seals, self._swarm, self._frame, self._fields = seals, swarm, frame, update.to_fields()
        self._identity, self._limits = Identity.generate(), Limits()
        self._said, self._block = self._say()
        self.body_bytes = len(dagcbor.encode(self._fields))

    def act(self) -> None:
        """Say one update, and read as many as an agent follows."""
        self._say()
        for _ in range(FOLLOW):
            self._seals.opened(open_message(self._said, self._swarm, self._limits), self._limits)
            self._seals.opened_block(self._identity.author, 7, 0, self._block)

    def _say(self) -> tuple[bytes, bytes]:
        author = self._identity.author
        block, body = self._seals.block(author, 7, 0, self._frame), self._seals.body(author, 7, self._fields)
        links = (Cid.of(RAW, block),)
        message = compose(self._identity, self._swarm, 7, (self._swarm,), START, body, links)
        message.opened(self._fields, self._limits)
        return message.data, block


def newest_update(simulation: Simulation) -> Update:
    """Return what the newest update says that the first member has attached."""
    member, manifest = simulation.members[0], simulation.manifest
    for cid in reversed(list(member.peer.tangle.cids())):
        message = open_message(member.host.blocks[cid], manifest.swarm, manifest.limits)
        if isinstance(message.body, Update):
            return message.body
    raise AssertionError("no update")
