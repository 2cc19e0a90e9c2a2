"""``kill -9`` at random instants: the state always loads, nothing that was published is lost."""

import random
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from children import PROCESSES, kill
from nightly import how_many

from learnae.adapters.local.block_store import LocalBlockStore
from learnae.adapters.local.state_store import LocalStateStore
from learnae.ipld.cid import Cid
from learnae.models.dataset import Dataset
from learnae.models.reference.numpy_learner import NumpyLearner
from learnae.peer.peer import Options
from learnae.peer.state import PeerState
from learnae.protocol.identity import Identity
from learnae.runtime.linked_peer import build_peer
from learnae.runtime.observer import Observer
from learnae.runtime.workspace import Workspace
from learnae.swarm.directory import create_swarm, open_swarm
from learnae.swarm.manifest import Manifest
from learnae.swarm.presets import dense_config
from learnae.system.paths import STATE_FILE

KILLS = how_many(40, 200)


def run_peer(swarm: Path, directory: Path) -> None:
    """What the child does until it is killed: boot, then publish as fast as it can."""
    workspace = Workspace(open_swarm(swarm), directory)
    manifest = workspace.swarm.manifest
    data = Dataset(manifest.model, manifest.objective)
    rng = np.random.default_rng(0)
    data.add(rng.normal(size=(64, 4)), rng.integers(0, 2, 64))
    learner = NumpyLearner(manifest.model, manifest.objective, manifest.optimiser, data, 8, rng)
    peer = build_peer(workspace, learner, Options("victim", "agent", 8)).peer
    while True:
        peer.tick()
        time.sleep(manifest.limits.interval / 1000)


def kill_after(moment: Callable[[], None], swarm: Path, directory: Path) -> None:
    peer = PROCESSES.Process(target=run_peer, args=(swarm, directory))
    peer.start()
    moment()
    kill(peer)


def wait_for_messages(observer: Observer, count: int) -> None:
    deadline = time.monotonic() + 60
    while observer.refresh() < count and time.monotonic() < deadline:
        time.sleep(0.001)


@pytest.mark.slow
def test_killed_again_and_again(tmp_path: Path) -> None:
    manifest = Manifest("victim", dense_config(4, (8,), 2, "softmax"), "sparse_categorical_crossentropy")
    swarm = create_swarm(manifest, tmp_path / "swarm").directory
    directory = tmp_path / "peer"
    observer, store = Observer(swarm), LocalBlockStore(swarm)
    published: dict[Cid, None] = {}
    rng = random.Random(5)
    last_seq = -1
    for number in range(KILLS):
        # measured again: however fast this machine is now, kills fall between boot and four messages
        if number % 10 == 0:
            begun, known = time.monotonic(), len(observer.tangle)
            kill_after(lambda known=known: wait_for_messages(observer, known + 4), swarm, directory)
            longest = time.monotonic() - begun
        else:
            kill_after(lambda longest=longest: time.sleep(rng.uniform(0.0, longest)), swarm, directory)
        data = LocalStateStore(directory / STATE_FILE).load()
        if data is not None:
            PeerState.from_bytes(data)
        observer.refresh()
        published.update(dict.fromkeys(observer.tangle.cids()))
        for cid in published:
            node = observer.tangle.node(cid)
            assert node is not None
            assert store.has(cid)
            assert all(store.has(block) for block in node.blocks)
        seqs = [node.seq for cid in published if (node := observer.tangle.node(cid))]
        assert max(seqs, default=-1) >= last_seq
        last_seq = max(seqs, default=-1)
    author = Identity.load(directory / "key.pem").author
    assert last_seq > KILLS // 4, "the peer hardly ran"
    assert sorted(seqs) == list(range(last_seq + 1))
    assert not observer.tangle.is_banned(author)
    assert not list(tmp_path.rglob("*.lock"))
