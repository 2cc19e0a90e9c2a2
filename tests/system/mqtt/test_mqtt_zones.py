"""A broker keeps zones apart: what is said in one reaches who hears it, what all must know reaches all."""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from builders import Author
from mosquitto import Mosquitto
from mqtt_rig import Links, plain, wait_for_subscriptions
from programs import wait_for

from learnae.adapters.composite.block_service import BlockService
from learnae.adapters.local.block_store import LocalBlockStore
from learnae.adapters.mqtt.blocks.exchange import MqttExchange, Tuning
from learnae.adapters.mqtt.frontier import Frontier
from learnae.adapters.mqtt.gossip import MqttGossip
from learnae.adapters.mqtt.topics import Topics
from learnae.basics.error_log import ErrorLog
from learnae.errors import BlockMissingError
from learnae.ipld.cid import DAG_CBOR, RAW, Cid
from learnae.protocol.announcements import PREFIX_BYTES, Announcement, Entry
from learnae.protocol.identity import peer_name
from learnae.protocol.limits import Limits
from learnae.protocol.messages import Message
from learnae.protocol.neighbourhood.interest import Interest, Zone, place_of

pytestmark = [pytest.mark.engine("mosquitto"), pytest.mark.modules("paho")]

SWARM = Cid.of(RAW, os.urandom(8))
HURRIED = Tuning(grace=(0.0, 0.1), asks=60, offer=60.0)


class Machine:
    """A peer's gossip and exchange over one link, in one half of the swarm."""

    def __init__(self, directory: Path, links: Links, broker: Mosquitto, author: Author) -> None:
        self.links, self.broker = links, broker
        self.author, self.name = author, peer_name(author.author)
        self.interest = Interest.of(SWARM.to_bytes(), author.author)
        self.local = LocalBlockStore(directory / self.name[:8])
        self.store, self.link = BlockService(self.local), links.open(plain(broker))
        topics, frontier = Topics("learnae/1", str(SWARM), self.name), Frontier()
        self.gossip = MqttGossip(self.link, topics, 0.0, ErrorLog(), frontier)
        self.exchange = MqttExchange(
            self.link, topics, SWARM, self.store, Limits(), heard=self.gossip.note, frontier=frontier, tuning=HURRIED
        )
        home = Zone.of(self.interest.place, 1)
        self.gossip.attend(Interest(self.interest.swarm, self.interest.place, (home,)))
        wait_for_subscriptions(self.link)
        self.heard: dict[str, Announcement] = {}

    def begin_anew(self) -> None:
        """As a process does that has only just started."""
        self.gossip.close()
        self.link = self.links.open(plain(self.broker))
        topics = Topics("learnae/1", str(SWARM), self.name)
        self.gossip, self.heard = MqttGossip(self.link, topics, 0.0, ErrorLog(), Frontier()), {}
        wait_for_subscriptions(self.link)

    def push(self, message: Message) -> None:
        self.local.put(DAG_CBOR, message.data)
        self.exchange.offer(message.cid, message.data)

    def fetched(self, cid: Cid) -> bytes | None:
        """Return a block, if its holder was not too slow for the last ask."""
        with suppress(BlockMissingError):
            return self.exchange.fetch(cid)
        return None

    def listen(self) -> dict[str, Announcement]:
        """What each announcer has said last."""
        self.heard |= {heard.announcer: heard.announcement for heard in self.gossip.heard()}
        return self.heard

    def has_heard(self, message: Message) -> bool:
        said = self.listen().get(peer_name(message.author), Announcement())
        return any(entry.head == message.cid for entry in said.entries) or message.cid in said.kept


def authors_of(half: int, count: int) -> list[Author]:
    zone = Zone.of(half << 15, 1)
    found = (Author(number, SWARM) for number in range(1, 1000))
    near = (each for each in found if place_of(SWARM.to_bytes(), each.author) in zone)
    return [next(near) for _ in range(count)]


@pytest.fixture
def machines(tmp_path: Path, broker: Mosquitto) -> Iterator[Callable[[int, int], list[Machine]]]:
    made: list[Machine] = []

    def make(half: int, count: int) -> list[Machine]:
        new = [Machine(tmp_path, links, broker, author) for author in authors_of(half, count)]
        made.extend(new)
        return new

    with Links() as links:
        yield make
        for each in made:
            each.exchange.close()
            each.gossip.close()


def test_zones_are_apart_and_what_all_must_know_reaches_all(machines: Callable[[int, int], list[Machine]]) -> None:
    (speaker, near), (far, farther) = machines(0, 2), machines(1, 2)

    said = speaker.author.say()
    speaker.push(said)
    wait_for(lambda: near.has_heard(said), "a pushed message, in its zone")
    announced = Announcement((Entry(said.author[:PREFIX_BYTES], said.seq, said.cid, said.cid),))
    speaker.gossip.announce(announced)
    wait_for(lambda: near.listen().get(speaker.name) == announced, "an announcement, in its zone")

    report = speaker.author.accuse(*Author(0, SWARM).fork())
    speaker.push(report)  # after all else, on one connection: what else were heard would be here before
    for each in (near, far, farther):
        wait_for(lambda each=each: each.has_heard(report), "evidence, everywhere")
    assert not far.has_heard(said)
    assert not farther.has_heard(said)
    assert not far.store.has(said.cid)

    # what is known to be of another zone is asked for there; what is not known at all, at last everywhere
    assert far.exchange.fetch(said.cid) == said.data
    wanted = Author(0, SWARM).say()
    speaker.local.put(DAG_CBOR, wanted.data)
    far.exchange.tuning = replace(HURRIED, asks=2)
    assert wait_for(lambda: far.fetched(wanted.cid), "what is asked for everywhere") == wanted.data

    # who comes to hear a zone finds there what is retained
    far.heard.clear()
    far.gossip.attend(Interest(far.interest.swarm, far.interest.place, (far.interest.home, Zone.of(0, 1))))
    wait_for(lambda: far.listen().get(speaker.name) == announced, "what is announced in a zone that is visited now")
    following = speaker.author.say()
    speaker.push(following)
    wait_for(lambda: far.has_heard(following), "what is pushed there from now on")
    assert not farther.has_heard(following)


def test_a_newcomer_to_a_large_swarm_is_told_so_before_all_speak_to_it(
    machines: Callable[[int, int], list[Machine]],
) -> None:
    low, high = machines(0, 5), machines(1, 2)
    for each in (*low, *high):
        head = each.author.say()
        each.gossip.announce(Announcement((Entry(head.author[:PREFIX_BYTES], head.seq, head.cid, None),)))
    *known, newcomer = low
    for each in (*known[1:], *high):
        wait_for(lambda each=each: known[0].name in each.listen() or each in high, "an announcement")

    newcomer.begin_anew()
    wait_for(lambda: newcomer.gossip.levels == 1, "how large zones are")
    assert not newcomer.gossip.heard()
    home = Zone.of(newcomer.interest.place, 1)
    newcomer.gossip.attend(Interest(newcomer.interest.swarm, newcomer.interest.place, (home,)))
    wait_for(lambda: known[0].name in newcomer.listen(), "what is announced in its zone")
    assert {each.name for each in high}.isdisjoint(newcomer.heard)


def test_who_is_told_of_no_zones_hears_all(machines: Callable[[int, int], list[Machine]]) -> None:
    (speaker,) = machines(1, 1)
    head = speaker.author.say()
    speaker.gossip.announce(Announcement((Entry(head.author[:PREFIX_BYTES], head.seq, head.cid, None),)))
    (newcomer,) = machines(0, 1)
    newcomer.begin_anew()
    newcomer.gossip.attend(newcomer.interest)
    wait_for(lambda: speaker.name in newcomer.listen(), "an announcement that was made for a place")
