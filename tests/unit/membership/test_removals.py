"""Removal votes that meet: everywhere the same peers are in, whoever was faster."""

import itertools
import random

import pytest
from rosters import NOW, Circle

from learnae.membership.records import REMOVE, Unknown, Vote

WEEKS = 21 * 86_400_000


def test_as_many_votes_as_the_manifest_says_remove_a_member() -> None:
    circle = Circle(4, votes=2)
    one, two, three, four = circle.founders
    circle.remove(one, four)
    circle.remove(one, four)  # the same voice again
    assert circle.inside(four) == [True]
    circle.remove(two, four)
    assert circle.inside(one, two, three, four) == [True, True, True, False]
    assert circle.roster().removed == {four.author}


def test_a_vote_of_a_stranger_or_against_one_changes_nothing() -> None:
    circle = Circle(2, votes=1)
    stranger = circle.newcomer()
    circle.remove(stranger, circle.founders[0])
    circle.remove(circle.founders[0], stranger)
    assert circle.inside(*circle.founders) == [True, True]
    assert not circle.roster().removed


def test_a_removed_member_votes_in_vain() -> None:
    circle = Circle(4, votes=2)
    one, two, three, four = circle.founders
    circle.remove(one, four)
    circle.remove(two, four)
    circle.remove(four, one)
    circle.remove(three, one)
    assert circle.inside(one, two, three) == [True] * 3


def test_two_who_remove_each_other_both_go() -> None:
    circle = Circle(3, votes=1)
    one, two, three = circle.founders
    circle.remove(one, two, [])
    circle.remove(two, one, [])
    assert circle.inside(one, two, three) == [False, False, True]


def test_two_alone_who_remove_each_other_both_go() -> None:
    circle = Circle(2, votes=1)
    one, two = circle.founders
    circle.remove(one, two, [])
    circle.remove(two, one, [])
    assert not circle.roster().members


@pytest.mark.parametrize("is_seen", [False, True])
def test_a_cycle_of_three_goes(is_seen: bool) -> None:
    circle = Circle(4, votes=1)
    one, two, three, four = circle.founders
    votes = [circle.remove(one, two, []), circle.remove(two, three, []), circle.remove(three, one, [])]
    if is_seen:
        circle.say(four, Unknown("note"), votes)
    assert circle.inside(one, two, three, four) == [False, False, False, True]


def test_a_vote_cast_before_the_removal_counts() -> None:
    circle = Circle(5, votes=2)
    one, two, three, four, five = circle.founders
    circle.remove(four, five)
    circle.remove(one, four)
    circle.remove(two, four)
    circle.remove(three, five)
    assert circle.inside(one, two, three, four, five) == [True, True, True, False, False]


def at_the_same_time(witness: bool) -> list[bool]:
    """Four votes against five while it is removed itself; three votes against five, too."""
    circle = Circle(5, votes=2)
    one, two, three, four, five = circle.founders
    vote = circle.remove(four, five, [])
    if witness:
        circle.say(three, Unknown("note"), [vote])
    first = circle.remove(one, four, [])
    second = circle.remove(two, four, [])
    circle.remove(three, five, [first, second])
    return circle.inside(four, five)


def test_a_vote_at_the_same_time_counts_if_a_member_saw_it_in_time() -> None:
    assert at_the_same_time(witness=True) == [False, False]
    assert at_the_same_time(witness=False) == [False, True]


def test_a_vote_weeks_later_that_names_an_old_past_finds_no_witness() -> None:
    circle = Circle(4, votes=1)
    one, two, three, four = circle.founders
    removal = circle.remove(one, four, [])
    seen = [circle.say(two, Unknown("note"), [removal]), circle.say(three, Unknown("note"), [removal])]
    late = circle.say(four, Vote(one.author, REMOVE), [], NOW + WEEKS)
    circle.say(two, Unknown("note"), [*seen, late])  # who has heard of both, later, is no witness
    assert circle.inside(one, two, three, four) == [True, True, True, False]


@pytest.mark.parametrize("targets", [(0,), (0, 1), (0, 1, 2), (0, 1, 2, 3)])
def test_as_many_removed_ones_as_votes_are_needed_retaliate_in_vain(targets: tuple[int, ...]) -> None:
    circle = Circle(6, votes=2)
    *honest, five, six = circle.founders
    one, two, three, _ = honest
    votes = [circle.remove(who, whom, []) for who in (one, two) for whom in (five, six)]
    circle.say(three, Unknown("note"), votes)
    for who, target in itertools.product((five, six), targets):
        circle.remove(who, honest[target], [])
    assert circle.inside(*honest) == [True] * 4
    assert circle.inside(five, six) == [False, False]


def test_accomplices_that_a_removed_one_lets_in_later_are_no_witnesses() -> None:
    circle = Circle(5, votes=2)
    one, two, three, four, five = circle.founders
    votes = [circle.remove(who, whom, []) for who in (one, two) for whom in (four, five)]
    circle.say(three, Unknown("note"), votes)
    retaliation = [circle.remove(who, whom, []) for who in (four, five) for whom in (one, two, three)]
    for _ in range(10):
        newcomer = circle.newcomer()
        invite = circle.invite(four, after=[])
        welcome = circle.welcome(four, circle.join(newcomer, invite), [])
        circle.say(newcomer, Unknown("note"), [welcome, *retaliation])
        circle.remove(newcomer, one, [welcome])
    assert circle.inside(one, two, three, four, five) == [True, True, True, False, False]
    assert len(circle.roster().members) == 3


def test_a_removal_outlives_those_who_voted_and_those_who_saw_it() -> None:
    circle = Circle(5, votes=2)
    one, two, three, four, five = circle.founders
    removal = [circle.remove(one, five, []), circle.remove(two, five, [])]
    circle.say(three, Unknown("note"), removal)
    late = [circle.remove(five, one, []), circle.remove(five, four, [])]
    for gone in (one, two, three):
        circle.leave(gone, [record for record in circle.said if record not in late])
    assert circle.inside(one, two, three, four, five) == [False, False, False, True, False]


def test_a_member_leaves_alone_and_what_it_says_later_does_not_count() -> None:
    circle = Circle(3, votes=2)
    one, two, _ = circle.founders
    friend = circle.bring_in(one)
    known = list(circle.said)
    circle.leave(one)
    late = circle.newcomer()
    circle.welcome(one, circle.join(late, circle.invite(one, after=known)), known + circle.said[-1:])
    assert circle.inside(one, two, friend, late) == [False, True, True, False]


def test_removed_and_admitted_at_the_same_time_is_removed() -> None:
    circle = Circle(5, votes=2)
    one, two, three, four, five = circle.founders
    first = circle.remove(one, five, [])
    circle.remove(two, five, [])
    circle.admit(three, five, after=[first])
    circle.admit(four, five, after=[first])
    assert circle.inside(five) == [False]


def test_votes_that_know_of_the_removal_bring_a_member_back() -> None:
    circle = Circle(5, votes=2)
    one, two, three, four, five = circle.founders
    circle.remove(one, five)
    circle.remove(two, five)
    known = list(circle.said)
    circle.admit(three, five)
    assert circle.inside(five) == [False]
    circle.admit(four, five)
    assert circle.inside(five) == [True]
    assert circle.roster().removed == frozenset()
    circle.remove(one, five, known)  # a third vote, at the same time as the return, is one alone
    assert circle.inside(five) == [True]
    circle.remove(two, five)
    assert circle.inside(five) == [False]


def test_removed_ones_do_not_bring_each_other_back() -> None:
    circle = Circle(6, votes=2)
    one, two, three, *gone = circle.founders
    against = {whom: [circle.remove(who, whom, []) for who in (one, two)] for whom in gone}
    circle.say(three, Unknown("note"))
    for whom in gone:  # each names the removal of the other alone
        for who in gone:
            if who is not whom:
                circle.admit(who, whom, after=against[whom])
    assert circle.inside(*gone) == [False] * 3


def test_those_who_strike_back_at_all_fail_also_before_others_have_said_a_word() -> None:
    circle = Circle(6, votes=2)
    *honest, five, six = circle.founders
    for who, whom in itertools.product(honest[:2], (five, six)):
        circle.remove(who, whom, [])
    for who, whom in itertools.product((five, six), honest):
        circle.remove(who, whom, [])
    assert circle.inside(*circle.founders) == [True] * 4 + [False] * 2


def test_what_a_member_did_before_its_removal_stays_and_later_things_do_not() -> None:
    circle = Circle(4, votes=2)
    one, two, three, four = circle.founders
    before = circle.bring_in(four)
    invite = circle.invite(four)
    known = list(circle.said)
    circle.remove(one, four, known)
    circle.remove(two, four, known)
    after, grandchild = circle.newcomer(), circle.newcomer()
    welcome = circle.welcome(four, circle.join(after, invite), known)
    unfounded = circle.invite(after, uses=2, after=[welcome])
    circle.welcome(after, circle.join(grandchild, unfounded), [welcome, unfounded])
    assert circle.inside(before, after, grandchild) == [True, False, False]
    asked = circle.join(circle.newcomer(), unfounded)
    assert unfounded.cid not in circle.roster().invites
    assert asked.cid not in circle.roster().pending
    rescued = circle.join(circle.newcomer(), invite)
    circle.welcome(three, rescued)  # the invite was made in time, and a member welcomes by it
    assert rescued.author in circle.roster().members


def test_an_unknown_kind_of_record_changes_nothing_but_is_a_past() -> None:
    circle = Circle(3, votes=2)
    one, two, three = circle.founders
    note = circle.say(three, Unknown("later", {"value": [1, 2.0]}))
    circle.remove(one, three, [note])
    assert circle.roster(circle.said[:1]).members.keys() == {each.author for each in circle.founders}
    circle.remove(two, three, [note])
    assert circle.inside(three) == [False]
    assert three.author in circle.roster(circle.said[1:]).members, "records without their past are left out"


def test_seven_records_mean_the_same_in_every_order() -> None:
    circle = Circle(4, votes=2)
    one, two, _, four = circle.founders
    newcomer = circle.newcomer()
    invite = circle.invite(four, after=[])
    join = circle.join(newcomer, invite)
    welcome = circle.welcome(four, join, [])
    circle.remove(one, four, [invite])
    circle.remove(two, four, [])
    circle.remove(four, one, [welcome])
    circle.remove(newcomer, one, [welcome])
    said = circle.said
    expected = circle.roster()
    assert not {four.author, newcomer.author} & expected.members.keys()
    assert one.author in expected.members
    orders = list(itertools.permutations(said))
    for order in orders:
        assert circle.roster(order) == expected
    for order in random.Random(1).sample(orders, 50):
        assert circle.ledger(order).roster() == expected


def test_what_depends_on_what_does_not_count_does_not_count_either() -> None:
    circle = Circle(4, votes=2)
    one, two, three, four = circle.founders
    good = circle.invite(three, uses=9)
    known = list(circle.said)
    circle.remove(one, four, known)
    circle.remove(two, four, known)
    too_late, accomplice = circle.invite(four, uses=9, after=known), circle.newcomer()
    let_in = circle.welcome(four, circle.join(accomplice, good), [good])
    by_accomplice = circle.invite(accomplice, after=[let_in])
    ann, bob, cat = (circle.newcomer() for _ in range(3))
    late_join, his_join = circle.join(ann, too_late), circle.join(bob, by_accomplice)
    circle.welcome(three, late_join, [too_late], NOW - 1)  # three has not heard of the removal
    circle.welcome(three, his_join, [by_accomplice])
    circle.welcome(accomplice, circle.join(cat, good), [let_in])
    assert circle.inside(accomplice, ann, bob, cat) == [False] * 4
    assert circle.roster().invites.keys() == {good.cid}
    for who in (accomplice, ann, bob, cat):
        assert circle.say(who, Unknown("note")).cid not in circle.true
    circle.welcome(two, circle.join(ann, good))
    member = circle.roster().members[ann.author]
    assert (member.by, member.join == late_join.cid) == (two.author, False)
    assert circle.roster().invites[good.cid].left == 8
