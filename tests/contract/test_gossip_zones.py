"""What every ports.Gossip promises that can tell announcers apart: it hears the zones that its peer attends to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from builders import SWARM, some_entry

from learnae.ports import Gossip
from learnae.protocol.announcements import Announcement
from learnae.protocol.identity import author_of_name
from learnae.protocol.neighbourhood.interest import Interest, Zone, place_of

if TYPE_CHECKING:
    from conftest import Gossips

SAID = Announcement((some_entry(1),))


def heard_by(gossip: Gossip, names: Sequence[str]) -> set[str]:
    announcers = [heard.announcer for heard in gossip.heard() if heard.announcement]
    return {names[int(each)] if each.isdigit() else each for each in announcers}  # hosts have numbers


def test_announcers_of_the_zones_are_heard_and_no_others(zoned_gossips: Gossips) -> None:
    gossips = zoned_gossips
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
    assert heard_by(listener, gossips.names) == inside

    assert listener.attend(whole)  # what is said from now on is heard of all
    gossips.deliver()
    for speaker in speakers:
        speaker.announce(Announcement((some_entry(1, seq=2),)))
    gossips.deliver()
    assert heard_by(listener, gossips.names) == set(names)
