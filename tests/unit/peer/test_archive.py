"""An archive keeps what checkpoints replace: replayed from its first message, it gives what live peers have."""

import random

import numpy as np
from builders import tiny_dataset, tiny_manifest

from learnae.basics.error_log import ErrorLog
from learnae.ipld.cid import DAG_CBOR, Cid
from learnae.peer.archive import Archive
from learnae.peer.following import Following
from learnae.protocol.limits import Limits
from learnae.protocol.messages import Message, open_message
from learnae.protocol.tangle import Tangle
from learnae.simulation.in_memory import MemoryBlockStore
from learnae.simulation.simulator import Member, Setting, Simulation

MINUTES = 60_000


def test_an_archive_replays_the_whole_past_to_the_same_replicas() -> None:
    manifest = tiny_manifest()
    simulation = Simulation(manifest, [tiny_dataset(manifest, number) for number in range(3)], Setting(seed=5))
    archive, live, _ = simulation.members
    archive.is_archive = True
    archive.peer = archive.boot()
    simulation.run(3 * MINUTES)
    simulation.settle(5000)

    past = messages_of(archive)
    assert {message.author: message.seq for message in past if message.seq == 0}.keys() == live.peer.tangle.authors()
    for author in live.peer.tangle.authors():
        seqs = [message.seq for message in past if message.author == author]
        assert seqs == list(range(len(seqs))), "the whole chain"
    assert len(past) > 4 * len(live.peer.tangle)

    replayed = Tangle(manifest.limits, random.Random(0))
    following = Following(
        replayed, MemoryBlockStore(archive.host), ErrorLog(), random.Random(0), b"", manifest.model.count, 8, 60_000
    )
    for message in past:
        replayed.attach(message, simulation.clock.now())
        following.note(message)
        following.advance(simulation.clock.now())
    assert dict(replayed.entries()) == dict(live.peer.tangle.entries())
    for author, replica in live.peer.following.replicas.items():
        np.testing.assert_array_equal(following.replicas[author].vector, replica.vector)


def test_an_archive_gives_up_what_no_peer_holds_any_more() -> None:
    manifest = tiny_manifest()
    simulation = Simulation(manifest, [tiny_dataset(manifest, 0)], Setting(seed=5))
    simulation.run(MINUTES)
    last = messages_of(simulation.members[0])[-1]
    empty, asked = Simulation(manifest, [], Setting(seed=5)), list[set[Cid]]()
    host = Member(empty, 0, tiny_dataset(manifest, 0)).host
    host.ask = lambda cids, _: asked.append(set(cids))
    archive = Archive(manifest.swarm, MemoryBlockStore(host), manifest.limits, ErrorLog(), open_message)

    archive.collect([last], uptime=0)
    archive.collect([], uptime=59 * MINUTES)
    archive.collect([], uptime=61 * MINUTES)

    named = {last.previous, *last.blocks}
    assert asked == [named, named, set()]


def messages_of(member: Member) -> list[Message]:
    """The messages on the disk, oldest first."""
    swarm = member.peer.swarm
    blocks = [data for cid, data in member.host.blocks.items() if cid.codec == DAG_CBOR]
    return sorted((open_message(data, swarm, Limits()) for data in blocks), key=lambda m: (m.time, m.seq))
