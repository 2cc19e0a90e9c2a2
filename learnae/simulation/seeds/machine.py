"""A simulated machine with a disk of its own, that can die at any write of it, and a clock that is set."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from learnae.adapters.local.state_store import LocalStateStore
from learnae.basics.overriding import override
from learnae.errors import LearnaeError, NotWrittenError
from learnae.ipld.cid import DAG_CBOR, Cid
from learnae.models.dataset import Dataset
from learnae.models.private.private_learner import PrivateLearner
from learnae.models.reference.numpy_learner import NumpyLearner
from learnae.models.wrapped_learner import WrappedLearner
from learnae.peer.peer import Peer
from learnae.ports import BlockStore, Clock, Learner, StateStore, Trained
from learnae.privacy.noise.gaussian import KEY_BYTES, normals_of
from learnae.simulation.attacks import HONEST, Knowledge, forge
from learnae.simulation.network import VirtualClock
from learnae.simulation.seeds.disk import DiskBlockStore, Killed, SimulatedDisk
from learnae.simulation.seeds.invariants import RUNS, Broken, Witness, check_restarted
from learnae.simulation.simulator import Member, Simulation
from learnae.swarm.manifest import Manifest
from learnae.system.atomic_files import writing_to
from learnae.system.paths import STATE_FILE
from learnae.weights.codecs import Vector

_RETRY_MS = 2000  # until a service that could not start is started again
_BOOT_MS = 90_000  # a machine at the beginning has been up so long


class SetClock(Clock):
    """A machine's clock: ``offset`` ms wrong, up since ``booted`` of the virtual clock."""

    def __init__(self, clock: VirtualClock) -> None:
        self.offset = 0
        self.booted = clock.time - _BOOT_MS
        self._clock = clock

    @override
    def now(self) -> int:
        return self._clock.time + self.offset

    @override
    def uptime(self) -> int:
        return self._clock.time - self.booted


class Machine(Member):
    """One that dies by a power cut, or like a process, when its disk's fuse is spent, and is down for a while then.

    ``is_honest`` is False where it publishes a ``lie`` in place of its weights. ``known`` is what it knew at the last
    look: the newest seq by author.
    """

    def __init__(
        self,
        simulation: Simulation,
        number: int,
        data: Dataset,
        root: Path,
        witness: Witness,
        lie: str,
        is_archive: bool,
        machines: dict[int, Machine],
    ) -> None:
        self.number = number
        self.is_archive = is_archive
        self.is_honest = lie == HONEST
        self.is_down = False
        self.known: dict[bytes, int] = {}
        self.is_full_until = 0
        self.crashes = 0
        self._world = simulation
        machines[number] = self
        self._lie = lie
        self._witness = witness
        self._set_clock = SetClock(simulation.clock)
        rng = random.Random(f"{simulation.setting.seed}/{number}/disk")
        self._disk = SimulatedDisk(root / str(number), rng)
        self._is_power_cut, self._down_ms, self._steps = False, 0, 0
        self._opened: DiskBlockStore | None = None
        self._budgets: list[PrivateLearner] = []
        self._released = 0
        with writing_to(self._disk):
            super().__init__(simulation, number, data)
        self.host.blocks = _Blocks(self)

    @property
    def author(self) -> bytes:
        """Return the own public key."""
        return self.identity.author

    @property
    def store(self) -> DiskBlockStore:
        """Return the blocks on the disk."""
        assert self._opened is not None
        return self._opened

    @override
    def disk(self) -> tuple[BlockStore, StateStore]:
        self._opened = _Shown(self)
        self._disk.boot(self._opened)
        return self._opened, LocalStateStore(self._disk.peer / STATE_FILE)

    @override
    def boot(self) -> Peer:
        self.clock = self._set_clock
        return super().boot()

    @override
    def turn(self, is_training: bool) -> None:
        with self.living():
            super().turn(is_training)

    @override
    def listen(self) -> None:
        with self.living():
            super().listen()

    @contextmanager
    def living(self) -> Iterator[None]:
        """Do something as a process that can be killed, and that goes on when the disk takes nothing (PeerService)."""
        try:
            with writing_to(self._disk):
                yield
        except Killed:
            self._die()
        except NotWrittenError as error:
            self.peer.endure(error)
        except LearnaeError as error:
            raise Broken(RUNS, f"peer {self.number} ends: {type(error).__name__}: {error}") from error

    def show(self, data: bytes) -> None:
        """Tell the witness of a block that others may fetch from now on."""
        if self.is_honest and self._witness.see(self.number, self.author, data) and hasattr(self, "peer"):
            self._steps = max(self._steps, self.peer.steps)

    def private_learner(self, manifest: Manifest, data: Dataset, rng: np.random.Generator) -> PrivateLearner:
        """Return a learner that pays for its steps on this machine's disk."""
        assert manifest.privacy.training is not None
        return _Paying(self, self._disk, manifest, data, rng, self._entropy.randbytes)

    def release(self, learner: PrivateLearner) -> None:
        """Note how many steps are taken."""
        self._released = max(self._released, learner.spent.releases)

    # -- what goes wrong

    def light(self, fuse: int, is_power_cut: bool, down_ms: int) -> None:
        """Let the machine die after so many operations of its disk, if there is no sooner death in it."""
        if self._disk.fuse is None:
            self._disk.fuse, self._is_power_cut, self._down_ms = fuse, is_power_cut, down_ms

    def set_clock(self, offset: int) -> None:
        """Let the time of day be so many ms wrong."""
        self._set_clock.offset = offset

    def fill(self, is_full: bool) -> None:
        """Let the disk take nothing, or all again."""
        self._disk.is_full = is_full

    def mend(self) -> None:
        """End all that is wrong here but that the machine may be down."""
        self._disk.fuse = None
        self.fill(False)
        self.set_clock(0)

    def close(self) -> None:
        """Let go of all files."""
        for each in (self._opened, *self._budgets):
            if each is not None:
                each.close()

    def why_silent(self) -> str:
        """Return what a person would look at where this peer says nothing."""
        if self.is_down:
            return "it is down"
        own, catching_up = self.peer.own, self.peer.catching_up
        steward = self.peer.steward
        return (
            f"hearing since {catching_up.since}, {catching_up.progress}, last {own.last.seq if own.last else None}, "
            f"claimed {self.peer.replication.own_claimed}, {steward.standing if steward else 'open'}, "
            f"{self.peer.errors.counts}"
        )

    def _die(self) -> None:
        self.crashes += 1
        self.known = {}
        self._world.crash(self.number)
        self.is_down = True
        self._world.network.trace.update(f"{self.clock.now()} dies {self.number} {self._is_power_cut}\n".encode())
        self._disk.end(self._opened, self._budgets, self._is_power_cut)
        self._budgets.clear()
        self._opened = None
        self._world.network.at(self._world.clock.time + self._down_ms, self._rise)

    def _rise(self) -> None:
        """Start again from the disk."""
        if self._is_power_cut:
            self._set_clock.booted = self._world.clock.time
        try:
            with writing_to(self._disk):
                self._world.restart(self.number)
        except Killed:
            self._die()
        except NotWrittenError:  # systemd tries it again
            self._disk.end(self._opened, self._budgets, is_power_cut=False)
            self._budgets.clear()
            self._opened = None
            self._world.crash(self.number)
            self._world.network.at(self._world.clock.time + _RETRY_MS, self._rise)
        except LearnaeError as error:
            what = f"peer {self.number} does not start: {type(error).__name__}: {error}"
            raise Broken(RUNS, what) from error
        else:
            self.is_down = False
            check_restarted(self, self._witness.newest.get(self.number, -1), self._steps, self._released)


class _Paying(PrivateLearner):
    """Dies before or after it pays, as the disk says."""

    def __init__(
        self,
        machine: Machine,
        disk: SimulatedDisk,
        manifest: Manifest,
        data: Dataset,
        rng: np.random.Generator,
        entropy: Callable[[int], bytes],
    ) -> None:
        inner = NumpyLearner(
            manifest.definition, manifest.objective, manifest.optimiser, data, manifest.training.batch, rng
        )
        assert manifest.privacy.training is not None
        self._machine, self._disk = machine, disk
        disk.step()
        super().__init__(
            inner, data, manifest.privacy.training, manifest.optimiser, path=disk.budget, entropy=entropy,
            normals=lambda count: normals_of(entropy(KEY_BYTES), count),
        )  # fmt: skip
        machine._budgets.append(self)

    @override
    def train(self, steps: int) -> Trained:
        self._disk.step()
        trained = super().train(steps)
        self._machine.release(self)
        self._disk.step()
        return trained


class _Shown(DiskBlockStore):
    """Tells of own messages once others may fetch them."""

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine._disk, machine._set_clock.now, machine.host.ask)
        self._machine = machine

    @override
    def shown(self, cid: Cid, data: bytes) -> None:
        if cid.codec == DAG_CBOR:
            self._machine.show(data)


class _Blocks(MutableMapping[Cid, bytes]):
    """What the network sees of a machine's blocks, and where it puts those that come."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    @override
    def __contains__(self, cid: object) -> bool:
        machine = self._machine
        return not machine.is_down and cid in machine.store.names

    @override
    def __getitem__(self, cid: Cid) -> bytes:
        return self._machine.store.get(cid)

    @override
    def __setitem__(self, cid: Cid, data: bytes) -> None:
        with self._machine.living():
            self._machine.store.keep(cid, data)

    @override
    def __delitem__(self, cid: Cid) -> None:
        self._machine.store.delete([cid])

    @override
    def __iter__(self) -> Iterator[Cid]:
        return iter(sorted(self._machine.store.names))

    @override
    def __len__(self) -> int:
        return len(self._machine.store.names)


class LyingLearner(WrappedLearner):
    """Publishes a ``lie`` (attacks.ATTACKS), knowing what ``honest`` ones have."""

    def __init__(self, inner: Learner, lie: str, honest: Callable[[], list[Vector]], rng: np.random.Generator) -> None:
        super().__init__(inner)
        self._lie, self._honest, self._rng = lie, honest, rng
        self._old: Any = None

    @override
    def weights(self) -> Vector:
        own = super().weights()
        honest = self._honest() or [own]
        base = np.asarray(np.mean(honest, axis=0), np.float32)
        self._old = own if self._old is None else self._old
        return forge(self._lie, Knowledge(own, honest, base, self._old, self._rng))
