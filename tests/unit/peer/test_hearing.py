"""Many replicators that each hear zones of a swarm: what each receives does not grow; what all must know all learn."""

import random
from collections.abc import Sequence

import pytest
from builders import NOW, SWARM, Author, offer
from nightly import how_many

from learnae.basics.error_log import ErrorLog
from learnae.ipld.cid import DAG_CBOR, Cid
from learnae.peer.replication import Replicator
from learnae.ports import Heard
from learnae.protocol.announcements import PREFIX_BYTES, Announcement, Entry
from learnae.protocol.identity import peer_name
from learnae.protocol.limits import Limits
from learnae.protocol.messages import Message, open_message
from learnae.protocol.neighbourhood.attention import WHOLE, Attention
from learnae.protocol.neighbourhood.interest import Interest, Zone, place_of
from learnae.protocol.opener import MessageOpener
from learnae.protocol.tangle import Tangle
from learnae.simulation.in_memory import MemoryBlockStore, MemoryGossip
from learnae.simulation.network import Network, VirtualClock, Weather

STEP = 1_500  # ms: more than lies between two looks of an attention


class Node:
    """One of many: it hears, counts whom it hears, and says what it is told to."""

    def __init__(self, mesh: "Mesh", number: int, levels: int) -> None:
        self.author = Author(number)
        key = self.author.author
        self.host = mesh.network.host()
        self.tangle = Tangle(Limits(), random.Random(number), key)
        self.host.previous_of = self.tangle.previous_of
        store, gossip, self.errors = MemoryBlockStore(self.host), MemoryGossip(self.host, 4), ErrorLog()
        clock = mesh.network.clock
        self.replicator = Replicator(SWARM, self.tangle, store, gossip, clock, self.errors, mesh.opener)
        self.attention = Attention(SWARM.to_bytes(), key, random.Random(number), levels)
        self.replicator.attend(self.attention.interest)
        self.received: list[Message] = []

    def say(self, message: Message) -> None:
        self.replicator.add_own(message)

    def turn(self, uptime: int) -> None:
        self.received += [each for each in self.replicator.hear().attached if each.author != self.author.author]
        heard = [author for author in self.tangle.speakers() if author != self.author.author]
        if self.attention.look(heard, heard, uptime):
            self.replicator.attend(self.attention.interest)
        self.replicator.announce()


class Mesh:
    """A swarm of replicators. All say something at each ``round``."""

    def __init__(self, count: int, levels: int = 0) -> None:
        self.network = Network(VirtualClock(NOW), random.Random(0), Weather(delay=(1, 100)))
        self.opener = MessageOpener(1 << 14)
        self.nodes = [Node(self, number, levels) for number in range(count)]

    def round(self, speakers: Sequence[Node], turns: int = 4) -> None:
        for node in speakers:
            node.say(node.author.say(time=self.network.clock.time, checkpoint=True))
        self.pass_time(turns)

    def pass_time(self, turns: int) -> None:
        for _ in range(turns):
            for node in self.nodes:
                node.turn(self.network.clock.uptime())
            self.network.run_until(self.network.clock.time + STEP)


def levels_of(count: int) -> int:
    return 0 if count <= WHOLE else (count // 16).bit_length() - 1


def messages_each(count: int) -> float:
    """How many messages a peer receives where each says one."""
    mesh = Mesh(count, levels_of(count))
    mesh.round(mesh.nodes)
    for node in mesh.nodes:
        node.received.clear()
    mesh.round(mesh.nodes)
    assert all(node.errors.counts == {} for node in mesh.nodes)
    return sum(len(node.received) for node in mesh.nodes) / count


def test_what_a_peer_receives_for_each_update_does_not_grow_with_the_swarm() -> None:
    sizes = how_many(64, 128), how_many(128, 512)
    few, many = map(messages_each, sizes)
    assert few > WHOLE // 2, "messages arrive"
    assert many <= 1.2 * few


def test_up_to_so_many_all_hear_all() -> None:
    mesh = Mesh(20)
    mesh.round(mesh.nodes, turns=6)
    mesh.round(mesh.nodes, turns=6)
    assert all(len(node.tangle) >= 20 and node.replicator.interest.is_whole for node in mesh.nodes)


@pytest.fixture(scope="module")
def divided() -> Mesh:
    """100 peers, each of which hears about half."""
    mesh = Mesh(100, levels=2)
    mesh.round(mesh.nodes)
    return mesh


def test_an_equivocator_is_found_where_it_is_heard_and_banned_everywhere(divided: Mesh) -> None:
    liar = divided.nodes[7]
    said, again = liar.author.fork()
    hearing = [node for node in divided.nodes if node.replicator.interest.admits(liar.author.author)]
    assert len(hearing) < len(divided.nodes) - 20
    for index, node in enumerate(hearing[1:]):
        if node is not liar:  # each hears one side of it
            shown = (said, again)[index % 2]
            node.replicator.store.put(DAG_CBOR, shown.data)
            node.tangle.attach(shown, divided.network.clock.time)
    divided.pass_time(4)
    finder = next(node for node in hearing if node is not liar and node.tangle.is_banned(liar.author.author))
    finder.say(finder.author.accuse(said, again, time=divided.network.clock.time + STEP, checkpoint=True))
    divided.pass_time(12)

    honest = [node for node in divided.nodes if node is not liar]
    assert all(node.tangle.is_banned(liar.author.author) for node in honest)
    reporter = finder.author.author
    outside = [node for node in honest if not node.replicator.interest.admits(reporter)]
    assert outside
    assert not any(node.tangle.newest_of(reporter) for node in outside), "only what it reports is taken of it"
    assert not any(list(node.tangle.missing()) for node in honest)


def test_hints_are_of_ones_own_zone(divided: Mesh) -> None:
    for node in divided.nodes[:20]:
        hints = node.tangle.hints_for(node.author.author, divided.network.clock.time, node.replicator.interest.is_near)
        authors = [known.author for hint in hints if (known := node.tangle.node(hint))]
        assert all(map(node.replicator.interest.is_near, authors))
        assert authors


def one_zone_and_outsiders() -> tuple[Interest, list[Author], list[Author]]:
    """The interest of author 0 in one of four zones, and others in it and out of it."""
    whole = Interest.of(SWARM.to_bytes(), Author(0).author)
    narrow = Interest(whole.swarm, whole.place, (Zone.of(whole.place, 2),))
    others = [Author(number) for number in range(1, 30)]
    heard = [each for each in others if narrow.admits(each.author)]
    return narrow, heard, [each for each in others if each not in heard]


def test_who_hears_fewer_forgets_the_others_but_not_what_is_kept_for_ever() -> None:
    narrow, (near, *_), (far, reporter, liar, *_) = one_zone_and_outsiders()
    tangle, fork = Tangle(Limits(), random.Random(0), Author(0).author), liar.fork()
    report, waiting = reporter.accuse(*fork), far.say(seq=9, previous=far.say())
    offer(tangle, Author(0).say(), near.say(), far.last, *fork, report)  # type: ignore[arg-type]
    offer(tangle, waiting)

    tangle.keep_to(narrow.admits)
    assert set(tangle.speakers()) == {Author(0).author, near.author}
    assert list(tangle.kept()) == [report.cid]
    assert tangle.banned() == [liar.author]
    assert list(tangle.waiting()) == list(tangle.missing()) == []
    assert tangle.let_go() == []
    assert tangle.forget(NOW + 3_600_000, 0) == [], "another peer of this machine may need the blocks"
    assert {each.cid for each in (*fork, report)} <= tangle.needed()


def test_what_an_outsider_says_is_neither_asked_for_nor_attached_nor_waited_for() -> None:
    narrow, (near, *_), (far, *_) = one_zone_and_outsiders()
    network = Network(VirtualClock(NOW), random.Random(0), Weather())
    hosts = [network.host(), network.host()]
    tangle, store = Tangle(Limits(), random.Random(0), Author(0).author), MemoryBlockStore(hosts[0])
    gossip, speaker = (MemoryGossip(host, 4) for host in hosts)
    replicator = Replicator(SWARM, tangle, store, gossip, network.clock, ErrorLog())
    replicator.attend(narrow)
    said = [author.say() for author in (near, far)]
    for message in said:
        hosts[1].blocks[message.cid] = message.data
    speaker.attend(Interest(narrow.swarm, narrow.place))  # from a place that is heard
    for _ in range(3):
        entries = [Entry(each.author[:PREFIX_BYTES], each.seq, each.cid, None) for each in said]
        speaker.announce(Announcement(tuple(entries), kept=(said[1].cid,)))
        network.run_until(network.clock.time + STEP)
        replicator.hear()

    assert list(tangle.cids()) == [said[0].cid]
    assert replicator.progress() == (1, 1)
    assert list(tangle.missing()) == []


def test_a_name_that_is_no_key_is_left_to_others_to_judge() -> None:
    narrow, (near, *_), (far, *_) = one_zone_and_outsiders()
    assert narrow.admits_name("records")
    assert narrow.admits_name(peer_name(near.author))
    assert not narrow.admits_name(peer_name(far.author))
    assert place_of(narrow.swarm, near.author) in narrow.home


def test_what_is_named_as_kept_and_is_no_evidence_is_looked_at_once_and_may_still_testify() -> None:
    narrow, _, (liar, reporter, *_) = one_zone_and_outsiders()
    network = Network(VirtualClock(NOW), random.Random(0), Weather())
    host, opened = network.host(), list[bytes]()
    tangle, store = Tangle(Limits(), random.Random(0), Author(0).author), MemoryBlockStore(host)

    def opener(data: bytes, swarm: Cid, limits: Limits) -> Message:
        opened.append(data)
        return open_message(data, swarm, limits)

    replicator = Replicator(SWARM, tangle, store, MemoryGossip(host, 4), network.clock, ErrorLog(), opener)
    replicator.attend(narrow)
    fork = liar.fork()
    for message in fork:
        store.put(DAG_CBOR, message.data)
    for _ in range(5):
        host.inbox.append(Heard("liar", Announcement(kept=tuple(each.cid for each in fork))))
        replicator.hear()
        network.run_until(network.clock.time + STEP)
    assert len(opened) == 2

    report = reporter.accuse(*fork)
    store.put(DAG_CBOR, report.data)
    host.inbox.append(Heard("other", Announcement(kept=(report.cid,))))
    replicator.hear()
    assert tangle.banned() == [liar.author]
