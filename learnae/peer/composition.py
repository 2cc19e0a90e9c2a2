"""Composition of a peer: the one place that knows all of its parts."""

from __future__ import annotations

import random

from learnae.error_log import ErrorLog
from learnae.peer.following import Following
from learnae.peer.frame_encoder import FrameEncoder
from learnae.peer.merging import Merging
from learnae.peer.own_chain import OwnChain
from learnae.peer.peer import Options, Peer, Ports
from learnae.peer.publisher import Publisher
from learnae.peer.rejoining import RejoinGuard
from learnae.peer.replication import Opener, Replicator
from learnae.peer.swarm_view import SwarmView
from learnae.peer.training import Training
from learnae.ports import Traffic
from learnae.protocol.identity import Identity
from learnae.protocol.messages import open_message
from learnae.protocol.tangle import Tangle
from learnae.swarm.manifest import Manifest


def compose_peer(
    identity: Identity,
    manifest: Manifest,
    ports: Ports,
    options: Options,
    *,
    errors: ErrorLog | None = None,
    traffic: Traffic | None = None,
    opener: Opener = open_message,
    is_back: bool = False,
) -> Peer:
    """Make a peer and its parts, and let it go on from its saved state; raises StateError.

    Survived errors are counted in ``errors``; ``traffic`` is counted by the store in ``ports`` (MeteredStore).
    ``is_back`` says that this key has spoken here before, also if nothing is left of its state (RejoinGuard).

    A peer alone, in memory, publishes its name and an update:

    >>> import numpy as np
    >>> from learnae.models.dataset import Dataset
    >>> from learnae.simulation import in_memory, network, simulator
    >>> from learnae.swarm.presets import dense_config
    >>> manifest = Manifest(name="line", config=dense_config(1, (), 1, "linear"), loss="mean_squared_error")
    >>> data = Dataset(manifest.model, manifest.objective)
    >>> data.add(np.ones((8, 1)), np.ones((8, 1)))
    >>> clock = network.VirtualClock(simulator.START)
    >>> host = network.Network(clock, random.Random(1), network.Weather()).host()
    >>> ports = Ports(
    ...     store=in_memory.MemoryBlockStore(host),
    ...     gossip=in_memory.MemoryGossip(host, fanout=4),
    ...     learner=simulator.numpy_learner(manifest, data, np.random.default_rng(1)),
    ...     state=in_memory.MemoryStateStore(),
    ...     monitor=in_memory.SilentMonitor(),
    ...     clock=clock,
    ... )
    >>> peer = compose_peer(Identity.from_seed(bytes(32)), manifest, ports, Options("alice", "agent", follow=8))
    >>> peer.tick().published == peer.tangle.heads()[0]
    True
    >>> peer.status()["seq"]
    1
    """
    errors, traffic, clock, author = errors or ErrorLog(), traffic or Traffic(), ports.clock, identity.author
    rng = random.Random(options.seed)
    tangle = Tangle(manifest.limits, rng)
    replication = Replicator(manifest.swarm, tangle, ports.store, ports.gossip, clock, errors, opener)
    following = Following(
        tangle, ports.store, errors, rng, author, manifest.model.count, options.follow, manifest.merge.half_life
    )
    own = OwnChain(identity, replication, clock, errors)
    frames = FrameEncoder(manifest.codec, manifest.limits.horizon, phase=author[0])
    merging = Merging(manifest, ports.learner, following, frames)
    training = Training(ports.learner, options.steps or manifest.training.steps)
    view = SwarmView(author, following, training, traffic)
    publisher = Publisher(
        manifest.swarm, ports.store, ports.state, clock, own, frames, merging, training, view, errors, traffic
    )
    peer = Peer(
        manifest, ports, options, errors, traffic, replication, following, own, RejoinGuard(clock, ports.gossip),
        frames, merging, training, view, publisher,
    )  # fmt: skip
    peer.start(is_back)
    return peer
