"""``kill -9`` at random instants of a peer that publishes, forgets and sweeps.

The state always loads, nothing that others may need is lost, and no seq is used for two messages.
"""

import random
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from children import PROCESSES, kill
from messages_here import messages_in
from nightly import how_many
from witnessed import Witnessed, witnessed

from learnae.adapters.local.block_store import LocalBlockStore
from learnae.adapters.local.clock import SystemClock
from learnae.adapters.local.gossip import LocalGossip
from learnae.adapters.local.state_store import LocalStateStore
from learnae.basics.overriding import override
from learnae.ipld.cid import DAG_CBOR, RAW, Cid
from learnae.models.dataset import Dataset
from learnae.models.reference.numpy_learner import NumpyLearner
from learnae.peer.peer import Options, Ports, compose_peer
from learnae.peer.state import PeerState
from learnae.protocol.messages import open_message
from learnae.runtime.observer import Observer
from learnae.runtime.workspace import Workspace
from learnae.simulation.in_memory import SilentMonitor
from learnae.swarm.directory import create_swarm, open_swarm
from learnae.swarm.manifest import Manifest
from learnae.swarm.presets import dense_config
from learnae.system.paths import STATE_FILE

KILLS = how_many(40, 200)
HASTE = 5000  # the least grace, ten seconds, passes in 2 ms, and ten minutes between two sweeps in 120
AT_ONCE = 12  # messages of the longest life: some checkpoints


class HastyClock(SystemClock):
    """Lets the uptime pass faster, by which a peer forgets and sweeps."""

    @override
    def uptime(self) -> int:
        return HASTE * super().uptime()


def run_peer(swarm: Path, directory: Path, log: Path) -> None:
    """What the child does until it is killed: boot, then publish as fast as it can."""
    workspace = Workspace(open_swarm(swarm), directory)
    manifest = workspace.swarm.manifest
    data = Dataset(manifest.model, manifest.objective)
    rng = np.random.default_rng(0)
    data.add(rng.normal(size=(64, 4)), rng.integers(0, 2, 64))
    learner = NumpyLearner(manifest.model, manifest.objective, manifest.optimiser, data, 8, rng)
    gossip, state = LocalGossip(swarm, workspace.name), LocalStateStore(directory / STATE_FILE)
    ports = Ports(Witnessed(swarm, log, HASTE), gossip, learner, state, SilentMonitor(), HastyClock())
    peer = compose_peer(workspace.identity, manifest, ports, Options("victim", "agent", 8))
    while True:
        peer.tick()
        time.sleep(manifest.limits.interval / 1000)


def kill_after(moment: Callable[[], object], *arguments: Path) -> None:
    peer = PROCESSES.Process(target=run_peer, args=arguments)
    peer.start()
    moment()
    kill(peer)


def wait_for_messages(log: Path, count: int) -> None:
    deadline = time.monotonic() + 60
    while len(list(witnessed(log))) < count and time.monotonic() < deadline:
        time.sleep(0.001)


@pytest.mark.slow
def test_killed_again_and_again(tmp_path: Path) -> None:
    # a keyframe weighs as much as three updates and their messages: some of them stand on each checkpoint
    manifest = Manifest("victim", dense_config(4, (512,), 2, "softmax"), "sparse_categorical_crossentropy")
    swarm, directory, log = create_swarm(manifest, tmp_path / "swarm").directory, tmp_path / "peer", tmp_path / "log"
    store, rng, last_seq, strays = LocalBlockStore(swarm), random.Random(5), -1, set[Cid]()
    for number in range(10 * KILLS):  # the last ones where the machine is so slow that little has happened
        if number >= KILLS and has_gone_on(store, strays, log):
            break
        # measured again: however fast this machine is now, kills fall between boot and some messages
        if number % 10 == 0:
            begun, known = time.monotonic(), len(list(witnessed(log)))
            kill_after(lambda known=known: wait_for_messages(log, known + AT_ONCE), swarm, directory, log)
            longest = time.monotonic() - begun
        else:
            kill_after(lambda longest=longest: time.sleep(rng.uniform(0.0, longest)), swarm, directory, log)
        strays.add(store.put(RAW, b"stray %d" % number))
        data = LocalStateStore(directory / STATE_FILE).load()
        if data is not None:
            PeerState.from_bytes(data)
        seq = newest_of_a_whole_chain(swarm)
        assert seq >= last_seq, "what others have heard is lost"
        last_seq = seq
    said = {
        message.cid: message
        for message in (open_message(each, manifest.swarm, manifest.limits) for each in witnessed(log))
    }
    here = {message.cid for message in messages_in(swarm)}
    assert sorted(message.seq for message in said.values()) == list(range(len(said))), "a seq was used twice"
    assert here <= said.keys()
    assert has_gone_on(store, strays, log), "the peer hardly ran, forgot or swept"
    assert not list(tmp_path.rglob("*.lock"))


def has_gone_on(store: LocalBlockStore, strays: set[Cid], log: Path) -> bool:
    """Whether the peer has spoken, forgotten most of what it said, and swept most of what is nobody's."""
    said, here = len(list(witnessed(log))), sum(cid.codec == DAG_CBOR for cid in store.cids())
    return said > KILLS // 2 and here < said / 2 and len(store.held(strays)) < len(strays) / 2


def newest_of_a_whole_chain(swarm: Path) -> int:
    """What a newcomer finds: all of the chain that is announced, and its frames; returns its last seq, -1 for none."""
    with closing(Observer(swarm)) as observer, closing(LocalBlockStore(swarm, read_only=True)) as store:
        observer.refresh()
        assert not observer.unseen(), "of an announced chain something is lost"
        nodes = [node for cid in observer.tangle.cids() if (node := observer.tangle.node(cid))]
        frames = {block for node in nodes for block in node.blocks}
        assert store.held(frames) == frames
        return max((node.seq for node in nodes), default=-1)
