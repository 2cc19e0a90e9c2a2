"""Machines that share nothing but a broker: members are heard, strangers and removed members are not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import cast

import pytest
from builders import tiny_learner, tiny_manifest
from mosquitto import Mosquitto
from mqtt_rig import Links, plain
from programs import wait_for

from learnae.adapters.local.block_store import LocalBlockStore
from learnae.adapters.mqtt.blocks.exchange import MqttExchange
from learnae.ipld import dagcbor
from learnae.ipld.cid import DAG_CBOR, RAW, Cid
from learnae.membership.policy import Founder, MembershipPolicy
from learnae.membership.records import REMOVE, Vote
from learnae.membership.sealing import seal
from learnae.peer.peer import Options, Peer
from learnae.protocol.bodies import Join, Profile
from learnae.protocol.identity import Identity, peer_name
from learnae.protocol.messages import Message, compose
from learnae.runtime.linked_peer import build_peer
from learnae.runtime.links.mqtt import connect_mqtt
from learnae.runtime.registrar import Registrar
from learnae.runtime.workspace import Workspace
from learnae.swarm.directory import create_swarm
from learnae.swarm.manifest import Manifest
from learnae.system.paths import KEY_FILE

pytestmark = pytest.mark.engine("mosquitto")


class Board:
    """A machine of its own with a member, which ticks in this process."""

    def __init__(self, root: Path, name: str, manifest: Manifest, records: list[bytes], broker: Mosquitto) -> None:
        swarm = create_swarm(manifest, root / name / "swarm")
        with closing(LocalBlockStore(swarm.directory)) as store:
            for record in records:
                store.put(DAG_CBOR, record)
        self.workspace = Workspace(swarm, root / name / "peer")
        section = plain(broker, monitor="off")
        links = connect_mqtt(section, self.workspace)
        self.exchange = cast(MqttExchange, links.exchanges["mqtt"])
        self.linked = build_peer(self.workspace, tiny_learner(manifest), Options(name, "trainer", 8, seed=1), links)
        self.peer: Peer = self.linked.peer

    def stored(self, message: Message) -> bool:
        return any(self.workspace.store.has(cid) for cid in (message.cid, *message.blocks))


class Site:
    """A swarm that ann has made, and bob and cat have joined."""

    def __init__(self, root: Path, broker: Mosquitto) -> None:
        owner, names = Identity.generate(), ("ann", "bob", "cat")
        policy = MembershipPolicy.of("invite", [Founder(owner.author, owner.x25519)])
        manifest = tiny_manifest(membership=policy)
        desk = create_swarm(manifest, root / "desk").directory
        owner.save(desk / "owner.key")
        keys = {name: Identity.load_or_create(root / name / "peer" / KEY_FILE) for name in names}
        with closing(LocalBlockStore(desk)) as store:
            registrar = Registrar(desk, manifest, store)
            assert all(registrar.let_in(key, "trainer") for key in keys.values())
            records = [record.data for record in registrar.ledger.records()]
        self.manifest = manifest
        self.boards = {name: Board(root, name, manifest, records, broker) for name in names}

    def run_until(self, condition: Callable[[], object], what: str) -> None:
        def ticked() -> bool:
            for board in self.boards.values():
                board.peer.tick()
            return bool(condition())

        wait_for(ticked, what, 120)

    def close(self) -> None:
        for board in self.boards.values():
            board.linked.leave()


@pytest.fixture
def site(tmp_path: Path, broker: Mosquitto) -> Iterator[Site]:
    site = Site(tmp_path, broker)
    yield site
    site.close()


def test_strangers_and_removed_members_leave_no_byte_at_a_members(site: Site, broker: Mosquitto, links: Links) -> None:
    ann, bob, cat = site.boards.values()
    site.run_until(lambda: all(len(board.peer.following.replicas) == 2 for board in (ann, bob, cat)), "all to merge")
    # a stranger that knows where they meet
    stranger, now = Identity.generate(), ann.peer.ports.clock.now()
    frame = b"a frame of its own"
    message = compose(stranger, site.manifest.swarm, 0, (), now, b"sealed" * 20, (Cid.of(RAW, frame),))
    link, topics = links.open(plain(broker)), ann.exchange.topics
    for channel, data in (("message", message.data), ("frame", frame)):
        link.publish(topics.of(peer_name(stranger.author), channel), data)
    site.run_until(lambda: all(board.exchange.counts["refused of strangers"] for board in (ann, bob)), "refusals")
    assert not any(board.stored(message) for board in (ann, bob, cat))
    # one that is removed, whose program goes on all the same
    assert ann.peer.steward is not None
    assert cat.peer.steward is not None
    known = cat.peer.steward.keyring.current()
    assert known is not None
    cat_key, last = cat.workspace.identity, cat.peer.own.last
    assert last is not None
    ann.peer.steward.publish(Vote(cat_key.author, REMOVE))
    del site.boards["cat"]
    cat.linked.leave()
    site.run_until(lambda: len(bob.peer.following.replicas) == 1, "bob to hear of it")
    words = dagcbor.encode(Join(Profile("cat", "trainer", "1")).to_fields())
    body = seal(known[1], known[0], cat_key.author, last.seq + 1, 0, words)
    late = compose(cat_key, site.manifest.swarm, last.seq + 1, (last.cid,), now + 100_000, body, checkpoint=True)
    before = [board.exchange.counts["refused of strangers"] for board in (ann, bob)]
    link.publish(topics.of(peer_name(cat_key.author), "message"), late.data)
    site.run_until(
        lambda: all(
            board.exchange.counts["refused of strangers"] > count
            for board, count in zip((ann, bob), before, strict=True)
        ),
        "refusals of a removed member",
    )
    assert not any(board.stored(late) for board in (ann, bob))
    assert set(ann.peer.tangle.authors()) == set(bob.peer.tangle.authors()) == {ann.peer.author, bob.peer.author}
