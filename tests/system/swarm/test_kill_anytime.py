"""``kill -9`` at random instants: the state always loads, nothing that others need is lost."""

import random
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from children import PROCESSES, kill
from nightly import how_many

from learnae.adapters.local.block_store import LocalBlockStore
from learnae.adapters.local.state_store import LocalStateStore
from learnae.ipld.cid import DAG_CBOR
from learnae.models.dataset import Dataset
from learnae.models.reference.numpy_learner import NumpyLearner
from learnae.peer.peer import Options
from learnae.peer.state import PeerState
from learnae.runtime.linked_peer import build_peer
from learnae.runtime.observer import Observer
from learnae.runtime.workspace import Workspace
from learnae.swarm.directory import create_swarm, open_swarm
from learnae.swarm.manifest import Manifest
from learnae.swarm.presets import dense_config
from learnae.system.paths import STATE_FILE

KILLS = how_many(40, 200)
GRACE = 50  # ms: so that kills fall while it forgets


def run_peer(swarm: Path, directory: Path) -> None:
    """What the child does until it is killed: boot, then publish as fast as it can."""
    workspace = Workspace(open_swarm(swarm), directory)
    manifest = workspace.swarm.manifest
    data = Dataset(manifest.model, manifest.objective)
    rng = np.random.default_rng(0)
    data.add(rng.normal(size=(64, 4)), rng.integers(0, 2, 64))
    learner = NumpyLearner(manifest.model, manifest.objective, manifest.optimiser, data, 8, rng)
    peer = build_peer(workspace, learner, Options("victim", "agent", 8)).peer
    peer.tangle.limits = replace(manifest.limits, grace=GRACE)
    while True:
        peer.tick()
        time.sleep(manifest.limits.interval / 1000)


def kill_after(moment: Callable[[], None], swarm: Path, directory: Path) -> None:
    peer = PROCESSES.Process(target=run_peer, args=(swarm, directory))
    peer.start()
    moment()
    kill(peer)


def newest(swarm: Path) -> int:
    """The seq of the newest message that a newcomer finds; nothing that this stands on is missing."""
    observer = Observer(swarm)
    observer.refresh()
    assert observer.unseen() == 0
    nodes = [node for cid in observer.tangle.cids() if (node := observer.tangle.node(cid))]
    store = LocalBlockStore(swarm, read_only=True)
    for node in nodes:
        assert not observer.tangle.is_banned(node.author)
        assert all(store.has(block) for block in (node.cid, *node.blocks))
    store.close()
    observer.close()
    return max((node.seq for node in nodes), default=-1)


def wait_for_messages(observer: Observer, count: int) -> None:
    deadline = time.monotonic() + 60
    while observer.refresh() < count and time.monotonic() < deadline:
        time.sleep(0.001)


@pytest.mark.slow
def test_killed_again_and_again(tmp_path: Path) -> None:
    manifest = Manifest("victim", dense_config(4, (8,), 2, "softmax"), "sparse_categorical_crossentropy")
    swarm = create_swarm(manifest, tmp_path / "swarm").directory
    directory = tmp_path / "peer"
    observer = Observer(swarm)
    rng = random.Random(5)
    last_seq = -1
    for number in range(KILLS):
        # measured again: however fast this machine is now, kills fall between boot and some messages
        if number % 10 == 0:
            begun, known = time.monotonic(), observer.refresh()
            kill_after(lambda known=known: wait_for_messages(observer, known + 8), swarm, directory)
            longest = time.monotonic() - begun
        else:
            kill_after(lambda longest=longest: time.sleep(rng.uniform(0.0, longest)), swarm, directory)
        data = LocalStateStore(directory / STATE_FILE).load()
        if data is not None:
            PeerState.from_bytes(data)
        found = newest(swarm)
        assert found >= last_seq, "what was published is lost"
        last_seq = found
    assert last_seq > KILLS // 2, "the peer hardly ran"
    messages = [cid for cid in LocalBlockStore(swarm).cids() if cid.codec == DAG_CBOR]
    assert len(messages) < 0.8 * last_seq, "the peer hardly forgot anything"
    assert not list(tmp_path.rglob("*.lock"))
