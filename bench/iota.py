"""Announcements over a Tangle: how many an hour, how soon a milestone includes them, and what the proof of work costs.

Over the loopback node of the tests always, and over Hornet where it is on PATH (or LEARNAE_HORNET names it).
"""

import io
import os
import shutil
import tempfile
import time
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from functools import partial
from pathlib import Path
from statistics import median

from bench.harness import AT_LEAST, AT_MOST, Race, seconds_of
from bench.rigs.processes import rig
from learnae.adapters.iota.announcements import EPOCH, Channel
from learnae.adapters.iota.gossip import IotaGossip, Pace
from learnae.adapters.iota.node import Node
from learnae.adapters.iota.proof_of_work import ALPHABET, hash_of, search
from learnae.config.sections import IotaSection
from learnae.ipld.cid import DAG_CBOR, Cid
from learnae.protocol.announcements import Announcement, Entry
from learnae.protocol.identity import Identity
from learnae.protocol.limits import HOUR, Limits

MWM = 9  # of a private Tangle
_AN_HOUR = 3600.0


def run(race: Race) -> None:
    """Measure each node by itself, then what is the same for all."""
    interval = 1 if race.quick else 5
    with tempfile.TemporaryDirectory(prefix="learnae-bench-") as directory:
        with loopback(Path(directory), interval) as url:
            measure(race, "loopback", url, interval)
        if shutil.which(os.environ.get("LEARNAE_HORNET") or "hornet"):
            with hornet(Path(directory), interval) as url:
                measure(race, "Hornet", url, interval)
    measure_work(race)


@contextmanager
def loopback(directory: Path, interval: int) -> Iterator[str]:
    """Run the node that tests use."""
    with rig("iri_node").IriNode(directory / "loopback", MWM, interval) as node:
        yield node.url


@contextmanager
def hornet(directory: Path, interval: int) -> Iterator[str]:
    """Run Hornet with a coordinator of its own, through scripts/private-tangle."""
    tangles = rig("tangles")
    tangle = Namespace(directory=directory / "hornet", json=True, node=None)
    made = Namespace(**vars(tangle), nodes=1, port=tangles.free_ports(10), interval=interval, depth=10, mwm=MWM)
    with redirect_stdout(io.StringIO()):  # its output is for people
        tangles.script.create(made)
        tangles.script.start(tangle)
    try:
        yield tangles.script.opened(tangle)[1][0].url
    finally:
        with redirect_stdout(io.StringIO()):
            tangles.script.stop(tangle)


def measure(race: Race, name: str, url: str, interval: int) -> None:
    """Let one peer announce as fast as it can and another listen; then wait for milestones."""
    count = 5 if race.quick else 20
    swarm = Cid.of(DAG_CBOR, os.urandom(8))
    speaker, listener = (make_gossip(url, swarm) for _ in range(2))
    speaker.turn()  # asks for the weight magnitude, reads old epochs
    with race.step(f"{name}: {count} announcements"):
        spoken, heard, effort, authors = [], [], [], list[bytes]()
        for number in range(count):
            speaker.announce(vector(number))
            cpu = time.thread_time()
            spoken.append(seconds_of(speaker.turn))
            effort.append(time.thread_time() - cpu)
            begun = time.perf_counter()
            listener.turn()
            authors += [entry.author for each in listener.heard() for entry in each.announcement.entries]
            heard.append(time.perf_counter() - begun)
    with race.step(f"{name}: waiting for milestones"):
        deadline = time.monotonic() + 60
        while speaker.counts.confirmed < count and time.monotonic() < deadline:
            time.sleep(0.1)
            speaker.turn()
    race.figure(f"{name}: all of an announcement", sum(effort) / count, "CPU s a message")
    race.figure(f"{name}: authors in one announcement", len(authors) / count)
    report(race, name, interval, speaker, spoken, heard)
    measure_tick(race, name, url)


def report(race: Race, name: str, interval: int, speaker: IotaGossip, spoken: list[float], heard: list[float]) -> None:
    """Report all figures of one node."""
    an_hour = _AN_HOUR / (sum(spoken) / len(spoken))
    pace = IotaSection()
    race.figure(f"{name}: announcements, as fast as one peer can", an_hour, "an hour and peer")
    race.figure(f"{name}: announcements at the default pace", _AN_HOUR / pace.every, "an hour and peer")
    race.figure(f"{name}: one announcement", median(spoken), "s")
    race.figure(f"{name}: reading what is new", median(heard), "s")
    work = speaker.node.work_seconds / speaker.counts.announced
    race.figure(f"{name}: proof of work at magnitude {MWM}", work, "CPU s a message")
    latencies = sorted(speaker.counts.latencies) or [float("nan")]
    race.figure(f"{name}: confirmed, median", median(latencies), "s")
    race.figure(f"{name}: confirmed, slowest", latencies[-1], "s")
    note = "the default pace must leave a peer time for other things"
    race.check(f"{name}: announcements an hour and peer", an_hour, _AN_HOUR / pace.every, AT_LEAST, "", note)
    race.check(f"{name}: proof of work", work, 2.0, AT_MOST, "CPU s a message", f"magnitude {MWM}")
    note = f"milestones every {interval} s, {speaker.counts.confirmed} of {len(spoken)} confirmed"
    race.check(f"{name}: confirmed, median", median(latencies), 2.5 * interval, AT_MOST, "s", note)


def measure_tick(race: Race, name: str, url: str) -> None:
    """Measure a tick's calls while the gossip's thread works as hard as it can."""
    gossip = make_gossip(url, Cid.of(DAG_CBOR, os.urandom(8)), Pace(0.1, 0.1))
    longest, rounds = 0.0, 50 if race.quick else 500
    with race.step(f"{name}: {rounds} ticks beside a busy thread"):
        gossip.start()
        for number in range(rounds):
            said = vector(number)
            longest = max(longest, seconds_of(partial(gossip.announce, said)), seconds_of(gossip.heard))
            time.sleep(0.02)
        gossip.close()
    note = "announce and heard are all that a tick does with it"
    race.check(f"{name}: longest call of a tick", longest, 0.1, AT_MOST, "s", note)


def measure_work(race: Race) -> None:
    """Measure the proof of work and the hash by themselves."""
    trytes = Node("http://127.0.0.1:1").propose(
        os.urandom(500), Channel(str(Cid.of(DAG_CBOR, b""))).tag(1), "A" * 80 + "9"
    )
    magnitudes = (7, 8) if race.quick else (9, 10, 11)
    for mwm in magnitudes:
        repeats = 3 if race.quick else 20
        with race.step(f"proof of work at magnitude {mwm}"):
            samples = [f"{letter * 27}{trytes[27:]}" for letter in ALPHABET.decode()[:repeats]]
            seconds = [seconds_of(partial(search, sample, mwm)) for sample in samples]
        race.figure(f"proof of work at magnitude {mwm}", sum(seconds) / repeats, "s, mean")
        race.figure(f"nonces tried at magnitude {mwm}", 3.0**mwm * repeats / sum(seconds), "a second, expected")
    race.figure("hashing a transaction", median([seconds_of(lambda: hash_of(trytes)) for _ in range(9)]) * 1000, "ms")


def vector(seq: int) -> Announcement:
    """Return what a peer announces that knows as many authors as there may be, each of whom has said ``seq`` + 1."""
    names = [Cid.of(DAG_CBOR, b"%d" % number) for number in range(seq, seq + Limits().entries + 1)]
    return Announcement(tuple(Entry(b"%08d" % n, seq, cid, names[0]) for n, cid in enumerate(names[1:])))


def make_gossip(url: str, swarm: Cid, pace: Pace | None = None) -> IotaGossip:
    """Return the gossip of one peer, with a key of its own."""
    channel, identity = Channel(str(swarm)), Identity.generate()
    return IotaGossip(Node(url), channel, identity, swarm, min(24 * HOUR, 6 * EPOCH), pace or Pace(0.1, 0.0))
