"""Zones: each peer sizes its own by what it counts there, and all of them together hold the swarm together."""

import random
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st
from nightly import how_many

from learnae.protocol.neighbourhood.attention import CROWD, LEAST, MOST, VISIT_MS, WAIT_MS, WHOLE, Attention
from learnae.protocol.neighbourhood.interest import EVERYBODY, LEVELS, Interest, Zone, path_of, place_of

SWARM = b"swarm"
HOUR = 3_600_000


def authors(count: int, seed: int = 0) -> list[bytes]:
    rng = random.Random(seed)
    return [rng.randbytes(32) for _ in range(count)]


def made_for(zone: Zone, count: int, seed: int = 1) -> list[bytes]:
    """Keys that were tried until their places are in a zone."""
    rng, found = random.Random(seed), []
    while len(found) < count:
        key = rng.randbytes(32)
        if place_of(SWARM, key) in zone:
            found.append(key)
    return found


class Listener:
    """A peer that counts those whom it hears."""

    def __init__(self, author: bytes, seed: int = 0, levels: int = 0) -> None:
        self.author = author
        self.attention = Attention(SWARM, author, random.Random(seed), levels)
        self.uptime = self.changes = 0

    @property
    def interest(self) -> Interest:
        return self.attention.interest

    def heard(self, swarm: Sequence[bytes]) -> list[bytes]:
        return [author for author in swarm if author != self.author and self.interest.admits(author)]

    def stay(self, swarm: Sequence[bytes], milliseconds: int, new: Sequence[bytes] = ()) -> None:
        """Look at what is heard; ``new`` keys are heard, too, and too young to count."""
        end = self.uptime + milliseconds
        while self.uptime < end:
            self.uptime += 20_000
            heard = self.heard(swarm)
            self.changes += self.attention.look(heard, [*heard, *self.heard(new)], self.uptime)


@given(st.integers(0, 2**LEVELS - 1), st.integers(0, 2**LEVELS - 1), st.integers(0, LEVELS))
def test_a_zone_holds_the_places_that_begin_as_its_path_does(one: int, other: int, levels: int) -> None:
    zone = Zone.of(one, levels)
    assert one in zone
    assert (other in zone) == (path_of(other, levels) == path_of(one, levels))
    assert path_of(one).startswith(zone.path)
    assert zone.overlaps(Zone.of(other, LEVELS)) == (other in zone)


def test_a_place_depends_on_the_swarm_and_on_what_an_announcement_names_of_a_key() -> None:
    key = authors(1)[0]
    assert place_of(SWARM, key) == place_of(SWARM, key[:8]) == place_of(SWARM, key[:8] + bytes(24))
    assert len({place_of(b"%d" % number, key) for number in range(9)}) > 1
    assert EVERYBODY.admits(key)


@settings(max_examples=how_many(10, 200), deadline=None)
@given(st.integers(0, 1500), st.integers(0, 99))
def test_however_large_the_swarm_is_about_as_many_are_heard_and_for_long(count: int, seed: int) -> None:
    swarm, listener = authors(count, seed), Listener(authors(1, seed + 1000)[0], seed)
    listener.stay(swarm, HOUR // 4)
    zones, listener.changes = listener.interest.zones, 0

    if count <= WHOLE:
        assert listener.interest.is_whole
    for zone in zones if count > WHOLE else ():
        assert zone.levels
        assert sum(place_of(SWARM, author) in zone for author in swarm) <= CROWD
    assert listener.interest.admits(listener.author)
    assert len(zones) == 1 or not zones[0].overlaps(zones[1])
    assert count <= WHOLE or LEAST <= len(listener.heard(swarm)) <= 2 * CROWD
    assert count / 4 <= listener.attention.size(len(listener.heard(swarm))) <= max(count * 4, WHOLE)

    listener.stay(swarm, HOUR)
    assert listener.changes <= HOUR // VISIT_MS + 4, "zones of another size need other authors"


def test_on_the_mean_a_swarm_of_many_thousands_costs_what_one_of_a_hundred_does() -> None:
    means = {}
    for count in (100, 1_000, 10_000):
        swarm, heard = authors(count), []
        for number in range(12):
            listener = Listener(swarm[number], number)
            listener.stay(swarm, 10_000)
            heard.append(len(listener.heard(swarm)))
        means[count] = sum(heard) / len(heard)
    assert max(means.values()) <= WHOLE
    assert max(means.values()) <= 1.3 * means[100]


def test_invented_authors_make_no_peer_hear_fewer() -> None:
    swarm, invented = authors(20), authors(1000, seed=7)
    listener = Listener(swarm[0])
    listener.stay(swarm, HOUR, new=invented)
    assert listener.interest.is_whole


def test_keys_that_were_made_for_one_zone_leave_the_other_as_it_is() -> None:
    honest = authors(1000)
    listener = Listener(honest[0])
    liars = made_for(Zone.of(place_of(SWARM, honest[0]), levels := 11), 70)
    listener.stay([*honest, *liars], HOUR // 4)

    home, visited = listener.interest.zones
    assert home.levels >= levels - 1
    assert sum(place_of(SWARM, author) in visited for author in honest) >= LEAST


def test_a_swarm_that_shrinks_is_heard_as_a_whole_again() -> None:
    swarm, listener = authors(500), Listener(authors(1, seed=5)[0])
    listener.stay(swarm, 10_000)
    assert not listener.interest.is_whole
    listener.stay(swarm[:6], HOUR)
    assert listener.interest.is_whole


def test_who_begins_with_too_small_zones_finds_the_others() -> None:
    swarm = authors(300)
    listener = Listener(swarm[0], levels=LEVELS)
    listener.stay(swarm, 2 * LEVELS * WAIT_MS)
    assert len(listener.heard(swarm)) >= 2 * LEAST


def test_a_hint_is_taken_once_and_no_false_one_is_believed_for_long() -> None:
    swarm = authors(15)
    listener = Listener(swarm[0])
    listener.attention.begin(LEVELS)
    assert listener.interest.home.levels == LEVELS
    listener.stay(swarm, 4 * LEVELS * 20_000)
    assert len(listener.heard(swarm)) == len(swarm) - 1
    listener.attention.begin(LEVELS)
    assert len(listener.heard(swarm)) == len(swarm) - 1


def test_another_zone_is_visited_after_a_while() -> None:
    swarm, listener = authors(1000), Listener(authors(1, seed=5)[0])
    listener.stay(swarm, 10_000)
    home, visited = listener.interest.zones
    listener.stay(swarm, VISIT_MS + 10_000)
    assert listener.interest.home == home
    assert listener.interest.zones[1] != visited


def test_what_one_says_reaches_all_in_a_few_steps() -> None:
    swarm = authors(300)
    listeners = [Listener(author, number) for number, author in enumerate(swarm)]
    for listener in listeners:
        listener.stay(swarm, 1)
    assert all(MOST // 4 <= len(listener.heard(swarm)) <= 2 * CROWD for listener in listeners)
    hears = {each.author: each.heard(swarm) for each in listeners}
    reached, steps = {swarm[0]}, 0
    while len(reached) < len(swarm) and steps < 6:
        steps += 1
        reached |= {author for author, heard in hears.items() if not reached.isdisjoint(heard)}
    assert len(reached) == len(swarm)
