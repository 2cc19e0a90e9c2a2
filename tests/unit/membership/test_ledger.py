"""What one peer holds of the records: the same in whatever order they come, and bounded whoever sends them."""

import contextlib
import random

import pytest
from rosters import NOW, SWARM, Circle, person

from learnae.errors import LimitError, MembershipError, ReplayError, SignatureError
from learnae.ipld.cid import RAW, Cid
from learnae.membership import ledger as module
from learnae.membership.ledger import MAX_GUESTS, Ledger
from learnae.membership.policy import VOUCHED
from learnae.membership.records import Leave, Unknown, Vote, compose_record


def empty(circle: Circle) -> Ledger:
    return Ledger(circle.policy, SWARM)


def fetch(ledger: Ledger, circle: Circle, first: Cid) -> int:
    """Walk the past from one record, as over a link; return how many were asked for."""
    blocks = {record.cid: record.data for record in circle.said}
    asked, wanted = 0, [first]
    while wanted:
        for cid in wanted:
            ledger.add(blocks[cid])
            asked += 1
        wanted = list(ledger.missing())
    return asked


def test_a_newcomer_walks_the_past_from_one_head() -> None:
    circle = Circle(2, votes=2)
    for _ in range(5):
        circle.bring_in(circle.founders[0])
    ledger = empty(circle)
    assert fetch(ledger, circle, circle.said[-1].cid) == len(circle.said) == len(ledger)
    assert ledger.heads() == (circle.said[-1].cid,)
    assert ledger.roster() == circle.roster()
    assert set(ledger.cids()) == {record.cid for record in circle.said}


def test_records_wait_for_what_they_stand_on_and_are_told_when_it_came() -> None:
    circle = Circle(1, votes=1)
    (one,) = circle.founders
    ann = circle.bring_in(one)
    invite, join, welcome = circle.said
    ledger = empty(circle)
    assert ledger.add(welcome.data) == ledger.add(join.data) == []
    assert (list(ledger.missing()), ledger.cids(), ledger.may_speak(ann.author)) == ([invite.cid], [], False)
    with pytest.raises(ReplayError):
        ledger.add(join.data)
    assert ledger.add(invite.data) == [invite, join, welcome]
    assert (list(ledger.missing()), ledger.may_speak(ann.author), ledger.knows(ann.author)) == ([], True, True)
    with pytest.raises(ReplayError):
        ledger.add(welcome.data)


def test_who_was_removed_is_known_and_may_not_speak() -> None:
    circle = Circle(2, votes=1)
    one, two = circle.founders
    circle.remove(one, two)
    ledger = circle.ledger()
    assert (ledger.may_speak(two.author), ledger.knows(two.author)) == (False, True)
    assert not ledger.knows(person(99).author)
    with pytest.raises(MembershipError, match="was no member when it wrote a record of kind leave"):
        ledger.write(two, NOW, Leave())
    assert ledger.write(one, NOW, Leave()).cid in ledger


def test_what_a_stranger_says_is_refused_for_ever_with_all_that_stands_on_it() -> None:
    circle = Circle(2, votes=1)
    one, two = circle.founders
    vote = circle.say(person(99), Vote(one.author, "remove"), [])
    note = circle.say(two, Unknown("note"), [vote])
    later = circle.say(two, Unknown("note"), [note])
    for order in ((vote, note, later), (later, note, vote)):
        ledger = empty(circle)
        for record in order[:-1]:
            with contextlib.suppress(MembershipError):
                ledger.add(record.data)
        with pytest.raises(MembershipError):
            ledger.add(order[-1].data)
        assert (len(ledger), list(ledger.missing())) == (0, [])
        for record in order:
            assert not ledger.is_new(record.cid)
            with pytest.raises(MembershipError, match="refused"):
                ledger.add(record.data)


def test_a_forged_record_is_not_remembered() -> None:
    circle = Circle(1, votes=1)
    record = circle.say(circle.founders[0], Unknown("note"))
    forged = record.data.replace(record.author, person(99).author)
    ledger = empty(circle)
    for _ in range(2):
        with pytest.raises(SignatureError):
            ledger.add(forged)
    assert ledger.is_new(Cid.of(0x71, forged))


def test_strangers_with_a_leaked_code_take_no_more_than_their_places() -> None:
    circle = Circle(1, votes=1)
    (one,) = circle.founders
    other, leaked = circle.invite(one), circle.invite(one, uses=16)
    ann = circle.join(circle.newcomer(), other)
    flood = [circle.join(circle.newcomer(), leaked) for _ in range(MAX_GUESTS + 20)]
    ledger = circle.ledger()
    assert (len(ledger), len(ledger.roster().pending)) == (2 + 1 + MAX_GUESTS, 1 + MAX_GUESTS)
    assert ledger.heads() == (leaked.cid,), "no stranger stands in what members sign"
    assert ann.cid in ledger
    assert flood[0].cid not in ledger
    assert ledger.is_new(flood[0].cid)
    welcome = circle.welcome(one, flood[0], [leaked])
    assert ledger.add(welcome.data) == []
    assert list(ledger.missing()) == [flood[0].cid]
    assert ledger.add(flood[0].data) == [flood[0], welcome]
    assert ledger.may_speak(flood[0].author)


def test_strangers_take_bounded_room_where_members_vouch() -> None:
    circle = Circle(1, votes=1, kind=VOUCHED)
    for _ in range(MAX_GUESTS + 5):
        circle.join(circle.newcomer(), None)
    assert len(circle.ledger()) == MAX_GUESTS


def test_a_join_that_stands_on_joins_waits_until_a_member_names_those() -> None:
    circle = Circle(1, votes=1)
    (one,) = circle.founders
    invite = circle.invite(one, uses=2)
    first = circle.join(circle.newcomer(), invite)
    late = circle.newcomer()
    body = circle.join(late, invite).body
    standing = compose_record(late, SWARM, [first.cid], NOW, body)
    ledger = empty(circle)
    ledger.add(invite.data)
    ledger.add(first.data)
    assert ledger.add(standing.data) == []
    welcome = circle.welcome(one, first, [first])
    assert ledger.add(welcome.data) == [welcome, standing]


def test_a_member_fills_its_own_room_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_RECORDS_BY_AUTHOR", 50)
    circle = Circle(2, votes=2)
    one, two = circle.founders
    flood = [circle.say(one, Unknown("note", {"number": number}), []) for number in range(53)]
    ledger = empty(circle)
    for record in flood[:50]:
        ledger.add(record.data)
    for record in flood[50:]:
        with pytest.raises(LimitError, match=r"50 records of .*; at most 50 and"):
            ledger.add(record.data)
    with pytest.raises(LimitError):
        ledger.write(one, NOW, Unknown("note"))
    on_one_too_many = circle.say(two, Unknown("note"), [flood[-1]])
    assert ledger.add(on_one_too_many.data) == []
    assert list(ledger.missing()) == [flood[-1].cid]
    assert ledger.add(flood[-1].data) == [flood[-1], on_one_too_many], "another stands on it: all will have it"


def test_a_full_ledger_leaves_each_member_a_few_records(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_RECORDS", 30)
    circle = Circle(2, votes=1)
    one, two = circle.founders
    ledger = empty(circle)
    for number in range(30):
        ledger.write(one, NOW + number, Unknown("note"))
    with pytest.raises(LimitError, match="30 records"):
        ledger.write(one, NOW, Unknown("note"))
    ledger.write(two, NOW, Vote(one.author, "remove"))
    assert not ledger.may_speak(one.author)


def test_who_sends_what_nothing_leads_to_displaces_only_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PENDING", 20)
    circle = Circle(1, votes=1)
    (one,) = circle.founders
    chain = [circle.say(one, Unknown("note")) for _ in range(9)]
    ledger = empty(circle)
    for record in reversed(chain[1:]):
        ledger.add(record.data, b"friend")
    for number in range(100):
        orphan = compose_record(person(number), SWARM, [Cid.of(RAW, b"%d" % number)], NOW, Leave())
        ledger.add(orphan.data, b"enemy")
    assert len(list(ledger.missing())) <= 20
    assert len(ledger.add(chain[0].data, b"friend")) == len(chain)


def test_pending_records_are_bounded_by_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PENDING_BYTES", 20_000)
    ledger = empty(Circle(1, votes=1))
    for number in range(40):
        note = Unknown("note", {"rest": bytes(3000)})
        ledger.add(compose_record(person(number), SWARM, [Cid.of(RAW, b"%d" % number)], NOW, note).data)
    assert 0 < len(list(ledger.missing())) <= 6


def test_more_heads_than_a_record_names_are_joined_in_turn() -> None:
    circle = Circle(2, votes=1)
    one, two = circle.founders
    ann = circle.bring_in(two)
    for number in range(100):
        circle.say(one, Unknown("note", {"number": number}), [])
    ledger = circle.ledger()
    assert len(ledger.heads()) == 64
    last = circle.said[2].cid
    assert last in ledger.heads(), "each author has a place"
    for number in range(100):
        ledger.add(circle.say(two, Unknown("note", {"number": number}), []).data)
    assert last in ledger.heads(ann.author), "what makes her a member"
    ledger.write(ann, NOW, Unknown("note"))
    for _ in range(4):
        ledger.write(one, NOW, Unknown("note"))
    assert len(ledger.heads()) == 1


def test_every_order_with_repeats_leaves_the_same() -> None:
    circle = Circle(3, votes=2)
    one, two, three = circle.founders
    ann = circle.bring_in(one, uses=2)
    circle.remove(two, ann, circle.said[:1])
    circle.remove(three, ann)
    circle.join(circle.newcomer(), circle.said[0])
    for seed in range(100):
        rng = random.Random(seed)
        order = circle.said * 2
        rng.shuffle(order)
        ledger = empty(circle)
        for record in order:
            try:
                ledger.add(record.data)
            except ReplayError:
                assert record.cid in ledger or not ledger.is_new(record.cid)
        assert (ledger.roster(), sorted(ledger.cids())) == (circle.roster(), sorted(r.cid for r in circle.said))
