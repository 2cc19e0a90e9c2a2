"""Announcements over a Tangle: one suite over the loopback node, and over Hornet where it is here."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zmq
from builders import some_cid, some_entry, tiny_dataset, tiny_learner, tiny_manifest
from programs import Programs, wait_for
from tangles import FAST, HornetTangle, LoopbackTangle, Tangle, gossip

from demo.people import write_private_file
from learnae.adapters.composite.gossip import Gossips
from learnae.adapters.iota import gossip as gossip_module
from learnae.adapters.iota import node as iota_client
from learnae.adapters.iota.announcements import EPOCH, Channel, SignedAnnouncement
from learnae.adapters.iota.gossip import Events, IotaGossip, Pace
from learnae.adapters.iota.node import Node, NodeInfo
from learnae.adapters.local.block_store import LocalBlockStore
from learnae.adapters.local.clock import SystemClock
from learnae.adapters.local.state_store import LocalStateStore
from learnae.errors import TransportError
from learnae.ipld.cid import DAG_CBOR, Cid
from learnae.peer.peer import Options, Ports, compose_peer
from learnae.ports import Gossip, Heard
from learnae.protocol.announcements import Announcement
from learnae.protocol.identity import Identity, peer_name
from learnae.protocol.limits import HOUR, Limits
from learnae.simulation.in_memory import SilentMonitor

SAID = Announcement(tuple(some_entry(number, 7) for number in range(4)), (some_cid(1),))
EARLIER = Announcement((some_entry(0, 6), some_entry(1, 6)))  # SAID replaces it


@pytest.fixture
def swarm() -> Cid:
    """A new one each time: Hornet remembers the others."""
    return Cid.of(DAG_CBOR, os.urandom(8))


class Member:
    """A peer with its own data and key; blocks go over a shared directory, announcements over ``gossips`` only."""

    def __init__(self, directory: Path, manifest, number: int, gossips: dict[str, Gossip], identity: Identity) -> None:
        self.manifest = manifest
        learner = tiny_learner(manifest, tiny_dataset(manifest, seed=number), seed=number)
        errors = gossips["iota"].errors  # one log for all
        blocks, state = LocalBlockStore(directory / "shared"), LocalStateStore(directory / f"state-{number}")
        ports = Ports(blocks, Gossips(gossips, errors), learner, state, SilentMonitor(), SystemClock())
        self.peer = compose_peer(identity, manifest, ports, Options(f"peer-{number}", "agent", 8), errors=errors)

    @property
    def known(self) -> set[bytes]:
        """Authors whose weights it has merged."""
        return set(self.peer.following.replicas)

    def distance(self, other: Member) -> float:
        return float(np.abs(self.peer.estimate() - other.peer.estimate()).max())


@contextmanager
def started(gossips: list[IotaGossip]) -> Iterator[list[IotaGossip]]:
    for one in gossips:
        one.start()
    try:
        yield gossips
    finally:
        for one in gossips:
            one.close()


def tick_until(members: list[Member], condition, what: str) -> None:
    def step() -> bool:
        for member in members:
            member.peer.tick()
        return condition()

    wait_for(step, what)


def swarm_of(
    directory: Path, tangle: Tangle, count: int = 3, cables: Sequence[Cable] = ()
) -> tuple[list[Member], list[IotaGossip]]:
    """Peers of a swarm, each with one of ``cables``, if there are any, besides IOTA."""
    manifest = tiny_manifest(seed=int.from_bytes(os.urandom(4)))  # a swarm that this Tangle does not know
    identities = [Identity.generate() for _ in range(count)]
    gossips = [gossip(tangle.url, manifest.swarm, identity) for identity in identities]
    ways: list[dict[str, Gossip]] = [{"iota": one} for one in gossips]
    for own, cable in zip(ways, cables, strict=False):
        own["cable"] = cable
    members = [Member(directory, manifest, number, ways[number], identities[number]) for number in range(count)]
    return members, gossips


# -- what a swarm needs


def test_three_peers_whose_only_gossip_is_iota_converge(tangle: Tangle, tmp_path: Path) -> None:
    members, gossips = swarm_of(tmp_path, tangle)
    with started(gossips):
        tick_until(members, lambda: all(len(member.known) == 2 for member in members), "everybody's weights everywhere")
        goal, near, close = np.array([1.0, -2.0, 1.0]), 0.5, 0.05

        def are_one_and_good() -> bool:
            farthest = max(float(np.abs(member.peer.estimate() - goal).max()) for member in members)
            return farthest < near and max(a.distance(b) for a in members for b in members) < close

        tick_until(members, are_one_and_good, "three estimates that are one, and good")
        for member in members:  # before the end, which interrupts work that is under way
            assert member.peer.errors.counts == {}, member.peer.errors.last


def test_a_peer_that_was_away_catches_up_from_the_tangle(tangle: Tangle, tmp_path: Path) -> None:
    (early, other, late), gossips = swarm_of(tmp_path, tangle)
    with started(gossips[:2]):
        tick_until([early, other], lambda: early.known and other.known, "two peers that know each other")
        wait_for(lambda: not any(one.has_unsaid() for one in gossips[:2]), "all that they know on the Tangle")
    # everybody else has left; only the Tangle and the blocks are there
    with started(gossips[2:]):
        tick_until([late], lambda: len(late.known) == 2, "both peers' weights")


class Earlier(Node):
    """A node whose clock, and with it the peer's, is some hours slow."""

    def __init__(self, url: str, hours: float) -> None:
        super().__init__(url)
        self.hours = hours

    def info(self) -> NodeInfo:
        return replace(info := super().info(), time=info.time - int(self.hours * HOUR))


def say(speaker: IotaGossip, announcement: Announcement = SAID) -> None:
    speaker.announce(announcement)
    speaker.turn()


def heard_by(listener: IotaGossip) -> list[Announcement]:
    return [heard.announcement for heard in listener.heard()]


def catch_up(listener: IotaGossip) -> None:
    for _ in range(24 * HOUR // EPOCH // gossip_module._CATCH_UP + 2):
        listener.turn()


def into_an_epoch() -> float:
    """Hours by which a clock must be slow to be in the middle of an epoch: what a test says then is in one."""
    return (time.time_ns() // 1_000_000 - EPOCH // 2) % EPOCH / HOUR


def test_what_was_said_hours_ago_is_found_but_nothing_beyond_the_horizon(tangle: Tangle, swarm: Cid) -> None:
    times = {hours: Announcement((some_entry(hours),)) for hours in (23, 3, 25)}
    for hours, announcement in times.items():
        say(gossip(tangle.url, swarm, node=Earlier(tangle.url, hours)), announcement)
    listener = gossip(tangle.url, swarm)
    catch_up(listener)
    assert not listener.errors.counts
    assert heard_by(listener) == [times[23], times[3]]


def test_more_than_one_transaction_holds_is_said_bit_by_bit(tangle: Tangle, swarm: Cid) -> None:
    entries = tuple(some_entry(number, 7) for number in range(Limits().entries))
    everything = Announcement(entries, tuple(some_cid(number) for number in range(Limits().kept)))
    node = Earlier(tangle.url, into_an_epoch())
    speaker, listener = gossip(tangle.url, swarm, node=node, pace=Pace(1, 0)), gossip(tangle.url, swarm)
    speaker.announce(everything)
    wait_for(lambda: speaker.turn() or not speaker.has_unsaid(), "all to be said")
    newer = replace(everything, entries=(*entries[:-1], some_entry(len(entries) - 1, 8)))
    say(speaker, newer)
    assert not speaker.has_unsaid()
    listener.turn()
    (heard,) = listener.heard()
    assert heard == Heard(peer_name(speaker.identity.author), newer)
    assert not listener.errors.counts


def test_every_new_epoch_has_a_tag_of_its_own_and_all_is_said_again(tangle: Tangle, swarm: Cid) -> None:
    node = Earlier(tangle.url, 2 + into_an_epoch())
    speaker = gossip(tangle.url, swarm, node=node, pace=Pace(1, 0))
    say(speaker)
    speaker.turn()
    assert speaker.counts.announced == 1
    node.hours -= 1
    speaker.turn()
    assert speaker.counts.announced == 2


@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize("apart", [0, EPOCH], ids=["one epoch", "two epochs"])
def test_what_was_said_since_the_last_look_is_no_replay_in_whatever_order_it_is_read(
    tangle: Tangle, swarm: Cid, monkeypatch: pytest.MonkeyPatch, newest_first: bool, apart: int
) -> None:
    listener, node = gossip(tangle.url, swarm), Earlier(tangle.url, 0)
    catch_up(listener)  # nothing is late any more
    speaker = gossip(tangle.url, swarm, node=node, pace=Pace(1, 0))
    names = []
    for hours, announcement in ((apart / HOUR, EARLIER), (0, SAID)):
        node.hours = hours
        say(speaker, announcement)
        names += [name for name in Node(tangle.url).find_tag(speaker.tag()) if name not in names]
    order = names[::-1] if newest_first else names
    monkeypatch.setattr(gossip_module.random, "sample", lambda found, count: sorted(found, key=order.index)[:count])
    listener.turn()
    assert not listener.errors.counts
    assert heard_by(listener) == [SAID]


def test_a_board_that_does_not_know_the_time_is_heard(
    tangle: Tangle, swarm: Cid, monkeypatch: pytest.MonkeyPatch
) -> None:
    speaker, listener = gossip(tangle.url, swarm), gossip(tangle.url, swarm)
    with monkeypatch.context() as patched:
        patched.setattr(iota_client, "_clock", lambda: 5000)  # five seconds after midnight, 1970
        say(speaker)
    listener.turn()
    assert heard_by(listener) == [SAID]


def test_a_node_whose_clock_was_wrong_for_a_while_makes_nobody_mute(tangle: Tangle, swarm: Cid) -> None:
    node = Earlier(tangle.url, -5)
    speaker, listener = gossip(tangle.url, swarm, node=node, pace=Pace(1, 0)), gossip(tangle.url, swarm)
    say(speaker, EARLIER)
    node.hours = 0
    say(speaker, SAID)
    listener.turn()
    assert heard_by(listener) == [SAID]


# -- nodes that fail


def test_a_node_that_is_killed_and_comes_back(tangle: Tangle, swarm: Cid) -> None:
    speaker, listener = gossip(tangle.url, swarm), gossip(tangle.url, swarm)
    with started([speaker, listener]):
        speaker.announce(EARLIER)
        wait_for(lambda: heard_by(listener) == [EARLIER], "the first announcement")
        tangle.kill()
        try:
            wait_for(lambda: listener.state().startswith("away: IOTA node at"), "a listener that notices")
            speaker.announce(SAID)
            wait_for(lambda: speaker.state().startswith("away"), "a speaker that notices")
        finally:
            tangle.start()
        wait_for(lambda: heard_by(listener) == [SAID], "what was said meanwhile")
        wait_for(lambda: speaker.state().startswith("connected"), "a speaker that is well")
    listener.heard()
    assert set(listener.errors.counts) == {"TransportError"}
    again = gossip(tangle.url, swarm)
    again.turn()
    assert heard_by(again) == [SAID], "what was said before is still there"


def test_a_lagging_node_is_heard_but_not_spoken_to(loopback: LoopbackTangle, swarm: Cid) -> None:
    node = loopback.node
    wait_for(lambda: node.index() > 1, "milestones")
    early, late = gossip(loopback.url, swarm), gossip(loopback.url, swarm)
    say(early)
    node.lagging = True
    say(late, EARLIER)
    assert "lags: it has milestone" in late.state()
    assert heard_by(late) == [SAID]
    assert late.counts.announced == 0
    node.lagging = False
    late.turn()
    assert late.counts.announced == 1


def test_what_a_lagging_node_gets_late_is_read_when_it_is_well_again(loopback: LoopbackTangle, swarm: Cid) -> None:
    node = loopback.node
    slow = Earlier(loopback.url, 3)
    listener = gossip(loopback.url, swarm, node=slow)
    for _ in range(12):  # all that is old
        listener.turn()
    node.lagging, slow.hours = True, 1
    for _ in range(3):
        listener.turn()
    node.lagging = False
    between = Earlier(loopback.url, 2)  # as if it had been said then, and had come late
    say(gossip(loopback.url, swarm, node=between))
    listener.turn()
    assert heard_by(listener) == [SAID]


def test_a_node_without_milestones_is_named(tmp_path: Path, swarm: Cid) -> None:
    tangle = LoopbackTangle(tmp_path, interval=0)
    with tangle.node:
        check_without_milestones(tangle, swarm)


@pytest.mark.slow
@pytest.mark.engine("hornet")
def test_a_hornet_without_milestones_is_named(tmp_path: Path, swarm: Cid) -> None:
    with HornetTangle(tmp_path / "tangle") as tangle:
        tangle.launch_follower()
        wait_for(tangle.nodes[1].ask, "the follower alone")
        check_without_milestones(tangle, swarm)


def check_without_milestones(tangle: Tangle, swarm: Cid) -> None:
    speaker = gossip(tangle.url, swarm)
    say(speaker)
    assert speaker.state().startswith("node has no milestone yet")
    assert speaker.counts.announced == 0


def test_a_node_of_another_network_is_refused(tangle: Tangle, swarm: Cid) -> None:
    stranger = gossip(tangle.url, swarm, coordinator="A" * 81)
    stranger.announce(SAID)
    with started([stranger]):
        wait_for(lambda: "wrong network" in stranger.state(), "its refusal")
    stranger.heard()
    assert stranger.errors.counts["ConfigurationError"] >= 1
    assert "iota.coordinator" in stranger.errors.last["ConfigurationError"]
    assert Node(tangle.url).find_tag(Channel(str(swarm)).tag(time.time_ns() // 1_000_000 // EPOCH)) == []


def test_an_announcement_does_not_count_on_another_swarms_network(tangle: Tangle, swarm: Cid) -> None:
    right = Node(tangle.url).info().coordinator
    member = gossip(tangle.url, swarm, coordinator=right)
    member.turn()
    assert member.state().startswith("connected")


def test_a_node_that_hangs_holds_up_no_tick(
    loopback: LoopbackTangle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = loopback.node
    node.hanging.set()
    (member,), gossips = swarm_of(tmp_path, loopback, 1)
    callers, call = [], Node._call
    monkeypatch.setattr(Node, "_call", lambda *how: callers.append(threading.current_thread()) or call(*how))
    with started(gossips):
        wait_for(lambda: callers, "a call under way")
        for _ in range(20):
            member.peer.tick()
        assert set(callers) == {gossips[0]._thread}
        assert not gossips[0].state().startswith("connected")
        node.hanging.clear()
        tick_until([member], lambda: gossips[0].counts.announced > 0, "an announcement after all")


def test_proof_of_work_that_takes_forever_holds_up_no_tick_and_ends_with_the_peer(loopback: LoopbackTangle) -> None:
    node = loopback.node
    one = gossip(loopback.url, Cid.of(DAG_CBOR, b"swarm"), mwm=40)
    one.announce(SAID)
    one.start()
    wait_for(lambda: "getTransactionsToApprove" in node.requests, "the work to begin")
    for _ in range(100):
        one.announce(SAID)
        assert list(one.heard()) == []
    assert one._thread.is_alive()
    one.close()
    wait_for(lambda: not one._thread.is_alive(), "the end of the work")
    assert "storeTransactions" not in node.requests


# -- what others do


def put(tangle: Tangle, swarm: Cid, message: bytes, epoch: int, node: Node | None = None) -> str:
    node, channel = node or Node(tangle.url), Channel(str(swarm))
    return node.attach(node.propose(message, channel.tag(epoch), channel.address(epoch)))


def test_garbage_under_the_tag_is_counted_and_hides_nothing(tangle: Tangle, swarm: Cid) -> None:
    channel, now = Channel(str(swarm)), time.time_ns() // 1_000_000
    author = Identity.generate()
    good = SignedAnnouncement(author.author, now, SAID).to_bytes(swarm, author)
    dressed = [channel.dress(good[:-1]), channel.dress(b"\xa0"), channel.dress(good) + b"!"]
    garbage = [b"", b"spam", b"\xff" * 1093, *dressed]
    for message in garbage:
        put(tangle, swarm, message, now // EPOCH)
    no_bytes = Node(tangle.url).propose(b"", channel.tag(now // EPOCH), channel.address(now // EPOCH))
    Node(tangle.url).attach("Z" * 200 + no_bytes[200:])
    put(tangle, swarm, channel.dress(good), now // EPOCH)
    listener = gossip(tangle.url, swarm)
    listener.turn()
    assert heard_by(listener) == [SAID]
    assert listener.errors.counts == {"EncodingError": len(garbage) + 1}


def test_forged_announcements_are_refused(tangle: Tangle, swarm: Cid) -> None:
    channel, now = Channel(str(swarm)), time.time_ns() // 1_000_000
    victim, forger = Identity.generate(), Identity.generate()
    forged = SignedAnnouncement(victim.author, now, SAID).to_bytes(swarm, forger)
    elsewhere = SignedAnnouncement(victim.author, now, SAID).to_bytes(Cid.of(DAG_CBOR, b"another"), victim)
    for message in (forged, elsewhere):
        put(tangle, swarm, channel.dress(message), now // EPOCH)
    listener = gossip(tangle.url, swarm)
    listener.turn()
    assert list(listener.heard()) == []
    assert listener.errors.counts == {"SignatureError": 2}


def test_replayed_announcements_are_refused(tangle: Tangle, swarm: Cid) -> None:
    node = Earlier(tangle.url, into_an_epoch())
    channel, now = Channel(str(swarm)), node.info().time
    author = Identity.generate()
    old = SignedAnnouncement(author.author, now - 1000, EARLIER).to_bytes(swarm, author)
    new = SignedAnnouncement(author.author, now, SAID).to_bytes(swarm, author)
    listener = gossip(tangle.url, swarm, node=node)
    catch_up(listener)
    put(tangle, swarm, channel.dress(new), now // EPOCH)
    listener.turn()
    assert heard_by(listener) == [SAID]
    put(tangle, swarm, channel.dress(new), now // EPOCH)  # attached again: nothing wrong with that
    listener.turn()
    assert (list(listener.heard()), dict(listener.errors.counts)) == ([], {})
    put(tangle, swarm, channel.dress(old), (now - 1000) // EPOCH)  # its time is over
    put(tangle, swarm, channel.dress(new), now // EPOCH - 1)  # where it does not belong
    listener.turn()
    assert list(listener.heard()) == []
    assert listener.errors.counts == {"ReplayError": 2}


def test_announcements_from_the_future_are_refused(tangle: Tangle, swarm: Cid) -> None:
    node = Earlier(tangle.url, 1)
    soon = time.time_ns() // 1_000_000 - HOUR + 6 * 60_000  # six minutes ahead of that node's clock
    author = Identity.generate()
    message = SignedAnnouncement(author.author, soon, SAID).to_bytes(swarm, author)
    put(tangle, swarm, Channel(str(swarm)).dress(message), soon // EPOCH)
    listener = gossip(tangle.url, swarm, node=node)
    listener.turn()
    assert list(listener.heard()) == []
    assert listener.errors.counts == {"FutureError": 1}


def test_a_flood_under_the_tag_costs_bounded_work_and_hides_nobody_for_long(
    loopback: LoopbackTangle, swarm: Cid
) -> None:
    now = time.time_ns() // 1_000_000
    spammer = Node(loopback.url)
    for number in range(14):
        put(loopback, swarm, b"spam %d" % number, now // EPOCH - number % 2, spammer)
    say(gossip(loopback.url, swarm))
    node, read = Node(loopback.url), []
    original = node.read
    node.read = lambda names: read.append(len(names)) or original(names)
    listener = gossip(loopback.url, swarm, node=node, batch=4)
    heard = []
    for turn in range(4):
        read.clear()
        listener.turn()
        assert sum(read) <= 4, f"in turn {turn}"
        heard += heard_by(listener)
    assert heard == [SAID]


# -- until a milestone includes it


def test_what_waits_too_long_is_promoted_then_attached_anew_until_confirmed(tmp_path: Path, swarm: Cid) -> None:
    tangle = LoopbackTangle(tmp_path, interval=0)
    with tangle.node as node:
        node.issue_milestone()
        speaker = gossip(tangle.url, swarm, pace=replace(FAST, confirmation=0.0))
        say(speaker)
        for _ in range(2):
            speaker.turn()
        assert (speaker.counts.promoted, speaker.counts.reattached) == (2, 1)
        first, anew = (name for name in node.names())
        promotions = node._by["tags", "LEARNAE9PROMOTION".ljust(27, "9")]
        promoted = {parent for name in promotions for parent in node._known[name].transaction.parents}
        assert first in promoted
        assert node._known[first].transaction.message == node._known[anew].transaction.message
        assert speaker.counts.confirmed == 0
        node.issue_milestone()
        speaker.turn()
        assert speaker.counts.confirmed == 1
        assert speaker.counts.promoted == 2, "nothing is left to be helped"
        listener = gossip(tangle.url, swarm)
        listener.turn()
        assert heard_by(listener) == [SAID]
        assert not listener.errors.counts


@pytest.mark.parametrize("worker", ["local", "node"])
def test_announcements_are_confirmed_whoever_works(tangle: Tangle, swarm: Cid, worker: str) -> None:
    speaker = gossip(tangle.url, swarm, pow_by=worker)
    speaker.announce(SAID)

    def confirmed() -> bool:
        speaker.turn()
        return speaker.counts.confirmed == 1

    wait_for(confirmed, "a milestone")
    assert (speaker.node.work_seconds > 0) == (worker == "local")
    assert "1 announced, 1 confirmed" in speaker.state()


def test_events_of_the_node_are_faster_than_polling(tangle: Tangle, swarm: Cid) -> None:
    slow = Pace(poll=300, every=0.1)
    speaker, listener = gossip(tangle.url, swarm), gossip(tangle.url, swarm, pace=slow)
    with started([listener]):
        wait_for(lambda: listener.state().startswith("connected"), "the first look")
        events = Events(tangle.events, listener.tag, listener.wake)
        try:
            speaker.announce(SAID)
            speaker.turn()

            def told() -> bool:  # a subscription takes a moment, and what was said before is lost: say something again
                put(tangle, swarm, b"something", speaker._epoch)
                return heard_by(listener) == [SAID]

            wait_for(told, "the announcement long before the next look")
        finally:
            events.close()


def test_events_by_an_ipv6_address() -> None:
    woken = threading.Event()
    with zmq.Context.instance().socket(zmq.PUB) as node:
        node.setsockopt(zmq.IPV6, 1)
        try:
            port = node.bind_to_random_port("tcp://[::1]")
        except zmq.ZMQError:
            pytest.skip("no IPv6 here")
        events = Events(f"tcp://[::1]:{port}", lambda: "TAG", woken.set)
        try:

            def told() -> bool:  # a subscription takes a moment
                node.send_string("tx HASH ADDRESS TAG")
                return woken.wait(0.05)

            wait_for(told, "the event")
        finally:
            events.close()


# -- beside another gossip


class Cable(Gossip):
    """Another gossip between peers: fails, as every gossip may, while ``cut``."""

    def __init__(self) -> None:
        self.cut = False
        self.others: list[Cable] = []
        self._inbox: dict[int, Announcement] = {}

    def announce(self, announcement) -> None:
        if self.cut:
            raise TransportError("the cable is cut")
        for other in self.others:
            other._inbox[id(self)] = announcement

    def heard(self):
        if self.cut:
            raise TransportError("the cable is cut")
        inbox, self._inbox = self._inbox, {}
        return [Heard(str(name), announcement) for name, announcement in inbox.items()]


@pytest.mark.parametrize("lost", ["iota", "cable"])
def test_losing_one_of_two_gossips_changes_nothing(loopback: LoopbackTangle, tmp_path: Path, lost: str) -> None:
    cables = [Cable(), Cable()]
    cables[0].others, cables[1].others = [cables[1]], [cables[0]]
    members, gossips = swarm_of(tmp_path, loopback, 2, cables)
    with started(gossips):
        tick_until(members, lambda: all(member.known for member in members), "two peers that know each other")
        if lost == "iota":
            loopback.kill()
            tick_until(members, lambda: gossips[0].state().startswith("away"), "the line in the status")
        for cable in cables:
            cable.cut = lost == "cable"
        seq = [others_seq(members, index) for index in range(2)]

        def heard_more() -> bool:
            newer = all(others_seq(members, index) > seq[index] + 5 for index in range(2))
            return newer and all(member.peer.errors.counts for member in members)

        tick_until(members, heard_more, "more of each other, and the loss counted")
        assert all(set(member.peer.errors.counts) == {"TransportError"} for member in members)


def others_seq(members: list[Member], index: int) -> int:
    """The newest seq of the other peer that this one knows."""
    tangle, other = members[index].peer.tangle, members[1 - index].peer.author
    newest = tangle.newest_of(other)
    node = tangle.node(newest) if newest else None
    return node.seq if node else -1


@pytest.mark.slow
def test_agents_show_the_node_in_their_status_and_go_on_without_it(
    loopback: LoopbackTangle, programs: Programs, tmp_path: Path
) -> None:
    made = programs.answer("learnae", "swarm", "create", "--preset", "wrist", "--membership", "open")
    private = tmp_path / "private.npz"
    write_private_file(1, private)
    config = tmp_path / "agent.toml"
    config.write_text(
        f'[peer]\nname = "one"\n[swarm]\nid = "{made["swarm"]}"\n[source]\nfile = "{private}"\nspeed = 0.0\n'
        f'[iota]\nnode = "{loopback.url}"\npoll = 0.2\nevery = 0.2\n'
    )

    def link() -> str:
        return str(programs.status("one").get("connections", {}).get("iota", ""))

    process = programs.start("agent", "run", "--config", config)
    wait_for(lambda: re.match("connected.* [1-9][0-9]* announced", link()), "an announcement on the Tangle")
    assert loopback.node.names()
    loopback.kill()
    wait_for(lambda: link().startswith("away: IOTA node at"), "the line in the status")
    programs.wait_for_steps("one", process, programs.status("one")["steps"])
    loopback.start()
    wait_for(lambda: link().startswith("connected"), "the node again")
    process.stop()
