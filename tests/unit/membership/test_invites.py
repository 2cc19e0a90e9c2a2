"""Joins by invites and by members who vouch: what is right in its own past stays right, whatever is dated how."""

import dataclasses

import pytest
from rosters import DAY, NOW, Circle

from learnae.errors import MembershipError
from learnae.membership.policy import VOUCHED
from learnae.membership.records import Invite, Join


def test_an_invited_newcomer_is_in_when_a_member_has_welcomed_it() -> None:
    circle = Circle(2, votes=2)
    one, two = circle.founders
    ann = circle.newcomer()
    invite = circle.invite(one, uses=2)
    join = circle.join(ann, invite)
    found = circle.roster()
    assert ann.author not in found.members
    assert (found.pending, found.invites[invite.cid].left) == ((join.cid,), 2)
    welcome = circle.welcome(two, join)
    found = circle.roster()
    member = found.members[ann.author]
    assert (member.x25519, member.role, member.by, member.join) == (ann.x25519, "any", two.author, join.cid)
    assert (member.since, found.pending, found.invites[invite.cid].left) == (welcome.time, (), 1)


@pytest.mark.parametrize(("date", "is_in"), [(NOW + DAY, True), (NOW + DAY + 1, False)])
def test_a_welcome_dated_after_the_invite_does_not_count(date: int, is_in: bool) -> None:
    circle = Circle(1, votes=1)
    ann = circle.newcomer()
    join = circle.join(ann, circle.invite(circle.founders[0]), time=NOW + 99 * DAY)  # a joiner's date says nothing
    circle.welcome(circle.founders[0], join, time=date)
    assert circle.inside(ann) == [is_in]


def test_a_used_up_invite_lets_nobody_in_who_knows_of_the_use() -> None:
    circle = Circle(2, votes=2)
    one, two = circle.founders
    ann, bob, cat = (circle.newcomer() for _ in range(3))
    invite = circle.invite(one)
    joins = [circle.join(who, invite, time) for who, time in ((ann, NOW), (bob, 0), (cat, NOW))]
    known = list(circle.said)
    circle.welcome(two, joins[0])
    circle.welcome(two, joins[1])  # dated before all others, and in vain
    assert circle.inside(ann, bob) == [True, False]
    assert circle.roster().invites == {}
    assert circle.roster().pending == ()
    circle.welcome(one, joins[2], known)  # at the same time as the first: neither is put out again
    assert circle.inside(ann, bob, cat) == [True, False, True]


def test_one_joiner_uses_an_invite_once() -> None:
    circle = Circle(2, votes=2)
    one, two = circle.founders
    ann, bob = circle.newcomer(), circle.newcomer()
    invite = circle.invite(one, uses=2)
    twice = [circle.join(ann, invite, NOW), circle.join(ann, invite, NOW + 1)]
    known = list(circle.said)
    circle.welcome(one, twice[0], known)
    circle.welcome(two, twice[1], known)
    assert circle.roster().invites[invite.cid].left == 1
    circle.welcome(two, circle.join(bob, invite))
    assert circle.inside(ann, bob) == [True, True]


def test_a_taken_back_invite_stops_who_knows_of_it_and_no_one_who_is_in() -> None:
    circle = Circle(3, votes=2)
    one, two, three = circle.founders
    ann, bob = circle.newcomer(), circle.newcomer()
    invite = circle.invite(one, uses=3)
    joins = [circle.join(ann, invite), circle.join(bob, invite)]
    known = list(circle.said)
    circle.uninvite(one, invite)
    circle.welcome(two, joins[0], known)  # races
    circle.welcome(three, joins[1])
    assert circle.inside(ann, bob) == [True, False]
    assert circle.roster().invites == {}


def test_others_take_an_invite_back_with_as_many_votes_as_a_removal() -> None:
    circle = Circle(3, votes=2)
    one, two, three = circle.founders
    invite = circle.invite(one)
    circle.uninvite(two, invite)
    circle.uninvite(two, invite)
    assert invite.cid in circle.roster().invites
    circle.uninvite(three, invite)
    assert invite.cid not in circle.roster().invites


def test_a_forged_proof_and_another_ones_proof_are_no_join() -> None:
    circle = Circle(1, votes=1)
    (one,) = circle.founders
    ann, bob = circle.newcomer(), circle.newcomer()
    invite = circle.invite(one)
    true = circle.join(ann, invite).body
    assert isinstance(true, Join)
    for who, proof in ((ann, bytes(64)), (bob, true.proof)):
        join = circle.say(who, dataclasses.replace(true, proof=proof), [])
        circle.welcome(one, join)
        assert circle.inside(bob) == [False]
        with pytest.raises(MembershipError, match="proves no invite"):
            circle.ledger([invite, join])


def test_a_stranger_lets_nobody_in() -> None:
    circle = Circle(1, votes=1)
    (one,) = circle.founders
    ann, bob, stranger = (circle.newcomer() for _ in range(3))
    join = circle.join(ann, circle.invite(one))
    circle.welcome(stranger, join)
    circle.welcome(ann, join)
    by_stranger = circle.join(bob, circle.invite(stranger))
    circle.welcome(one, by_stranger, [by_stranger])
    assert circle.inside(ann, bob, stranger) == [False] * 3


def test_a_removed_one_does_not_come_back_by_an_invite() -> None:
    circle = Circle(3, votes=2)
    one, two, three = circle.founders
    ann = circle.bring_in(one)
    circle.remove(two, ann)
    circle.remove(three, ann)
    again = circle.join(ann, circle.invite(one))
    circle.welcome(one, again)
    assert circle.inside(ann) == [False]
    assert circle.roster().pending == ()
    circle.admit(two, ann, again)
    circle.admit(three, ann, again)
    assert circle.inside(ann) == [True]


def test_joins_by_an_invite_of_a_removed_member_count_by_what_the_votes_knew() -> None:
    circle = Circle(3, votes=2)
    one, two, three = circle.founders
    before, after = circle.newcomer(), circle.newcomer()
    known = list(circle.said)
    in_time = circle.invite(three)
    circle.remove(one, three, [in_time])
    circle.remove(two, three, [in_time])
    too_late = circle.invite(three, after=known)
    circle.welcome(two, circle.join(before, in_time))
    late_join = circle.join(after, too_late)
    circle.welcome(one, late_join, [too_late, late_join])  # by one that has not heard of its own vote's effect
    assert circle.inside(before, after) == [True, False]


def test_an_invite_says_for_which_role() -> None:
    circle = Circle(1, votes=1)
    (one,) = circle.founders
    ann = circle.newcomer()
    invite = circle.invite(one)
    assert isinstance(invite.body, Invite)
    agent = circle.say(one, dataclasses.replace(invite.body, role="agent"))
    circle._keys[agent.cid] = circle._keys[invite.cid]
    circle.welcome(one, circle.join(ann, agent))
    assert circle.roster().members[ann.author].role == "agent"


def test_members_vouch_for_a_newcomer() -> None:
    circle = Circle(3, votes=2, kind=VOUCHED)
    one, two, three = circle.founders
    ann, bob, stranger = (circle.newcomer() for _ in range(3))
    join, other = circle.join(ann, None), circle.join(bob, None)
    first = circle.admit(one, ann, join)
    circle.admit(one, ann, join)
    circle.admit(stranger, ann, join)  # forged vouching
    circle.welcome(three, join)
    assert circle.inside(ann) == [False], "one voice of two"
    circle.admit(two, ann, other)  # a join that is not hers
    circle.welcome(three, join)
    assert circle.inside(ann) == [False]
    second = circle.admit(two, ann, join)
    circle.welcome(three, join, [first, second])
    assert circle.inside(ann, bob) == [True, False]
    assert circle.roster().members[ann.author].by == three.author
    by_invite = circle.join(stranger, circle.invite(one))
    circle.welcome(one, by_invite)
    assert circle.inside(stranger) == [False], "this swarm takes no invites"


def test_vouching_of_members_that_are_removed_before_they_vouch_counts_no_more() -> None:
    circle = Circle(5, votes=2, kind=VOUCHED)
    one, two, three, four, five = circle.founders
    ann = circle.newcomer()
    join = circle.join(ann, None)
    circle.remove(one, four, [])
    circle.remove(two, four, [])
    late = [circle.admit(four, ann, join, []), circle.admit(five, ann, join, [])]
    circle.welcome(three, join, late)  # the removal had not reached it
    assert circle.inside(ann, four) == [False, False]
    assert circle.roster().pending == (join.cid,)
    circle.admit(three, ann, join)
    circle.welcome(three, join)
    assert circle.inside(ann) == [True]


def test_vouching_of_one_that_the_welcomer_knows_to_be_removed_does_not_count() -> None:
    circle = Circle(4, votes=2, kind=VOUCHED)
    one, two, three, four = circle.founders
    ann = circle.newcomer()
    join = circle.join(ann, None)
    circle.admit(three, ann, join)
    circle.admit(four, ann, join)
    known = list(circle.said)
    circle.remove(one, four)
    circle.remove(two, four)
    circle.welcome(one, join)
    assert circle.inside(ann) == [False]
    circle.welcome(two, join, known)
    assert circle.inside(ann) == [True], "what was right in its own past stays right"


def test_a_newcomer_that_was_let_in_twice_stays_by_the_welcome_that_counts() -> None:
    circle = Circle(4, votes=2)
    one, two, three, four = circle.founders
    ann = circle.newcomer()
    invite = circle.invite(three, uses=2)
    join = circle.join(ann, invite)
    known = list(circle.said)
    circle.remove(one, four, known)
    circle.remove(two, four, known)
    circle.welcome(four, join, known, NOW - 1)
    assert circle.inside(ann) == [False]
    assert circle.roster().invites[invite.cid].left == 2
    circle.welcome(three, join)
    assert circle.roster().members[ann.author].by == three.author
