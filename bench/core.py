"""The core's promises: a message costs the same in a long history, merging runs at memory speed, and a
peer's work does not grow with its swarm."""

import random
from collections.abc import Sequence
from statistics import median

import numpy as np

from bench.harness import AT_LEAST, AT_MOST, Race, in_processes, interleaved, seconds_of
from bench.swarms import SwarmCost, run_swarm
from learnae.ipld.cid import DAG_CBOR, RAW, Cid
from learnae.protocol.bodies import DELTA, NAME_BYTES, FrameHeader, Metrics, Update
from learnae.protocol.identity import Identity
from learnae.protocol.limits import Limits
from learnae.protocol.messages import Message, compose, open_message
from learnae.protocol.tangle import Tangle
from learnae.simulation.simulator import START
from learnae.weights.merge import weighted_sum

Task = tuple[int, int, int, bool]
SWARM = Cid.of(DAG_CBOR, b"bench")
FOLLOW = 8  # as many as an agent follows
_AUTHORS = 20
_CHECKPOINT = 500  # messages of an author from one checkpoint to the next: a chain may not be twice as long
_STEP = 50  # ms between two messages of the history


def run(race: Race) -> None:
    """Run all checks: first what is timed, alone on the machine, then the swarms, two at once."""
    check_attach(race)
    check_merge(race)
    check_swarms(race)


# -- a message in a long history


def check_attach(race: Race) -> None:
    """Check that verifying and attaching one message does not depend on how many there are."""
    short, long, batch, repeats = (100, 1000, 50, 3) if race.quick else (1_000, 100_000, 200, 15)
    with race.step(f"signing {long:,} messages"):
        history = make_history(long + repeats * batch)
    with race.step("verifying and attaching messages"):
        large = tangle_of(history[:long])
        fresh = iter([history[start : start + batch] for start in range(long, len(history), batch)])
        few, many = interleaved(
            repeats,
            lambda: attach_seconds(tangle_of(history[:short]), history[short : short + batch]),
            lambda: attach_seconds(large, next(fresh)),
        )
    at_few, at_many = median(few) / batch, median(many) / batch
    race.figure(f"verify and attach at {short:,} messages", at_few * 1e6, "µs a message")
    race.figure(f"verify and attach at {long:,} messages", at_many * 1e6, "µs a message")
    note = f"median of {repeats} batches of {batch}, in turn"
    race.check(f"verify and attach: {long:,} messages to {short:,}", at_many / at_few, 1.5, AT_MOST, "times", note)


def make_history(count: int) -> list[Message]:
    """Sign updates of several authors, each on the author's previous one and two recent ones of others."""
    rng = random.Random(1)
    authors = [Identity.from_seed(rng.randbytes(32)) for _ in range(_AUTHORS)]
    history: list[Message] = []
    for number in range(count):
        recent = history[-_AUTHORS:]
        own = recent[0] if len(recent) == _AUTHORS else None
        others = recent[1:] if own else recent
        tips = rng.sample(others, min(2, len(others)))
        parents = [*([own] if own else []), *tips]
        history.append(
            compose(
                authors[number % _AUTHORS],
                SWARM,
                seq=number // _AUTHORS,
                parents=tuple(parent.cid for parent in parents),
                time=START + number * _STEP,
                body=update_body(rng, own),
                blocks=(Cid.of(RAW, rng.randbytes(8)),),
                checkpoint=number // _AUTHORS % _CHECKPOINT == 0,
            )
        )
    return history


def update_body(rng: random.Random, base: Message | None) -> dict[str, object]:
    """Return the body of an update in a small swarm."""
    header = FrameHeader(DELTA, "q8", 4295, base.cid) if base else FrameHeader("key", "f16", 4295, None)
    metrics = Metrics(rng.random(), rng.random(), 50)
    merged = tuple(rng.randbytes(NAME_BYTES) for _ in range(FOLLOW))
    return Update(header, rng.randrange(10**6), 400, metrics, merged, rng.randrange(10**9), 10**8).to_fields()


def tangle_of(history: Sequence[Message]) -> Tangle:
    """Return a tangle that has attached these messages."""
    tangle = Tangle(Limits(), random.Random(2))
    for message in history:
        tangle.attach(message, message.time)
    return tangle


def attach_seconds(tangle: Tangle, messages: Sequence[Message]) -> float:
    """Return how long it takes to read, verify and attach blocks."""
    before = len(tangle)

    def attach_all() -> None:
        for message in messages:
            tangle.attach(open_message(message.data, SWARM, tangle.limits), message.time)

    seconds = seconds_of(attach_all)
    if len(tangle) != before + len(messages):
        raise AssertionError("a message was not attached")
    return seconds


# -- the merge


def check_merge(race: Race) -> None:
    """Check that merging runs at memory speed, as it reads each replica once."""
    count, size, repeats = (10, 100_000, 3) if race.quick else (100, 1_000_000, 9)
    with race.step(f"merging {count} replicas of {size:,} parameters"):
        rng = np.random.default_rng(3)
        replicas = [rng.standard_normal(size, np.float32) for _ in range(count)]
        weights = [1 / count] * count
        target = np.empty(size, np.float32)

        def copy_all() -> None:
            for replica in replicas:
                np.copyto(target, replica)

        merging, copying = interleaved(
            repeats, lambda: seconds_of(lambda: weighted_sum(replicas, weights)), lambda: seconds_of(copy_all)
        )
    volume = count * size * 4 / 1e9
    race.figure("merging", volume / min(merging), "GB/s read")
    race.figure("copying", volume / min(copying), "GB/s read")
    note = f"best of {repeats}, in turn; {count} replicas of {size:,} float32"
    race.check("merging, as a share of copying", min(copying) / min(merging), 0.40, AT_LEAST, "", note)


# -- the swarm's size


def check_swarms(race: Race) -> None:
    """Check that what a peer receives and keeps does not grow with the swarm, and that following few is enough."""
    sizes, ticks, large_ticks = ((4, 8, 12), 6, 4) if race.quick else ((10, 50, 200), 40, 8)
    few, most = sizes[0], sizes[-1]
    follow = 3 if race.quick else FOLLOW
    tasks = [
        (most, most - 1, ticks, False),  # the longest first
        *((size, follow, ticks, False) for size in reversed(sizes)),
        *((size, follow, large_ticks, True) for size in (most, few)),
    ]
    found = in_processes(race, f"swarms of up to {most} peers, {ticks} ticks", run_swarm, tasks)
    for size in sizes:
        report_swarm(race, found[size, follow, ticks, False])
    for size in (few, most):
        report_large_swarm(race, found[size, follow, large_ticks, True])
    compare_sizes(race, found[few, follow, ticks, False], found[most, follow, ticks, False])
    compare_totals(race, found[few, follow, large_ticks, True], found[most, follow, large_ticks, True])
    compare_following(race, found[most, follow, ticks, False], found[most, most - 1, ticks, False])


def report_swarm(race: Race, cost: SwarmCost) -> None:
    """Report all figures of one swarm."""
    name = f"{cost.peers} peers"
    race.figure(f"{name}: frames", cost.frame_bytes, "B a peer and tick")
    race.figure(f"{name}: messages", cost.message_bytes, "B a peer and tick")
    race.figure(f"{name}: heads and requests", cost.gossip_bytes, "B a peer and tick")
    race.figure(f"{name}: replicas in memory", cost.replica_memory, "B a peer")
    race.figure(f"{name}: tangle in memory", cost.tangle_memory, "B a peer")
    race.figure(f"{name}: messages in the tangle", cost.messages, "a peer")
    race.figure(f"{name}: tangle, a message", cost.tangle_memory / cost.messages, "B")
    race.figure(f"{name}: accuracy after {cost.ticks} ticks", cost.accuracy)


def report_large_swarm(race: Race, cost: SwarmCost) -> None:
    """Report the figures of a swarm with a large model; it learns nothing."""
    name = f"{cost.peers} peers, {cost.parameters:,} parameters"
    race.figure(f"{name}: frames", cost.frame_bytes, "B a peer and tick")
    race.figure(f"{name}: all that is received", cost.total_bytes, "B a peer and tick")
    race.figure(f"{name}: replicas in memory", cost.replica_memory, "B a peer")
    race.figure(f"{name}: replicas and tangle after {cost.ticks} ticks", cost.total_memory, "B a peer")


def compare_sizes(race: Race, small: SwarmCost, large: SwarmCost) -> None:
    """Compare the largest swarm to the smallest; totals of this small model grow, as messages reach all peers."""
    sizes = f"{large.peers} peers to {small.peers}"
    bounded = f"each follows {small.follow}"
    race.check(f"frame bytes: {sizes}", large.frame_bytes / small.frame_bytes, 1.2, AT_MOST, "times", bounded)
    memory = large.replica_memory / small.replica_memory
    race.check(f"replica memory: {sizes}", memory, 1.2, AT_MOST, "times", bounded)
    model = f"{small.parameters:,} parameters"
    race.figure(f"received in all, {model}: {sizes}", large.total_bytes / small.total_bytes, "times")
    race.figure(f"memory in all, {model}: {sizes}", large.total_memory / small.total_memory, "times")


def compare_totals(race: Race, small: SwarmCost, large: SwarmCost) -> None:
    """Check that messages of all peers to all peers do not matter with a model of usual size."""
    sizes = f"{large.peers} peers to {small.peers}"
    known = f"{large.messages:,.0f} messages known"  # memory grows with them
    note = f"{small.parameters:,} parameters, {small.ticks} ticks, {known}, each follows {small.follow}"
    total = large.total_bytes / small.total_bytes
    race.check(f"all bytes: {sizes}", total, 1.2, AT_MOST, "times", note)
    total = large.total_memory / small.total_memory
    race.check(f"all memory: {sizes}", total, 1.2, AT_MOST, "times", note)


def compare_following(race: Race, few: SwarmCost, every: SwarmCost) -> None:
    """Compare following few to following all."""
    for quarter, (of_few, of_all) in enumerate(zip(few.course, every.course, strict=True), 1):
        after = f"after {few.ticks * quarter // 4} ticks"
        race.figure(f"{few.peers} peers that follow {few.follow}: accuracy {after}", of_few)
        race.figure(f"{few.peers} peers that follow all: accuracy {after}", of_all)
    race.figure(f"{few.peers} peers that follow {few.follow}: worst peer's accuracy", few.worst)
    race.figure(f"{few.peers} peers that follow all: worst peer's accuracy", every.worst)
    race.figure(f"{few.peers} peers that follow all: frames", every.frame_bytes, "B a peer and tick")
    name = f"{few.peers} peers: accuracy lost by following {few.follow} and not all"
    note = f"mean over the peers' consensus estimates after {few.ticks} ticks, everybody's held-out windows"
    race.check(name, every.accuracy - few.accuracy, 0.01, AT_MOST, "", note)
