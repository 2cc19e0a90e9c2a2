"""One scenario, played: a swarm, what happens to it, and a look at each second whether all holds that must."""

from __future__ import annotations

import random
import tempfile
import traceback
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from learnae.ipld.cid import DAG_CBOR
from learnae.membership.gate import MEMBER
from learnae.membership.ledger import Ledger
from learnae.membership.policy import Founder, MembershipPolicy
from learnae.membership.records import Invite, Join, prove_join
from learnae.models.dataset import Dataset
from learnae.models.optimisers import OptimiserPolicy
from learnae.models.reference.numpy_learner import evaluate
from learnae.ports import Learner
from learnae.privacy.policy import PrivacyPolicy, TrainingPrivacy
from learnae.protocol.identity import Identity
from learnae.protocol.limits import HOUR, Limits
from learnae.simulation.attacks import HONEST
from learnae.simulation.network import Weather
from learnae.simulation.seeds.invariants import AGREES, FRAMES, RUNS, SPEAKS, Broken, Witness, check_end, check_running
from learnae.simulation.seeds.machine import LyingLearner, Machine
from learnae.simulation.seeds.scenario import (
    CLOCK,
    FULL,
    INVITE,
    KILL,
    OPEN,
    PARTITION,
    POWER_CUT,
    SECOND,
    Event,
    Scenario,
)
from learnae.simulation.seeds.strangers import Stranger
from learnae.simulation.simulator import Setting, Simulation, identity_of, numpy_learner
from learnae.swarm.manifest import Manifest, TrainingPolicy
from learnae.swarm.presets import dense_config
from learnae.weights.codecs import Vector
from learnae.weights.frames import FramePolicy
from learnae.weights.merge import MergePolicy

_COLUMNS, _ROWS, _TEST_ROWS = 2, 24, 200
_GRACE = 10 * SECOND
_SPEAK_SECONDS = 150  # until all publish again: hearing first takes 12 to 20 s, for own messages that are claimed 50
_CALM_SECONDS = 6  # in which what was published last is fetched
_SETTLE_SECONDS = 60
_PATIENCE = 4  # updates without a gain
_TRAINED_STEPS = 40  # of each peer, before the model is expected to be good
_WHERE = Path("/dev/shm")  # noqa: S108 - memory, where there is such a place


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a scenario: ``broken`` and where, at which ``second``; "" if all held.

    ``trace`` is a hash of all that happened: two runs of one scenario have the same.
    """

    broken: str
    detail: str
    second: int
    trace: str
    crashes: int
    messages: int


def play(scenario: Scenario) -> Outcome:
    """Play a scenario on disks in a temporary directory."""
    where = _WHERE if _WHERE.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="learnae-seed-", dir=where) as directory:
        world = World(scenario, Path(directory))
        try:
            world.trouble()
            world.recover()
        except Broken as broken:
            return world.outcome(broken.invariant, broken.detail)
        except Exception as error:  # noqa: BLE001 - whatever would end a peer is what is looked for
            last = traceback.extract_tb(error.__traceback__)[-1]
            return world.outcome(RUNS, f"{type(error).__name__}: {error} ({Path(last.filename).name}:{last.lineno})")
        finally:
            world.close()
        return world.outcome()


class World:
    """The swarm of a ``scenario``, with machines in ``root``."""

    def __init__(self, scenario: Scenario, root: Path) -> None:
        self.scenario = scenario
        self.witness = Witness()
        self._rng = random.Random(f"world {scenario.seed}")
        self._second = 0
        self._booting: dict[int, Machine] = {}  # as they are made
        manifest = _manifest(scenario)
        self._data = [_dataset(manifest, scenario.seed, number) for number in range(scenario.peers)]
        setting = Setting(
            seed=scenario.seed,
            period=scenario.period,
            patience=_PATIENCE if scenario.settles else 0,
            listen=scenario.period // 4 if scenario.listens else 0,
            weather=Weather((10, scenario.delay), scenario.loss, scenario.doubles),
        )
        self.simulation = Simulation(manifest, self._data, setting, self._learner, make=partial(self._machine, root))
        self.machines: list[Machine] = self.simulation.members  # type: ignore[assignment]
        self.honest = [machine for machine in self.machines if machine.is_honest]
        self._strangers: list[Stranger] = []
        start = self.simulation.clock.time
        for event in scenario.events:
            if event.peer < scenario.peers:
                self.simulation.network.at(start + event.time, partial(self._happen, event))
        if scenario.membership == INVITE and scenario.peers > _founders(scenario):
            self.simulation.network.at(start + 3 * SECOND, self._invite)

    def trouble(self) -> None:
        """Let happen what the scenario says; raises Broken."""
        for _ in range(self.scenario.seconds):
            self._pass_second()

    def recover(self) -> None:
        """End all trouble, and see that the swarm is well again; raises Broken."""
        self._heal()
        before = dict(self.witness.newest)
        for _ in range(_SPEAK_SECONDS):
            silent = [machine for machine in self.honest if self._is_silent(machine, before)]
            if not silent:
                break
            self._pass_second()
        else:
            raise Broken(SPEAKS, f"peer {silent[0].number} after {_SPEAK_SECONDS} s: {silent[0].why_silent()}")
        for _ in range(_CALM_SECONDS):
            self._pass_second()
        self._settle()
        now = self.simulation.clock.time
        for machine in self.honest:
            machine.peer.hear()
            machine.peer.merging.believe(machine.peer.frames.own_vote, now)
        check_end(self.honest, self.witness, self._is_one(), self._accuracy())

    def _is_silent(self, machine: Machine, before: dict[int, int]) -> bool:
        """Return True until a peer has said something new, on which others can stand."""
        newest = self.witness.newest
        has_spoken = newest.get(machine.number, -1) > before.get(machine.number, -1) and not machine.is_down
        if not machine.is_down and machine.peer.settling.since is not None:
            has_spoken = True  # it has nothing to add
        return not has_spoken or machine.peer.catching_up.since is not None or machine.peer.own.needs_checkpoint

    def outcome(self, broken: str = "", detail: str = "") -> Outcome:
        """Return what came of it so far."""
        crashes = sum(machine.crashes for machine in self.machines)
        trace = self.simulation.network.trace.hexdigest()
        return Outcome(broken, detail, self._second, trace, crashes, len(self.witness.said))

    def close(self) -> None:
        """Let go of all files."""
        for machine in self.machines:
            machine.close()

    def _pass_second(self) -> None:
        self._second += 1
        self.simulation.run(SECOND)
        for machine in self.honest:
            if not machine.is_down:
                check_running(machine, self.machines)

    def _settle(self) -> None:
        """Let peers only hear and announce until all know the same, and have decoded it; raises Broken."""
        for _ in range(_SETTLE_SECONDS):
            sets, behind = self._known(), self._behind()
            if len(set(sets)) == 1 and not behind:
                return
            self._second += 1
            self.simulation.settle(SECOND)
        if len(set(sets)) > 1:
            counts = ", ".join(str(len(each)) for each in sets)
            raise Broken(AGREES, f"after {_SETTLE_SECONDS} s peers know {counts} messages of each other, or others")
        raise Broken(FRAMES, f"after {_SETTLE_SECONDS} s {behind}")

    def _behind(self) -> str:
        """Return whose newest update is not decoded, and where; "" if all are that are followed."""
        for machine in self.honest:
            following = machine.peer.following
            for other in self.honest:
                news, replica = following.news.get(other.author), following.replicas.get(other.author)
                if self._is_one() and other is not machine and news and (replica is None or replica.cid != news.cid):
                    return f"peer {machine.number} has not decoded the newest update of peer {other.number}"
        return ""

    def _known(self) -> list[frozenset[object]]:
        """Return the newest messages of honest peers that each of them knows.

        Of strangers they need not know the same: that a key which nobody has followed is banned is said to nobody
        (Accuser), so those who were told both halves of its lie ban it, and others do not.
        """
        authors = {machine.author for machine in self.honest}
        return [
            frozenset((author, entry.head) for author, entry in machine.peer.tangle.entries() if author in authors)
            for machine in self.honest
        ]

    # -- what happens

    def _happen(self, event: Event) -> None:
        machine = self.machines[event.peer]
        at_end = self.simulation.clock.time + event.length
        if event.kind in (KILL, POWER_CUT):
            machine.light(event.amount, event.kind == POWER_CUT, event.length)
        elif event.kind == CLOCK:
            machine.set_clock(event.amount)
            self.simulation.network.at(at_end, partial(machine.set_clock, 0))
        elif event.kind == FULL:
            machine.fill(True)
            self.simulation.network.at(at_end, partial(machine.fill, False))
        elif event.kind == PARTITION:
            groups = [self._rng.randrange(event.amount) for _ in self.machines]
            self.simulation.network.groups = dict(enumerate(groups))
            self.simulation.network.at(at_end, self.simulation.heal)
        else:
            stranger = Stranger(self.simulation, event, random.Random(f"{self.scenario.seed} {event}"))
            self._strangers.append(stranger)
            stranger.begin()

    def _heal(self) -> None:
        self.simulation.heal()
        self.simulation.network.weather = Weather()
        for machine in self.machines:
            machine.mend()
        for stranger in self._strangers:
            stranger.end()

    def _invite(self) -> None:
        """Let a founder invite the last peer, and that one join; tried again while either is down or its disk full."""
        founder, joiner = self.machines[0], self.machines[-1]
        if not joiner.is_down and joiner.peer.steward and joiner.peer.steward.standing == MEMBER:
            return
        self.simulation.network.at(self.simulation.clock.time + SECOND, self._invite)
        if founder.is_down or joiner.is_down:
            return
        key = Identity.from_seed(random.Random(f"invite {self.scenario.seed}").randbytes(32))
        expires = self.simulation.clock.time + HOUR
        invites = list(self._ledger(joiner).roster().invites)
        if not self._ledger(founder).roster().invites:
            self._publish(founder, Invite(key.author, 1, expires))
        elif invites and not any(record.author == joiner.author for record in self._ledger(joiner).records()):
            proof = prove_join(key, self.simulation.manifest.swarm, joiner.author)
            self._publish(joiner, Join(joiner.identity.x25519, invites[0], proof))

    def _publish(self, machine: Machine, body: Invite | Join) -> None:
        with machine.living():
            assert machine.peer.steward is not None
            record = machine.peer.steward.publish(body)
            machine.store.put(DAG_CBOR, record.data, durable=True)  # as the command does (Registrar)

    def _ledger(self, machine: Machine) -> Ledger:
        ledger = machine.peer.replication.gate.ledger
        assert ledger is not None
        return ledger

    # -- who is there

    def _machine(self, root: Path, simulation: Simulation, number: int, data: Dataset) -> Machine:
        scenario = self.scenario
        lie = scenario.lie if number == scenario.peers - 1 and scenario.peers > 1 else HONEST
        return Machine(
            simulation, number, data, root, self.witness, lie, scenario.archive and number == 0, self._booting
        )

    def _learner(self, manifest: Manifest, data: Dataset, rng: np.random.Generator) -> Learner:
        number = next(index for index, each in enumerate(self._data) if each is data)
        if self.scenario.private:
            return self._booting[number].private_learner(manifest, data, rng)
        learner = numpy_learner(manifest, data, rng)
        is_liar = self.scenario.lie != HONEST and data is self._data[-1]
        return LyingLearner(learner, self.scenario.lie, self._weights, rng) if is_liar else learner

    def _weights(self) -> list[Vector]:
        members = getattr(getattr(self, "simulation", None), "members", [])
        return [member.peer.training.learner.weights() for member in members if member.is_honest]

    def _is_one(self) -> bool:
        """Return True if all follow all: nobody else has published an update."""
        return self.scenario.lie == HONEST and not self._strangers

    def _accuracy(self) -> float | None:
        """Return the lowest accuracy of an honest estimate; None if it says nothing."""
        if self.scenario.lie != HONEST or self._strangers or self.scenario.private:
            return None
        if min(machine.peer.steps for machine in self.honest) < _TRAINED_STEPS:
            return None
        manifest, rng = self.simulation.manifest, np.random.default_rng(99)
        rows, targets = _draw(rng, _TEST_ROWS)
        found = [
            evaluate(manifest.definition, manifest.objective, machine.peer.estimate(), rows.astype(np.float32), targets)
            for machine in self.honest
        ]
        return min((each.accuracy for each in found if each and each.accuracy is not None), default=None)


def _founders(scenario: Scenario) -> int:
    return max(1, scenario.peers - 1)


def _manifest(scenario: Scenario) -> Manifest:
    membership = None
    if scenario.membership != OPEN:
        keys = [identity_of(scenario.seed, number) for number in range(_founders(scenario))]
        membership = MembershipPolicy.of("invite", [Founder(key.author, key.x25519) for key in keys], 0)
    return Manifest(
        "seed",
        dense_config(_COLUMNS, (4,), 2, "softmax"),
        "sparse_categorical_crossentropy",
        training=TrainingPolicy(steps=2, batch=8),
        optimiser=OptimiserPolicy("momentum", learning_rate=0.1),
        merge=MergePolicy(half_life=min(MergePolicy().half_life, scenario.horizon // 10)),
        codec=FramePolicy(every=scenario.every),
        limits=Limits(horizon=scenario.horizon, skew=scenario.skew, grace=_GRACE),
        membership=membership,
        privacy=PrivacyPolicy(TrainingPrivacy(epsilon=8.0, releases=1000)) if scenario.private else PrivacyPolicy(),
    )


def _dataset(manifest: Manifest, seed: int, number: int) -> Dataset:
    data = Dataset(manifest.model, manifest.objective)
    data.add(*_draw(np.random.default_rng((seed, number)), _ROWS))
    return data


def _draw(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return ``count`` rows (count, 2), and on which side of a line each is."""
    rows = rng.normal(size=(count, _COLUMNS))
    return rows, (rows.sum(axis=1) > 0).astype(np.int64)
