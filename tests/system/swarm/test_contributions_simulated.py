"""Contribution profiles of a whole swarm in virtual time: who ranks where, and what liars and free keys reach."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from rated import (
    FEW,
    LIAR,
    MANIFEST,
    MEMBERS,
    SEED,
    USEFUL,
    VICTIM,
    WRONG,
    author_of,
    book_at,
    person,
    said_of,
    scores,
    simulate,
    statements,
)

from learnae.ipld.cid import RAW, Cid
from learnae.membership.policy import Founder, MembershipPolicy
from learnae.peer.contributions.book import ContributionBook
from learnae.peer.contributions.rating import Rating
from learnae.ports import Heard
from learnae.privacy.policy import NONE, PrivacyPolicy, SummaryPrivacy
from learnae.protocol.announcements import PREFIX_BYTES, Announcement, Entry
from learnae.protocol.bodies import KEY, Contributions, FrameHeader, Join, Profile, Update
from learnae.protocol.identity import Identity
from learnae.protocol.limits import MINUTE
from learnae.protocol.messages import compose
from learnae.simulation.simulator import START, Simulation, identity_of
from learnae.weights.merge import MEAN, MergePolicy


@cache
def swarm() -> Simulation:
    return simulate()


def without(book: ContributionBook, rater: bytes) -> ContributionBook:
    other = copy.deepcopy(book)
    other.admit([each for each in book.raters if each != rater])
    return other


def test_useful_rows_rank_above_few_and_mislabelled_ones_for_every_honest_peer() -> None:
    simulation = swarm()
    for viewer in range(3, MEMBERS):
        found = scores(book_at(simulation, viewer), simulation)
        assert len(found) == MEMBERS
        assert min(found[number].usefulness for number in USEFUL) > max(found[FEW].usefulness, 0)
        assert found[WRONG].usefulness < 0
        assert min(score.raters for score in found.values()) >= MEMBERS - 2, (
            "none of oneself; the liar is silent of some"
        )


def test_a_liar_does_not_raise_itself_and_lowers_another_by_no_more_than_the_next_voice() -> None:
    simulation = swarm()
    liar, victim = (author_of(simulation, number) for number in (LIAR, VICTIM))
    for viewer in range(4, MEMBERS):
        book = book_at(simulation, viewer)
        with_it, honest = scores(book, simulation), scores(without(book, liar), simulation)
        assert with_it[LIAR] == honest[LIAR], "its own word"
        said = [body.by_peer.get(victim[:PREFIX_BYTES]) for rater, (_, body) in book.heard.items() if rater != liar]
        own = book.statement()
        assert own is not None
        ordered = sorted(percent for percent in (*said, own.by_peer.get(victim[:PREFIX_BYTES])) if percent is not None)
        least, most = ordered[(len(ordered) - 1) // 2 - 1] / 100, ordered[len(ordered) // 2] / 100
        assert least <= with_it[VICTIM].usefulness <= most
        assert with_it[VICTIM].usefulness > 0
        assert with_it[FEW].usefulness <= ordered[-1] / 100


@pytest.mark.parametrize("publishes", [False, True], ids=["a name", "an update of no weights"])
def test_fifty_free_keys_change_nothing(publishes: bool) -> None:
    """What peers know before and after is the same, where members measure and say nothing meanwhile."""
    simulation = swarm()
    viewers = range(3, MEMBERS)
    for member in simulation.members:
        assert member.peer.rating is not None
        member.peer.rating._next = float("inf")
        member.peer.rating.due = lambda _: None  # type: ignore[method-assign]
    simulation.run(5_000)  # what is on its way comes
    before = {viewer: scores(book_at(simulation, viewer), simulation) for viewer in viewers}
    sybils = []
    for number in range(50):
        key = Identity.from_seed(bytes([number + 1, publishes]) * 16)
        sybils.append(key.author)
        names = {author_of(simulation, VICTIM): -1000, author_of(simulation, WRONG): 1000, key.author: 1000}
        announce(simulation, key, said_of(names), publishes)
    simulation.run(5_000)
    for viewer in viewers:
        book, peer = book_at(simulation, viewer), simulation.members[viewer].peer
        assert sum(1 for sybil in sybils if peer.tangle.newest_of(sybil)) > 25, "they were heard"
        assert scores(book, simulation) == before[viewer]
        assert not set(sybils) & set(book.raters)
        assert not book.scores(set(sybils) & set(peer.following.news))


def announce(simulation: Simulation, key: Identity, said: Contributions, publishes: bool) -> None:
    """Let a new key speak: its name, or an update whose weights are nowhere, then a lie."""
    swarm, time, profile = simulation.manifest.swarm, simulation.clock.time, Profile("x", "agent", "0")
    update = Update(FrameHeader(KEY, "q8", MANIFEST.model.count, None), 1, 10**6, None, (), 0, 0, peer=profile)
    nowhere = (Cid.of(RAW, key.author),)
    first = update.to_fields() if publishes else Join(profile).to_fields()
    one = compose(key, swarm, 0, (), time, first, nowhere if publishes else (), checkpoint=True)
    two = compose(key, swarm, 1, (one.cid,), time + 100, said.to_fields(), (), checkpoint=False)
    host = simulation.members[0].host
    host.blocks |= {one.cid: one.data, two.cid: two.data}
    entry = Entry(key.author[:PREFIX_BYTES], 1, two.cid, one.cid)
    for member in simulation.members:
        member.host.inbox.append(Heard(key.author.hex(), Announcement((entry,))))


def test_killed_and_restarted_it_keeps_what_it_knew_and_does_not_say_it_again() -> None:
    """What was heard since the last save, at most 75 s of this horizon, may be said again by others."""
    simulation = simulate(seconds=30)
    number = 5
    author, member = author_of(simulation, number), simulation.members[number]
    assert len(book_at(simulation, number).raters) == MEMBERS - 1
    said, on_disk = book_at(simulation, number).said, member._contributions.load()
    simulation.crash(number)
    simulation.restart(number)
    kept = book_at(simulation, number)
    assert on_disk == kept.to_bytes()
    assert len(kept.raters) >= MEMBERS // 2
    assert kept.statement() is not None
    simulation.run(2_000)
    assert len(kept.raters) >= MEMBERS // 2
    assert kept.said == said
    assert max(message.time for message in statements(simulation) if message.author == author) < START + 30_000


def test_few_bytes_are_said() -> None:
    simulation = swarm()
    said = list(statements(simulation))
    assert {message.author for message in said} >= {author_of(simulation, number) for number in USEFUL}
    by_author = [message for message in said if message.author == author_of(simulation, VICTIM)]
    assert len(by_author) <= 4, "each time after as long again"
    assert max(len(message.data) for message in said) < 500
    assert not any(message.checkpoint or message.blocks for message in said)


@pytest.mark.parametrize("case", ["no summaries", "too few members tell of their rows"])
def test_where_there_is_nothing_to_judge_by_nothing_is_said(case: str) -> None:
    manifest, people = MANIFEST, 3
    if case == "no summaries":
        none = PrivacyPolicy(summary=SummaryPrivacy(form=NONE))
        manifest, people = replace(MANIFEST, merge=MergePolicy(rule=MEAN, half_life=10_000), privacy=none), 5
    simulation = simulate(manifest, people, 20)
    assert all(member.peer.steps for member in simulation.members)
    assert list(statements(simulation)) == []
    ratings = [member.peer.rating for member in simulation.members]
    assert all(rating is None or not rating.book.measured for rating in ratings)
    assert (ratings[0] is None) == (case == "no summaries")


def test_what_is_measured_is_not_changed_by_own_rows() -> None:
    """The same replicas and the same summaries of others, beside other rows of one's own: the same is said."""
    simulation = swarm()
    peer = simulation.members[VICTIM].peer
    lessons, own = peer.options.lessons, peer.frames.own_vote
    assert lessons is not None
    assert own is not None
    found = []
    for rows in (person(VICTIM), person(WRONG)):
        other = copy.deepcopy(lessons)
        other._dataset, other._rng = rows, np.random.default_rng(1)
        rating = Rating(MANIFEST, peer.author, other, peer.ports.state, seed=1)
        assert rating.measure(own, peer.following.replicas, 5 * MINUTE, lambda: 0)
        found.append(rating.book.measured)
    assert found[0] == found[1]


def test_members_of_a_sealed_swarm_hear_each_other_and_others_read_nothing() -> None:
    keys = [identity_of(SEED, number) for number in range(6)]
    policy = MembershipPolicy.of("invite", [Founder(key.author, key.x25519) for key in keys], 1)
    simulation = simulate(replace(MANIFEST, membership=policy), 6, 60)
    book = book_at(simulation, VICTIM)
    assert set(book.raters) == {key.author for number, key in enumerate(keys) if number != VICTIM}
    assert len(scores(book, simulation)) == len(keys)
    assert list(statements(simulation)) == [], "bodies are sealed"
