"""What a member taught before it was found out leaves the models of the others: whole swarms in virtual time."""

from pathlib import Path

import numpy as np
import pytest
from builders import update_body

from learnae.adapters.local.bans import Ban, Bans
from learnae.ipld.cid import RAW, Cid
from learnae.models.dataset import Dataset
from learnae.models.optimisers import OptimiserPolicy
from learnae.models.reference.numpy_model import predict
from learnae.peer.learning.versions import VersionPolicy
from learnae.peer.peer import Peer
from learnae.ports import Heard
from learnae.protocol.announcements import PREFIX_BYTES, Announcement, Entry
from learnae.protocol.messages import Message, compose
from learnae.runtime.unmerging import EXCUSE_MS, Unmerging
from learnae.runtime.version_store import VersionKeeper
from learnae.simulation.in_memory import MemoryBlockStore
from learnae.simulation.simulator import Setting, Simulation
from learnae.swarm.manifest import Manifest, TrainingPolicy
from learnae.swarm.presets import dense_config

SECOND = 1000
HONEST, LIAR = range(4), 4
KEPT = 20  # seconds from one version to the next


def rows(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    drawn = np.random.default_rng(seed).normal(size=(count, 2))
    return drawn.astype(np.float32), (drawn.sum(axis=1) > 0).astype(np.int64)


class Village:
    """Four honest machines, each with versions and bans of its own, and one that comes later, perhaps to lie."""

    def __init__(self, directory: Path) -> None:
        training = TrainingPolicy(steps=8, batch=8)
        config = dense_config(2, (4,), 2, "softmax")
        self.manifest = Manifest(
            "tiny", config, "sparse_categorical_crossentropy", training=training, optimiser=OptimiserPolicy("momentum")
        )
        datasets = [Dataset(self.manifest.model, self.manifest.objective) for _ in range(5)]
        for index, data in enumerate(datasets):
            data.add(*rows(index, 40))
        self.test = rows(99, 1000)
        self.simulation = Simulation(self.manifest, datasets, Setting(seed=4))
        self.simulation.crash(LIAR)
        self.bans = [Bans(directory / str(index)) for index in HONEST]
        self.keepers = [self._keeper(directory, index) for index in HONEST]
        self.unmerging = [Unmerging(self.peer(index), self.bans[index], self.keepers[index]) for index in HONEST]

    def _keeper(self, directory: Path, index: int) -> VersionKeeper:
        (directory / str(index)).mkdir()
        policy = VersionPolicy(spacing=KEPT * SECOND)
        uptime = self.simulation.clock.uptime
        return VersionKeeper(directory / str(index), self.peer(index), policy, lambda: uptime() / 1000)

    def peer(self, index: int) -> Peer:
        return self.simulation.members[index].peer

    @property
    def liar(self) -> bytes:
        return self.simulation.members[LIAR].identity.author

    def run(self, seconds: int) -> None:
        for _ in range(seconds):
            self.simulation.run(SECOND)
            for unmerging, keeper in zip(self.unmerging, self.keepers, strict=True):
                unmerging.act()
                keeper.offer()

    def lie(self, factor: float) -> None:
        """Let the fifth come in, and publish ``factor`` times what it learns."""
        self.simulation.restart(LIAR)
        frames = self.peer(LIAR).frames
        encode = frames.encode
        frames.encode = lambda weights, *rest: encode(np.float32(factor) * weights, *rest)  # type: ignore[method-assign]

    def worst(self) -> float:
        """Return the least accuracy of the honest peers' estimates on rows of everybody's kind."""
        (drawn, targets), definition = self.test, self.manifest.definition
        found = [predict(definition, self.peer(index).estimate(), drawn).argmax(axis=1) for index in HONEST]
        return min(float(np.mean(classes == targets)) for classes in found)

    def tell(self, *messages: Message) -> None:
        for index in HONEST:
            host = self.simulation.network.hosts[index]
            for message in messages:
                MemoryBlockStore(host).put(message.cid.codec, message.data)
                entry = Entry(message.author[:PREFIX_BYTES], message.seq, message.cid, message.cid)
                host.inbox.append(Heard(str(message.cid), Announcement((entry,))))

    def say(self, number: int, body: dict | None = None, blocks: tuple[Cid, ...] = ()) -> Message:
        """Sign the liar's next message."""
        last = self.peer(LIAR).own.last
        assert last is not None
        member, now = self.simulation.members[LIAR], self.simulation.clock.time
        return compose(
            member.identity, self.manifest.swarm, last.seq + 1, (last.cid,), now, body or {"kind": f"no {number}"},
            blocks, checkpoint=True,
        )  # fmt: skip


def equivocate(village: Village) -> None:
    village.tell(village.say(1), village.say(2))
    village.simulation.crash(LIAR)


def sign_garbage(village: Village) -> None:
    count = village.manifest.model.count
    garbage = np.full(count, np.nan, "<f4").tobytes()
    for index in HONEST:
        MemoryBlockStore(village.simulation.network.hosts[index]).put(RAW, garbage)
    village.tell(village.say(1, update_body(count=count), (Cid.of(RAW, garbage),)))
    village.simulation.crash(LIAR)


def ask(village: Village) -> None:
    for bans in village.bans:
        bans.put(village.liar, Ban(village.simulation.clock.time, "by hand", unmerge=True))


@pytest.fixture(scope="module")
def without_liar(tmp_path_factory: pytest.TempPathFactory) -> float:
    village = Village(tmp_path_factory.mktemp("honest"))
    village.run(100)
    return village.worst()


@pytest.mark.parametrize(
    ("factor", "proof", "wait"),
    [(-1.0, sign_garbage, 0), (-10.0, ask, 0), (-1.0, equivocate, EXCUSE_MS // SECOND)],
    ids=["sign-flip", "scaled", "equivocation"],
)
def test_what_a_liar_taught_is_gone_soon_after_the_proof(tmp_path, without_liar, factor, proof, wait) -> None:
    village = Village(tmp_path)
    village.run(50)
    village.lie(factor)
    village.run(25)
    assert all(village.liar in village.peer(index).merging.held for index in HONEST)
    harmed = village.worst()

    proof(village)
    village.run(wait + 3)
    for index in HONEST:
        assert village.peer(index).unmerged["version"] is not None
        assert village.liar not in village.peer(index).merging.held
    village.run(25)
    assert village.worst() >= without_liar - 0.01
    assert all(village.liar not in village.peer(index).merging.held for index in HONEST)
    assert harmed < without_liar - 0.05
