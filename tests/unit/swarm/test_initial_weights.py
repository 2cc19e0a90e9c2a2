"""Starting weights that a manifest names, for peers that cannot draw them; no Keras is needed here."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from block_rows import spoil
from builders import NOW, damaged, escaped, identity

from learnae.adapters.local.block_store import LocalBlockStore
from learnae.errors import ConfigurationError, ManifestError, ModelError
from learnae.ipld import dagcbor
from learnae.ipld.cid import RAW, Cid
from learnae.models.outline import MAX_PARAMETERS, Outline
from learnae.models.passive_learner import PassiveLearner
from learnae.peer.peer import Options, Ports, compose_peer
from learnae.simulation.in_memory import MemoryBlockStore, MemoryGossip, MemoryStateStore, SilentMonitor
from learnae.simulation.network import Network, VirtualClock, Weather
from learnae.swarm.initial_weights import start_blocks, start_links, starting_weights
from learnae.swarm.manifest import Manifest
from learnae.swarm.presets import dense_config

START = np.arange(40, dtype=np.float32) / 7
BLOCKS = start_blocks(START)
FOREIGN = {"class_name": "Functional", "config": {"layers": ["whatever Keras reads"]}}
OUTLINE = Outline((4, 2), (3,), 40, "softmax")


def foreign(**changes: Any) -> Manifest:
    settings = {"config": FOREIGN, "outline": OUTLINE, "start": start_links(BLOCKS)}
    return Manifest(**{"name": "foreign", "loss": "sparse_categorical_crossentropy", **settings, **changes})


def test_a_foreign_model_reads_back_and_says_why_agents_cannot_train_it() -> None:
    manifest = Manifest.from_bytes(foreign().to_bytes())
    assert manifest == foreign()
    assert (manifest.model, manifest.outline) == (OUTLINE, OUTLINE)
    assert "'Functional'" in manifest.only_keras
    with pytest.raises(ModelError, match="only Keras can train this swarm's model: model class 'Functional'"):
        _ = manifest.definition


def test_that_agents_can_train_it_follows_from_the_model_and_is_not_declared() -> None:
    config = dense_config(4, (), 3, "softmax")
    weights = np.ones(15, np.float32)
    manifest = foreign(
        config=config, outline=Outline((4,), (3,), 15, "softmax"), start=start_links(start_blocks(weights))
    )
    assert manifest.only_keras == ""
    assert manifest.definition.count == 15
    with pytest.raises(ManifestError, match="outline"):
        foreign(config=config)
    with pytest.raises(ManifestError, match="no starting weights"):
        foreign(start=())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("outline", None),
        ("outline", {}),
        ("outline", {**OUTLINE.to_fields(), "count": MAX_PARAMETERS + 1}),
        ("outline", {**OUTLINE.to_fields(), "count": 0}),
        ("outline", {**OUTLINE.to_fields(), "input": []}),
        ("outline", {**OUTLINE.to_fields(), "input": [0]}),
        ("outline", {**OUTLINE.to_fields(), "output": [1] * 5}),
        ("outline", {**OUTLINE.to_fields(), "final": "relu"}),
        ("outline", {**OUTLINE.to_fields(), "more": 1}),
        ("start", []),
        ("start", None),
        ("start", start_links([b"a", b"b"])),
    ],
    ids=str,
)
def test_outlines_and_starts_out_of_bounds_are_refused(name: str, value: Any) -> None:
    fields = dagcbor.decode(foreign().to_bytes())
    with pytest.raises(ConfigurationError):
        Manifest.from_bytes(dagcbor.encode({**fields, name: value}))


def test_every_damage_of_a_foreign_manifest_is_read_or_refused_with_a_named_error() -> None:
    assert escaped(Manifest.from_bytes, list(damaged(foreign().to_bytes())), ConfigurationError) == set()


# -- the peer


_FIRST = 15  # seconds in which a newcomer hears that it is the first


class Machine:
    def __init__(self) -> None:
        self.network = Network(VirtualClock(NOW), random.Random(0), Weather())
        self.host = self.network.host()
        self.state = MemoryStateStore()
        self.manifest = foreign()
        self.boot()

    def boot(self) -> None:
        self.learner = PassiveLearner(self.manifest.model.count)
        ports = Ports(
            MemoryBlockStore(self.host), MemoryGossip(self.host, 4), self.learner, self.state, SilentMonitor(),
            self.network.clock,
        )  # fmt: skip
        self.peer = compose_peer(identity(1), self.manifest, ports, Options("me", "agent", 8, seed=1))

    def tick(self, times: int = 1) -> None:
        for _ in range(times):
            self.network.clock.time += 1000
            self.peer.tick()


def test_a_peer_waits_for_the_starting_weights_and_asks_for_them() -> None:
    machine = Machine()
    other = machine.network.host()
    machine.tick()
    assert len(machine.peer.tangle) == 0
    other.blocks.update(zip(start_links(BLOCKS), BLOCKS, strict=True))
    machine.tick()
    machine.network.run_until(machine.network.clock.time + 5000)
    machine.tick(_FIRST)
    assert len(machine.peer.tangle) == 1
    np.testing.assert_array_equal(machine.peer.estimate(), START)
    np.testing.assert_array_equal(machine.learner.weights(), START)


def test_starting_weights_that_are_damaged_or_deleted_meanwhile_are_waited_for(tmp_path: Path) -> None:
    store = LocalBlockStore(tmp_path)
    cids = [store.put(RAW, block) for block in BLOCKS]
    spoil(tmp_path, cids[0], b"rot")
    assert starting_weights(foreign(), store) is None
    assert starting_weights(foreign(), store) is None
    LocalBlockStore(tmp_path).put(RAW, BLOCKS[0])
    np.testing.assert_array_equal(starting_weights(foreign(), store), START)

    class Pruned(LocalBlockStore):
        """Another process deletes what was seen."""

        def has(self, cid: Cid) -> bool:
            return super().has(cid) and self.delete([cid]) is None

    assert starting_weights(foreign(), Pruned(tmp_path)) is None


def test_a_peer_with_a_past_does_not_go_back_to_the_start_also_if_that_comes_late() -> None:
    machine = Machine()
    machine.host.blocks.update(zip(start_links(BLOCKS), BLOCKS, strict=True))
    machine.tick(_FIRST)
    machine.learner.load(START + 1)
    machine.peer.save()
    machine.boot()
    np.testing.assert_array_equal(machine.learner.weights(), START + 1)
    for cid in start_links(BLOCKS):
        del machine.host.blocks[cid]
    machine.boot()
    machine.tick()
    machine.host.blocks.update(zip(start_links(BLOCKS), BLOCKS, strict=True))
    machine.tick()
    np.testing.assert_array_equal(machine.learner.weights(), START + 1)


def test_blocks_that_are_no_weights_of_the_model_are_named() -> None:
    machine = Machine()
    short = [BLOCKS[0][:-4]]
    manifest = foreign(start=start_links(short))
    store = MemoryBlockStore(machine.host)
    store.put(RAW, short[0])
    with pytest.raises(ManifestError, match="starting weights cannot be used"):
        starting_weights(manifest, store)


def test_weights_that_are_none_make_no_start() -> None:
    with pytest.raises(ModelError, match="cannot be used"):
        start_blocks(np.array([np.nan], np.float32))
