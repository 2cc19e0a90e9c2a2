"""Codecs of deltas: bytes, error and speed of each, and what a swarm of eight people reaches with it.

The swarm is the twin of the attacks' race: plain rounds with the product's frames, encoder and judge, on the wrist
task, where the simulator would take hours.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from statistics import median

import numpy as np

from bench.attacks.table import wrist_trial
from bench.attacks.twin import Outcome
from bench.attacks.twin import run as run_trial
from bench.harness import AT_LEAST, AT_MOST, Race, in_processes, seconds_of
from bench.swarms import SECOND, Wanderer, load_people, split_over
from learnae.ipld import dagcbor
from learnae.ipld.cid import DAG_CBOR, RAW, Cid
from learnae.membership.sealing import seal
from learnae.protocol.announcements import Announcement, Entry
from learnae.protocol.bodies import DELTA, NAME_BYTES, FrameHeader, Metrics, Update
from learnae.protocol.identity import Identity
from learnae.protocol.messages import compose
from learnae.simulation.simulator import Member, Setting, Simulation
from learnae.swarm.presets import preset
from learnae.weights.codecs import NAMES, Codec, Vector, codec_named
from learnae.weights.frames import VALUES_PER_BLOCK, FramePolicy

_SIZES = (4_295, 1_000_000, 10_000_000)
_DELTAS = NAMES[NAMES.index("q8") :]
_FAST = ("q8", "sign")
_LEAST_SPEED = 200  # MB of float32 a second and core
_EVERY = 32  # updates from one keyframe to the next, at most
_ROUNDS = (60, 240)
_SEEDS = 3
_BEHIND = 1.0  # points that the mean of eight may be behind q8 in the end: what seeds differ by
_MOST_STILL = 0.01
_MEGA = 1e6
_OTHERS = 3  # beside who comes back


def run(race: Race) -> None:
    """Measure each codec alone, then in a swarm."""
    sizes = _SIZES[:1] if race.quick else _SIZES
    for count in sizes:
        with race.step(f"codecs, {count:,} values"):
            for name in _DELTAS:
                measure(race, name, count)
    messages(race)
    returners(race)
    swarms(race)


def messages(race: Race) -> None:
    """Report where the bytes of an update's message go, which announces a frame in a swarm of eight."""
    rng = random.Random(1)
    own, parents = Cid.of(DAG_CBOR, b"own"), tuple(Cid.of(DAG_CBOR, rng.randbytes(8)) for _ in range(3))
    merged = tuple(rng.randbytes(NAME_BYTES) for _ in range(7))
    body = Update(FrameHeader(DELTA, "sign", 4295, own), 12_345, 400, Metrics(0.3, 0.9, 170), merged, 10**8, 10**8)
    plain = body.to_fields()
    sealed = seal(bytes(32), bytes(8), bytes(32), 4711, 0, dagcbor.encode(plain))
    for name, said in (("open", plain), ("sealed", sealed)):
        message = compose(
            Identity.from_seed(bytes(32)), own, 4711, parents, 1_800_000_000_000, said,
            blocks=(Cid.of(RAW, b"frame"),), checkpoint=False,
        )  # fmt: skip
        race.figure(f"message of an update, {name}", len(message.data), "B")
        fields = {**dagcbor.decode(message.data), **(plain if name == "open" else {"body (sealed)": said})}
        fields.pop("body")
        for field in sorted(fields, key=lambda field: -size_of(field, fields[field]))[:8]:
            race.figure(f"… {name}: {field}", size_of(field, fields[field]), "B")
    entry = Entry(bytes(8), 4711, own, parents[0])
    race.figure("announcement of eight authors", len(Announcement((entry,) * 8).to_bytes()), "B")


def returners(race: Race) -> None:
    """Hold what a peer fetches that was away for long against a keyframe and its deltas of each other."""
    names, seconds = (_DELTAS[:1], 40) if race.quick else (_DELTAS, 300)
    found = in_processes(
        race, f"swarms of four, one of them away for {seconds} s", returner, [(n, seconds) for n in names]
    )
    for name in names:
        back = found[name, seconds]
        race.figure(f"{name}: updates missed in {seconds} s", back.missed)
        race.figure(f"{name}: keyframe and deltas of each other", back.chain / _OTHERS, "B")
        told = f"{name}: frames fetched by who comes back, to keyframe and deltas"
        race.check(told, back.fetched / back.chain, 1.0, AT_MOST, "times", f"{_OTHERS} others, nothing new meanwhile")


@dataclass(frozen=True, slots=True)
class Back:
    """A peer that was away ``missed`` updates: bytes of frames that it ``fetched``, and of the others' chains."""

    missed: int
    fetched: int
    chain: int


def returner(name: str, seconds: int) -> Back:
    """Let one of four peers be away, and come back while the others publish nothing; raises RuntimeError if in vain."""
    manifest = replace(preset("wrist", 1), codec=FramePolicy("q8", name, _EVERY))
    datasets = split_over(load_people(manifest), _OTHERS + 1, manifest)
    simulation = Simulation(manifest, datasets, Setting(seed=1), Wanderer)
    *others, away = simulation.members
    simulation.run(30 * SECOND)
    simulation.crash(_OTHERS)
    before = sum(each.peer.own.last.seq for each in others if each.peer.own.last)
    simulation.run(seconds * SECOND)
    simulation.settle(10 * SECOND)  # what was published last is announced
    missed = sum(each.peer.own.last.seq for each in others if each.peer.own.last) - before
    simulation.restart(_OTHERS)
    had = {cid for cid in away.host.blocks if cid.codec == RAW}
    newest = {each.peer.author: each.peer.tangle.newest_of(each.peer.author) for each in others}
    chain = sum(sum(len(each.host.blocks[cid]) for cid in blocks_since_keyframe(each)) for each in others)
    fetched = 0
    receive = away.host.receive

    def counted(blocks: Mapping[Cid, bytes]) -> None:
        nonlocal fetched
        fetched += sum(len(data) for cid, data in blocks.items() if cid.codec == RAW and cid not in had)
        receive(blocks)

    away.host.receive = counted  # type: ignore[method-assign]
    simulation.settle(30 * SECOND)
    if any(away.peer.following.replicas[author].cid != cid for author, cid in newest.items()):
        raise RuntimeError(f"{name}: who came back does not have what others have said")
    return Back(missed, fetched, chain)


def blocks_since_keyframe(member: Member) -> list[Cid]:
    """Return the blocks of a member's newest frame and of those that it stands on."""
    tangle, found = member.peer.tangle, list[Cid]()
    step = tangle.newest_of(member.peer.author)
    while step is not None:
        node = tangle.node(step)
        if node is None or node.frame is None:
            raise RuntimeError("a member's newest message stands on no keyframe")
        found += node.blocks
        step = node.frame.base
    return found


def size_of(name: str, value: object) -> int:
    """Return the bytes that a field with its name takes in a map."""
    return len(dagcbor.encode({name: value})) - 1


def measure(race: Race, name: str, count: int) -> None:
    """Report a codec on steps as training makes them: of layers whose sizes differ."""
    codec = codec_named(name)
    parts = [values_of(number, min(VALUES_PER_BLOCK, count - start)) for number, start in blocks_of(count)]
    data = [codec.encode(part) for part in parts]
    lost = sum(
        float(np.sum((codec.decode(block, len(part)) - part) ** 2)) for block, part in zip(data, parts, strict=True)
    )
    whole = sum(float(np.sum(part**2)) for part in parts)
    told = f"{name}, {count:,} values"
    race.figure(f"{told}: frame", sum(map(len, data)), "B")
    race.figure(f"{told}: what one frame leaves out, of the norm", (lost / whole) ** 0.5)
    race.figure(
        f"{told}: zlib leaves", sum(len(zlib.compress(block, 9)) for block in data[:2]) / sum(map(len, data[:2]))
    )
    for what, seconds in speeds(codec, parts, data).items():
        speed = 4 * count / seconds / _MEGA
        if name in _FAST and count == _SIZES[1]:
            race.check(f"{told}: {what}", speed, _LEAST_SPEED, AT_LEAST, "MB/s of float32")
        else:
            race.figure(f"{told}: {what}", speed, "MB/s of float32")


def speeds(codec: Codec, parts: list[Vector], data: list[bytes]) -> dict[str, float]:
    """Return the seconds that it takes to encode and to decode all: the median of five."""

    def decode_all() -> None:
        for block, part in zip(data, parts, strict=True):
            codec.decode(block, len(part))

    def encode_all() -> None:
        for part in parts:
            codec.encode(part)

    return {
        what: median(seconds_of(action) for _ in range(5))
        for what, action in (("encode", encode_all), ("decode", decode_all))
    }


def blocks_of(count: int) -> list[tuple[int, int]]:
    """Return number and first value of each block."""
    return list(enumerate(range(0, count, VALUES_PER_BLOCK)))


def values_of(seed: int, count: int) -> Vector:
    """Return a step (count,): normal values, those of a layer of 1,000 ten times as large as those of the next."""
    drawn = np.random.default_rng(seed).normal(size=count)
    return (drawn * np.where(np.arange(count) // 1000 % 2, 0.001, 0.01)).astype(np.float32)


def swarms(race: Race) -> None:
    """Compare what eight people reach with each codec."""
    rounds = (4, 8) if race.quick else _ROUNDS
    seeds = 1 if race.quick else _SEEDS
    tasks = [(name, rounds, seed) for name in _DELTAS for seed in range(seeds)]
    found = in_processes(race, "swarms of eight", swarm, tasks)
    reached: dict[str, dict[int, float]] = {}
    for name in _DELTAS:
        runs = [found[name, rounds, seed] for seed in range(seeds)]
        reached[name] = {mark: 100 * float(np.mean([each.course[mark] for each in runs])) for mark in rounds}
        race.figure(
            f"{name}: frames of an update, keyframes included", float(np.mean([e.frame_bytes for e in runs])), "B"
        )
        race.figure(
            f"{name}: honest peers muted", float(np.mean([each.honest_muted for each in runs])), "of judgements"
        )
        still = float(np.mean([each.still for each in runs]))
        race.check(f"{name}: muted as they moved too little", still, _MOST_STILL, AT_MOST, "of judgements")
        for mark in rounds:
            race.figure(f"{name}: mean of eight after {mark} updates", reached[name][mark], "%")
    for name in _DELTAS[1:]:
        behind = reached["q8"][rounds[-1]] - reached[name][rounds[-1]]
        race.check(f"{name}: behind q8 after {rounds[-1]} updates", behind, _BEHIND, AT_MOST, "points")


def swarm(name: str, rounds: tuple[int, ...], seed: int) -> Outcome:
    """Run one swarm, judged, with deltas in the codec ``name``."""
    trial = wrist_trial(seed=seed, rounds=rounds[-1])
    return run_trial(replace(trial, frames=FramePolicy("q8", name, _EVERY), marks=rounds))
