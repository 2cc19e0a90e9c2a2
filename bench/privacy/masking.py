"""Masked sums: how often one is begun anew where messages are lost, and what it costs a member."""

import os
import random
import time
from collections.abc import Callable
from statistics import mean, median

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from bench.harness import AT_LEAST, AT_MOST, Race, seconds_of
from learnae.basics.error_log import ErrorLog
from learnae.basics.overriding import override
from learnae.ipld import dagcbor
from learnae.ipld.cid import DAG_CBOR, Cid
from learnae.membership.policy import INVITE, Founder, MembershipPolicy
from learnae.membership.sealing import seal
from learnae.models.dataset import Dataset
from learnae.peer.masking.sums import MaskedSums, Source
from learnae.privacy.masking.masks import Group, masked, public_of, total
from learnae.privacy.masking.noise_share import Integers
from learnae.privacy.policy import MASKED, PrivacyPolicy, SummaryPrivacy
from learnae.protocol.identity import Identity
from learnae.protocol.limits import HOUR, MINUTE, Limits
from learnae.protocol.messages import compose
from learnae.protocol.sum_bodies import MOST_VALUES, MaskedVector, MaskOpen, MaskReady, SumBody
from learnae.samples.dp_statistics import layout_of
from learnae.simulation.network import Weather
from learnae.simulation.simulator import START, Setting, Simulation, identity_of
from learnae.swarm.manifest import Manifest
from learnae.swarm.presets import dense_config

_MEMBERS = (5, 8, 16)
_LOSSES = {0.02: (1.5, 1.5, 1.9), 0.05: (1.8, 2.0, 2.5)}  # most tries; sixteen are two groups
_TICK_MS = 5000
_VALUES = 4  # where masks are of no matter
_FULL = 7 * (1 + 30 + 30 * 31 // 2)  # values: seven classes of 30 features, with their products
_MOST_SECONDS = {_FULL: 0.02, MOST_VALUES: 0.1}  # of a core, in a group of sixteen
_SWARM = Cid.of(DAG_CBOR, b"a manifest")


class Numbers(Source):
    """Adds 1 for each value."""

    def __init__(self, values: int) -> None:
        self.values = values
        self.most_releases = 1

    @override
    def draw(self, members: int) -> Integers:
        return np.ones(self.values, np.int64)


def run(race: Race) -> None:
    """Count tries where messages are lost for good and where packets are, then weigh one sum."""
    trials = 2 if race.quick else 40
    with race.step(f"{trials} sums of each size, with messages that are lost for good"):
        for loss, bounds in _LOSSES.items():
            for members, bound in zip(_MEMBERS, bounds, strict=True):
                found = [tries(members, loss, seed) for seed in range(trials)]
                what = f"tries of {members} members, {loss:.0%} of vectors and seeds lost for good"
                race.check(what, mean(found), bound, AT_MOST, "", f"mean of {trials}; most {max(found)}")
    with race.step("sums over a network that loses packets"):
        for members in (8,) if race.quick else _MEMBERS:
            share, seconds = over_a_network(members, 0.05)
            race.check(f"of {members} members have the total, 5 % of packets lost", 100 * share, 100, AT_LEAST, "%")
            race.figure(f"from the start to the total of {members} members", seconds, "s")
    with race.step("masking and opening"):
        for values, bound in _MOST_SECONDS.items():
            weigh(race, values, bound, 3 if race.quick else 30)


def tries(members: int, loss: float, seed: int) -> int:
    """Return how many vectors a member masked, at most, until all had the total of all."""
    swarm = Losing(members, loss, seed)
    while not all(sums.standing.is_done for sums in swarm.sums.values()):
        swarm.tick()
        if swarm.now > START + 24 * HOUR:
            raise AssertionError(f"no total after a day: {members} members, {loss}, seed {seed}")
    return max(sums.standing.tries for sums in swarm.sums.values())


class Losing:
    """Members of whose vectors and seeds a share is lost for all others."""

    def __init__(self, members: int, loss: float, seed: int) -> None:
        self.now = START
        self._rng, self._loss, self._seq = random.Random(seed), loss, 0
        source = Numbers(_VALUES)
        authors = [identity_of(seed, number).author for number in range(members)]
        self.sums = {
            each: MaskedSums(each, _SWARM, _VALUES, 24 * HOUR, lambda _: source, ErrorLog()) for each in authors
        }

    def tick(self) -> None:
        """Let each act once."""
        self.now += _TICK_MS
        for author, sums in self.sums.items():
            sums.act(self.now, self.sums.keys(), 0, self._say(author))

    def _say(self, author: bytes) -> Callable[[SumBody], None]:
        def say(body: SumBody) -> None:
            self._seq += 1
            if isinstance(body, MaskReady) or self._rng.random() >= self._loss:
                for other, sums in self.sums.items():
                    if other != author:
                        sums.note(author, self._seq, body, self.now)

        return say


def over_a_network(members: int, loss: float) -> tuple[float, float]:
    """Return which share of the members of a simulated swarm has a total after ten minutes, and when all had it."""
    keys = [identity_of(1, index) for index in range(members)]
    manifest = Manifest(
        name="sums",
        config=dense_config(2, (), 1, "linear"),
        loss="mean_squared_error",
        membership=MembershipPolicy.of(INVITE, [Founder(key.author, key.x25519) for key in keys]),
        privacy=PrivacyPolicy(summary=SummaryPrivacy(sharing=MASKED)),
    )
    data = [Dataset(manifest.model, manifest.objective) for _ in keys]
    setting, source = Setting(seed=1, period=_TICK_MS, weather=Weather((10, 300), loss)), Numbers(_values_of(manifest))
    simulation = Simulation(manifest, data, setting, addends=lambda _: source)
    simulation.run(10 * MINUTE)
    totals = [member.peer.sums.totals for member in simulation.members if member.peer.sums]
    done = [each[-1].time for each in totals if each]
    return len(done) / members, (max(done, default=START) - START) / 1000


def _values_of(manifest: Manifest) -> int:
    layout = layout_of(manifest)
    assert layout is not None
    return layout.groups * layout.size


def weigh(race: Race, values: int, bound: float, repeats: int) -> None:
    """Check what one sum of sixteen members takes of a member's processor, and what it says."""
    privates = [X25519PrivateKey.generate() for _ in range(max(_MEMBERS))]
    authors = tuple(sorted(os.urandom(32) for _ in privates))
    group = Group(_SWARM, values, authors, tuple(map(public_of, privates)))
    seeds, addend = {author: os.urandom(32) for author in authors}, np.ones(values, np.int64)
    vectors = {
        author: masked(group, author, private, seeds[author], addend)
        for author, private in zip(authors, privates, strict=True)
    }
    before = time.process_time()
    seconds = median(
        seconds_of(lambda: masked(group, authors[0], privates[0], seeds[authors[0]], addend))
        + seconds_of(lambda: total(group, vectors, seeds))
        for _ in range(repeats)
    )
    note = f"median of {repeats}, {time.process_time() - before:.2f} s in all"
    race.check(f"masking and opening {values:,} values, 16 members", seconds, bound, AT_MOST, "s", note)
    size = said(MaskedVector(authors, group.keys, vectors[authors[0]]))
    race.check(f"message of {values:,} values", size, Limits().message_bytes, AT_MOST, "bytes")
    rest = said(MaskReady(group.keys[0], values)) + said(MaskOpen(group.name, seeds[authors[0]]))
    race.figure(f"all that a member says for a sum of {values:,} values", size + rest, "bytes")


def said(body: SumBody) -> int:
    """Return the bytes of a sealed message that says ``body``."""
    identity, seq = Identity.generate(), 1 << 20
    parents = tuple(Cid.of(DAG_CBOR, bytes([number])) for number in range(Limits().parents))
    sealed = seal(bytes(32), bytes(8), identity.author, seq, 0, dagcbor.encode(body.to_fields()))
    return len(compose(identity, _SWARM, seq, parents, START, sealed).data)
