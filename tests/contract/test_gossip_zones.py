"""What every ports.Gossip promises that can tell announcers apart: it hears the zones that its peer attends to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from builders import SWARM, identity, some_entry
from conftest import NEEDS_BROKER, Gossips, Together, calm_network, nothing_to_wait_for, pass_time

from learnae.adapters.composite.gossip import Gossips as CompositeGossip
from learnae.adapters.local import gossip as local_gossip
from learnae.adapters.local.gossip import LocalGossip
from learnae.adapters.mqtt.topics import Topics
from learnae.basics.error_log import ErrorLog
from learnae.ports import Gossip
from learnae.protocol.announcements import Announcement
from learnae.protocol.identity import author_of_name, peer_name
from learnae.protocol.neighbourhood.interest import Interest, Zone, path_of, place_of
from learnae.simulation.in_memory import MemoryGossip

if TYPE_CHECKING:
    from learnae.adapters.mqtt.connection import MqttConnection

NAMES = [peer_name(identity(number).author) for number in range(8)]
SAID = Announcement((some_entry(1),))


def local_gossips(directory: Path) -> Iterator[Gossips]:
    yield Gossips([LocalGossip(directory, name) for name in NAMES], NAMES, nothing_to_wait_for)


def composite_gossips(directory: Path) -> Iterator[Gossips]:
    ways = [[LocalGossip(directory / way, name) for name in NAMES] for way in ("one", "other")]
    both: list[Gossip] = [CompositeGossip({"one": a, "other": b}) for a, b in zip(*ways, strict=True)]
    yield Gossips(both, NAMES, nothing_to_wait_for)


def memory_gossips(_: Path) -> Iterator[Gossips]:
    network = calm_network()
    hosts = [network.host() for _ in NAMES]
    gossips = [MemoryGossip(host, fanout=len(NAMES)) for host in hosts]
    for gossip, name in zip(gossips, NAMES, strict=True):
        gossip.attend(Interest.of(SWARM.to_bytes(), author_of_name(name)))
    yield Gossips(gossips, NAMES, lambda: pass_time(network))


def mqtt_gossips(_: Path, links: Callable[[], MqttConnection]) -> Iterator[Gossips]:
    from learnae.adapters.mqtt.frontier import Frontier
    from learnae.adapters.mqtt.gossip import MqttGossip

    opened, gossips = [links() for _ in NAMES], []
    meeting = f"zones of {id(opened)}"
    for link, name in zip(opened, NAMES, strict=True):
        path = path_of(place_of(SWARM.to_bytes(), author_of_name(name)))
        gossips.append(MqttGossip(link, Topics("t", meeting, name, path), 0.0, ErrorLog(), Frontier()))
    deliver = Together(opened)
    deliver()
    yield Gossips(gossips, NAMES, deliver)


WAYS = [
    pytest.param(local_gossips, id="local"),
    pytest.param(composite_gossips, id="composite"),
    pytest.param(memory_gossips, id="memory"),
    pytest.param(mqtt_gossips, id="mqtt", marks=NEEDS_BROKER),
]


@pytest.fixture(params=WAYS)
def gossips(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gossips]:
    monkeypatch.setattr(local_gossip, "_FEW", 4)
    links = [request.getfixturevalue("links")] if request.param is mqtt_gossips else []
    with closing(request.param(tmp_path, *links)) as made:
        yield next(made)


def heard_by(gossip: Gossip) -> set[str]:
    announcers = [heard.announcer for heard in gossip.heard() if heard.announcement]
    return {NAMES[int(each)] if each.isdigit() else each for each in announcers}  # hosts have numbers


def test_announcers_of_the_zones_are_heard_and_no_others(gossips: Gossips) -> None:
    listener, *speakers = gossips.all
    me, *names = gossips.names
    whole = Interest.of(SWARM.to_bytes(), author_of_name(me))
    places = {name: place_of(whole.swarm, author_of_name(name)) for name in names}
    home = Zone.of(whole.place, 1)
    visited = Zone.of(next((each for each in places.values() if each not in home), ~whole.place & 0xFFFF), 3)
    inside = {name for name, place in places.items() if place in home or place in visited}

    assert listener.attend(Interest(whole.swarm, whole.place, (home, visited)))
    gossips.deliver()
    for speaker in speakers:
        speaker.announce(SAID)
    gossips.deliver()
    assert heard_by(listener) == inside

    assert listener.attend(whole)  # what is said from now on is heard of all
    gossips.deliver()
    for speaker in speakers:
        speaker.announce(Announcement((some_entry(1, seq=2),)))
    gossips.deliver()
    assert heard_by(listener) == set(names)
