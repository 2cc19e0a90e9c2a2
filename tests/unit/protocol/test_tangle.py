import random
import sys
from typing import Any

import pytest
from builders import NOW, Author, new_tangle, offer, random_dag, some_cid, update_body
from hypothesis import given
from hypothesis import strategies as st

from learnae.errors import BannedError, FutureError, LimitError, ReplayError, SequenceError, StaleError
from learnae.protocol.limits import HOUR, MINUTE, Limits
from learnae.protocol.messages import Message, open_message
from learnae.protocol.pending import Pending
from learnae.protocol.tangle import Tangle

DAY = 24 * HOUR


def childless(messages: list[Message]) -> set[Any]:
    named = {parent for message in messages for parent in message.parents}
    return {message.cid for message in messages if message.cid not in named}


# -- attach


@given(st.integers(0, 10_000), st.integers(1, 5), st.integers(1, 25), st.randoms(use_true_random=False))
def test_any_order_of_arrival_gives_the_same_tangle(seed: int, authors: int, count: int, rng: random.Random) -> None:
    said = random_dag(seed, authors, count)
    shuffled = rng.sample(said, len(said))
    tangle = new_tangle()
    outcome = offer(tangle, *shuffled)
    assert not outcome.refused
    assert {message.cid for message in outcome.attached} == {message.cid for message in said} == set(tangle.cids())
    assert set(tangle.heads()) == childless(said)
    assert tangle.missing() == []
    assert {author: tangle.newest_of(author) for author in tangle.authors()} == {m.author: m.cid for m in said}


@given(st.integers(0, 10_000), st.randoms(use_true_random=False))
def test_a_bad_message_and_all_that_stands_on_it_stay_out_in_any_order(seed: int, rng: random.Random) -> None:
    said = random_dag(seed, 3, 8)
    liar = Author(7)
    liar.say()
    bad = liar.say(seq=5)
    child = Author(8).say(bad)
    grandchild = Author(9).say(child, said[-1])
    everything = [*said, bad, child, grandchild, Author(7).say()]
    tangle = new_tangle()
    outcome = offer(tangle, *rng.sample(everything, len(everything)))
    assert set(tangle.cids()) == {m.cid for m in everything} - {bad.cid, child.cid, grandchild.cid}
    assert any(isinstance(error, SequenceError) for error in outcome.refused)
    assert not any(tangle.is_new(message.cid) for message in everything)
    assert tangle.missing() == []


def test_what_is_remembered_of_a_message() -> None:
    tangle, author = new_tangle(), Author(1)
    first = author.say(body={"kind": "note"}, blocks=(some_cid(1),))
    second = author.say(body=update_body())
    offer(tangle, first, second)
    node = tangle.node(second.cid)
    assert (node.author, node.seq, node.time, node.parents) == (author.author, 1, second.time, (first.cid,))
    assert node.frame == second.body.frame
    first_node = tangle.node(first.cid)
    assert (first_node.blocks, first_node.frame) == ((some_cid(1),), None)
    assert (tangle._chains[author.author].update, tangle.newest_of(author.author)) == (second.cid, second.cid)
    third = author.say()
    offer(tangle, third)
    assert (tangle._chains[author.author].update, tangle.newest_of(author.author)) == (second.cid, third.cid)
    assert tangle.node(some_cid(9)) is tangle.newest_of(b"nobody") is None


def test_a_replay_is_refused_whether_attached_or_waiting() -> None:
    tangle, author = new_tangle(), Author(1)
    first, second, third = author.chain(3)
    offer(tangle, first, third)
    for message in (first, third):
        with pytest.raises(ReplayError):
            tangle.attach(message, NOW)
    offer(tangle, second)
    assert len(tangle) == 3


def test_a_date_in_the_future_is_refused_now_and_taken_later() -> None:
    tangle, skew = new_tangle(), Limits().skew
    message = Author(1).say(time=NOW + skew + 1)
    with pytest.raises(FutureError, match="check the clocks"):
        tangle.attach(message, NOW)
    assert tangle.is_new(message.cid)
    assert tangle.attach(message, NOW + 1).attached == [message]


def test_what_is_older_than_the_horizon_is_taken_only_if_asked_for() -> None:
    tangle = new_tangle()
    message = Author(1).say(time=NOW - DAY - 1)
    with pytest.raises(StaleError):
        tangle.attach(message, NOW)
    tangle.want(message.cid)
    assert tangle.missing() == [message.cid]
    assert tangle.attach(message, NOW).attached == [message]
    assert tangle.missing() == []
    assert tangle.attach(Author(2).say(time=NOW - DAY), NOW).attached


def test_what_is_older_than_the_horizon_waits_for_nobody() -> None:
    tangle, author = new_tangle(), Author(1)
    lost = author.say(time=NOW - DAY - 5000)
    old = author.say(time=NOW - DAY - 1)
    new = author.say(time=NOW)
    tangle.attach(new, NOW)
    assert tangle.missing() == [old.cid]
    assert tangle.attach(old, NOW).attached == [old, new]
    assert lost.cid not in tangle


def test_a_peers_own_message_may_stand_on_a_lost_past() -> None:
    tangle, author = new_tangle(), Author(1)
    author.say()
    own = author.say()
    assert tangle.attach(own, NOW + MINUTE, rooted=True).attached == [own]
    follower = author.say()
    assert offer(tangle, follower).attached == [follower]


def test_a_peers_own_message_that_waits_can_be_rooted() -> None:
    tangle, author = new_tangle(), Author(1)
    author.say()
    own = author.say()
    tangle.attach(own, NOW + MINUTE)
    assert tangle.attach(own, NOW + MINUTE, rooted=True).attached == [own]


def test_a_peers_own_message_holds_though_its_clock_was_set_back() -> None:
    own = Author(1).say(time=NOW)
    assert new_tangle().attach(own, NOW - DAY, rooted=True).attached == [own]


def test_speaking_too_often_is_refused() -> None:
    interval = Limits().interval
    for gap, allowed in ((interval, True), (interval - 1, False)):
        tangle, author = new_tangle(), Author(1)
        first, second = author.say(time=NOW), author.say(time=NOW + gap)
        outcome = offer(tangle, first, second)
        assert (second.cid in tangle) is allowed
        assert allowed or isinstance(outcome.refused[0], LimitError)


def test_the_first_parent_must_be_the_authors_message_before() -> None:
    author, other = Author(1), Author(2)
    first, second = author.chain(2)
    foreign = other.say()
    cases = {
        "another author's": author.say(previous=foreign, seq=1, time=NOW + 5000),
        "one left out": author.say(previous=first, seq=2, time=NOW + 5000),
        "the same seq again": author.say(previous=second, seq=1, time=NOW + 5000),
        "one too many": author.say(previous=second, seq=3, time=NOW + 5000),
    }
    for name, message in cases.items():
        tangle = new_tangle()
        offer(tangle, first, second, foreign)
        with pytest.raises(SequenceError):
            tangle.attach(message, NOW + MINUTE)
        assert message.cid not in tangle, name
        assert not tangle.is_new(message.cid), name


@pytest.mark.parametrize("which", ["own", "tip"])
@pytest.mark.parametrize(("later", "allowed"), [(0, False), (1, True)])
def test_a_message_is_younger_than_all_its_parents(which: str, later: int, allowed: bool) -> None:
    tangle, author, other = new_tangle(interval=1), Author(1), Author(2)
    own = author.say(time=NOW + (1000 if which == "own" else 0))
    tip = other.say(time=NOW + (1000 if which == "tip" else 0))
    message = author.say(tip, time=NOW + 1000 + later)
    offer(tangle, own, tip, message)
    assert (message.cid in tangle) is allowed


# -- equivocation


def test_equivocation_is_proof_and_ban() -> None:
    tangle, author, other = new_tangle(), Author(1), Author(2)
    root = author.say(time=NOW)
    one = author.say(time=NOW + 1000)
    two = author.say(previous=root, time=NOW + 2000)
    assert one.seq == two.seq
    assert not offer(tangle, root, one).equivocations
    found = offer(tangle, two).equivocations
    assert [(e.author, e.first, e.second) for e in found] == [(author.author, one.cid, two.cid)]
    assert tangle.is_banned(author.author)
    assert one.cid in tangle
    assert two.cid in tangle
    assert tangle.heads() == ()

    after = author.say(time=NOW + 3000)
    with pytest.raises(BannedError):
        tangle.attach(after, NOW + MINUTE)
    assert after.cid not in tangle

    child = other.say(after, time=NOW + 4000)  # by somebody who did not know
    tangle.attach(child, NOW + MINUTE)
    assert tangle.missing() == [after.cid]
    assert tangle.attach(after, NOW + MINUTE).attached == [after, child]
    assert tangle.heads() == (child.cid,)


def test_two_first_messages_are_equivocation_too() -> None:
    tangle = new_tangle()
    one, two = Author(1).say(time=NOW), Author(1).say(time=NOW + 1)
    assert len(offer(tangle, one, two).equivocations) == 1


def test_equivocation_among_waiting_messages_is_found() -> None:
    tangle, author = new_tangle(), Author(1)
    root = author.say()
    one, two = author.say(), author.say(previous=root, time=NOW + 2000)
    assert not offer(tangle, one, two).equivocations
    assert len(offer(tangle, root).equivocations) == 1


def test_a_second_half_asked_for_is_taken_from_a_banned_author() -> None:
    tangle = new_tangle()
    first, second, third = (Author(1).say(time=NOW + n) for n in range(3))
    offer(tangle, first, second)
    tangle.want(third.cid)
    assert offer(tangle, third).attached == [third]
    assert third.seq == 0


# -- the waiting room


def test_a_deep_chain_in_reverse_order_is_attached_without_recursion() -> None:
    depth = 5000
    assert depth > 2 * sys.getrecursionlimit()
    said = Author(1).chain(depth, step=20)
    tangle = new_tangle(pending_messages=depth)
    for message in reversed(said[1:]):
        assert tangle.attach(message, NOW).attached == []
    assert tangle.missing() == [said[0].cid]
    assert tangle.attach(said[0], NOW).attached == said
    assert tangle.heads() == (said[-1].cid,)


def test_a_deep_chain_on_a_bad_message_is_dropped_without_recursion() -> None:
    author = Author(1)
    bad = author.say(seq=3, previous=Author(2).say())
    said = author.chain(3000, start=NOW + 5000, step=20)
    tangle = new_tangle()
    offer(tangle, *reversed(said))
    tangle.refuse(bad.cid)
    assert tangle.missing() == []
    assert not tangle.is_new(bad.cid)
    assert not tangle.is_new(said[2999].cid)


def test_refusing_drops_what_waits_and_leaves_the_rest() -> None:
    tangle, author, other = new_tangle(), Author(1), Author(2)
    first, second, third = author.chain(3)
    lone_root = other.say()
    lone = other.say()
    offer(tangle, second, third, lone)
    tangle.want(first.cid)
    tangle.refuse(first.cid)
    assert tangle.missing() == [lone_root.cid]
    for message in (first, second, third):
        assert not tangle.is_new(message.cid)
    late = Author(3).say(first)
    with pytest.raises(SequenceError, match="refused"):
        tangle.attach(late, NOW + MINUTE)
    assert not tangle.is_new(late.cid)


def test_what_is_remembered_as_refused_is_bounded() -> None:
    tangle = new_tangle(refused=3)
    for number in range(5):
        tangle.refuse(some_cid(number))
    assert [tangle.is_new(some_cid(number)) for number in range(5)] == [True, True, False, False, False]


def test_what_is_asked_for_is_bounded() -> None:
    tangle = new_tangle(wanted=3)
    for number in range(5):
        tangle.want(some_cid(number))
    assert tangle.missing() == [some_cid(number) for number in range(2, 5)]


def test_what_is_here_is_not_asked_for() -> None:
    tangle, author = new_tangle(), Author(1)
    first, second, third = author.chain(3)
    tangle.want(first.cid)
    tangle.want(third.cid)
    offer(tangle, first, third)
    for message in (first, third):
        tangle.want(message.cid)
        assert not tangle.is_new(message.cid)
    assert tangle.missing() == [second.cid]


def fill(pending: Pending, messages: list[Message]) -> None:
    for message in messages:
        pending.add(message, [message.parents[0]])


def test_waiting_messages_are_bounded_and_the_oldest_stay() -> None:
    said = Author(1).chain(30)[1:]
    pending = Pending(Limits(pending_messages=10))
    fill(pending, said[::-1])
    assert [message for message in said if message.cid in pending] == said[:10]
    assert len(pending) == 10
    assert list(pending.missing()) == [said[0].parents[0]]


def test_waiting_bytes_are_bounded() -> None:
    said = Author(1).chain(30)[1:]
    size = max(len(message.data) for message in said)
    pending = Pending(Limits(pending_bytes=10 * size))
    fill(pending, said)
    assert len(pending) == 10
    assert sum(len(message.data) for message in said if message.cid in pending) <= 10 * size
    for message in said[:10]:
        pending.release(message.parents[0])
    fill(pending, said)
    assert len(pending) == 10


def test_one_author_cannot_crowd_out_another() -> None:
    pending = Pending(Limits(pending_messages=20))
    honest = Author(1).chain(6)[1:]
    fill(pending, honest)
    fill(pending, Author(2).chain(300, start=NOW - HOUR)[1:])  # older than theirs
    assert all(message.cid in pending for message in honest)
    late = Author(3).chain(4)[1:]
    fill(pending, late)
    assert all(message.cid in pending for message in late)
    assert len(pending) == 20


def test_one_author_cannot_crowd_out_another_by_size() -> None:
    pending = Pending(Limits(pending_bytes=100_000))
    honest = Author(1).chain(31)[1:]
    fill(pending, honest)
    big = {"kind": "note", "pad": b"x" * 15_000}
    flooder = Author(2)
    flooder.say()
    fill(pending, [flooder.say(body=big) for _ in range(20)])
    assert all(message.cid in pending for message in honest)


def test_the_waiting_room_lets_go_of_everything() -> None:
    author, other = Author(1), Author(2)
    first, tip = author.say(), other.say()
    both = author.say(tip)
    pending = Pending(Limits())
    pending.add(both, [first.cid, tip.cid])
    assert pending.waits_for(first.cid)
    assert pending.release(first.cid) == []
    assert pending.release(tip.cid) == [both]
    assert (len(pending), list(pending.missing()), pending.waits_for(tip.cid)) == (0, [], False)
    pending.add(both, [first.cid, tip.cid])
    assert pending.drop_descendants(tip.cid) == [both.cid]
    assert (len(pending), list(pending.missing()), pending.waits_for(first.cid)) == (0, [], False)


def test_a_message_that_waits_for_two_is_attached_after_both() -> None:
    tangle, author, other = new_tangle(), Author(1), Author(2)
    first, tip = author.say(), other.say()
    both = author.say(tip)
    assert offer(tangle, both, tip).attached == [tip]
    assert offer(tangle, first).attached == [first, both]


# -- what to say


def test_parents_are_the_own_last_message_and_two_tips_of_others() -> None:
    tangle, me = new_tangle(), Author(0)
    mine = [me.say(), me.say()]
    tips = [Author(number).say() for number in range(1, 6)]
    offer(tangle, *mine, *tips)
    chosen = {tangle.parents_for(me.author, NOW) for _ in range(50)}
    for parents in chosen:
        assert parents[0] == mine[-1].cid
        assert len(set(parents)) == 3
        assert set(parents[1:]) <= {tip.cid for tip in tips}
    assert len(chosen) > 5
    assert len(tangle.parents_for(Author(9).author, NOW)) == 2
    assert new_tangle().parents_for(me.author, NOW) == ()


def test_banned_and_old_tips_are_not_chosen() -> None:
    tangle, horizon = new_tangle(), Limits().horizon
    old = Author(1).say(time=NOW - horizon // 2 - 1)
    fresh = Author(2).say(time=NOW - horizon // 2)
    offer(tangle, old, fresh, Author(3).say(time=NOW), Author(3).say(time=NOW + 1), now=NOW)
    assert tangle.is_banned(Author(3).author)
    assert tangle.parents_for(Author(9).author, NOW) == (fresh.cid,)


def test_heads_are_bounded_and_drawn_anew() -> None:
    tangle = new_tangle(heads=4)
    tips = [Author(number).say() for number in range(10)]
    offer(tangle, *tips[:4])
    assert set(tangle.heads()) == {tip.cid for tip in tips[:4]}
    offer(tangle, *tips[4:])
    seen = set()
    for _ in range(50):
        heads = tangle.heads()
        assert len(set(heads)) == 4
        seen.update(heads)
    assert seen == {tip.cid for tip in tips}


def test_the_next_message_is_dated_by_the_clock_but_after_its_parents() -> None:
    tangle, me, other = new_tangle(interval=20), Author(1), Author(2)
    own, tip = me.say(time=NOW), other.say(time=NOW + 500)
    offer(tangle, own, tip)
    parents = tangle.parents_for(me.author, NOW)
    assert set(parents) == {own.cid, tip.cid}
    assert tangle.time_for(me.author, parents, NOW + 1000) == NOW + 1000
    assert tangle.time_for(me.author, parents, NOW - DAY) == NOW + 501
    assert tangle.time_for(me.author, (own.cid,), NOW) == NOW + 20
    assert tangle.time_for(b"nobody", (), NOW) == NOW


# -- forget


def live_history(now: int) -> tuple[list[Message], dict[str, Message]]:
    """A keyframe from before the horizon with deltas up to now, among old notes of another author."""
    cut = now - DAY
    me, other = Author(1), Author(2)
    named: dict[str, Message] = {}
    named["gone"] = me.say(time=cut - 8000, blocks=(some_cid(1),))
    named["other gone"] = other.say(time=cut - 7000)
    named["key"] = me.say(named["other gone"], time=cut - 6000, body=update_body(), blocks=(some_cid(2),))
    named["between"] = me.say(time=cut - 5000, blocks=(some_cid(3),))
    named["delta"] = me.say(time=cut - 4000, body=update_body("delta", named["key"].cid), blocks=(some_cid(4),))
    named["boundary"] = other.say(time=cut - 3000, blocks=(some_cid(5),))
    named["fresh"] = me.say(
        named["boundary"], time=cut + 1000, body=update_body("delta", named["delta"].cid), blocks=(some_cid(6),)
    )
    named["newest"] = other.say(named["fresh"], time=cut + 2000)
    return list(named.values()), named


def pruned(now: int) -> tuple[Tangle, dict[str, Message], list[Any]]:
    said, named = live_history(now)
    tangle = new_tangle()
    offer(tangle, *said, now=said[0].time)
    assert len(tangle) == len(said)
    return tangle, named, tangle.prune(now)


def test_old_history_goes_but_live_frame_chains_and_boundary_parents_stay() -> None:
    tangle, named, gone = pruned(NOW)
    left = {"gone", "other gone", "between"}
    assert {name for name, message in named.items() if message.cid not in tangle} == left
    assert set(gone) == {named[name].cid for name in left} | {some_cid(1), some_cid(3)}
    assert tangle.heads() == (named["newest"].cid,)
    assert tangle.prune(NOW) == []


def test_a_newcomer_can_attach_all_that_is_left() -> None:
    tangle, named, _ = pruned(NOW)
    kept = {message.cid: message for message in named.values() if message.cid in tangle}
    newcomer = new_tangle()
    newcomer.attach(kept[tangle.heads()[0]], NOW)
    for base in (named["delta"].cid, named["key"].cid):
        newcomer.want(base)
    while newcomer.missing():
        for cid in newcomer.missing():
            newcomer.attach(kept[cid], NOW)
    assert set(newcomer.cids()) == set(kept)


def test_what_was_pruned_can_be_had_again_by_name() -> None:
    tangle, named, _ = pruned(NOW)
    tangle.want(named["between"].cid)
    assert tangle.attach(named["between"], NOW).attached
    assert tangle.newest_of(named["newest"].author) == named["newest"].cid
    assert tangle.newest_of(named["fresh"].author) == named["fresh"].cid


def test_what_must_be_kept_is_kept() -> None:
    said = Author(1).chain(3, start=NOW - 2 * DAY)
    tangle = new_tangle()
    offer(tangle, *said, now=NOW - 2 * DAY)
    assert set(tangle.prune(NOW, keep=[said[2].cid])) == {said[0].cid, said[1].cid}
    assert tangle.newest_of(said[0].author) == said[2].cid
    assert tangle.heads() == (said[2].cid,)


def test_an_author_whose_messages_are_all_gone_is_forgotten_unless_banned() -> None:
    tangle = new_tangle()
    then = NOW - 2 * DAY
    offer(tangle, Author(1).say(time=then), Author(2).say(time=then), Author(2).say(time=then + 1), now=then)
    tangle.prune(NOW)
    assert len(tangle) == 0
    assert list(tangle.authors()) == [Author(2).author]
    assert tangle.is_banned(Author(2).author)
    with pytest.raises(BannedError):
        tangle.attach(Author(2).say(time=NOW), NOW)
    assert tangle.attach(Author(1).say(time=NOW), NOW).attached


def test_a_chain_whose_newest_messages_are_gone_ends_earlier() -> None:
    tangle, author, other = new_tangle(), Author(1), Author(2)
    boundary, dropped = author.chain(2, start=NOW - DAY - 5000)
    offer(tangle, boundary, dropped, other.say(boundary, time=NOW), now=NOW - DAY)
    offer(tangle, other.last, now=NOW)
    assert tangle.prune(NOW) == [dropped.cid]
    assert tangle.newest_of(author.author) == boundary.cid
    assert tangle.parents_for(author.author, NOW) == (boundary.cid, other.last.cid)


def test_an_update_that_is_gone_is_nobodys_newest_update() -> None:
    tangle, author = new_tangle(), Author(1)
    update = author.say(time=NOW - DAY - 5000, body=update_body())
    offer(tangle, update, author.say(time=NOW - DAY - 1000), now=NOW - DAY)
    offer(tangle, author.say(time=NOW), now=NOW)
    assert tangle.prune(NOW) == [update.cid]
    assert tangle._chains[author.author].update is None
    assert len(tangle.prune(NOW + 2 * DAY)) == 2


def test_nothing_goes_before_its_time() -> None:
    tangle = new_tangle()
    offer(tangle, Author(1).say(time=NOW - DAY), now=NOW - DAY)
    assert tangle.prune(NOW) == []
    assert len(tangle.prune(NOW + 1)) == 1


def test_a_block_that_is_still_needed_does_not_go() -> None:
    """Equal frames are one block; and anybody can list anybody's blocks in an old message."""
    tangle, me, other = new_tangle(), Author(1), Author(2)
    fresh = me.say(time=NOW, body=update_body(), blocks=(some_cid(1),))
    old = other.say(time=NOW - DAY - 1, body=update_body(), blocks=(some_cid(1), some_cid(2), fresh.cid))
    offer(tangle, old, now=NOW - DAY)
    offer(tangle, fresh, now=NOW)
    assert set(tangle.prune(NOW)) == {old.cid, some_cid(2)}


@given(st.integers(0, 10_000), st.integers(0, 40))
def test_pruning_at_any_time_leaves_what_a_newcomer_can_attach(seed: int, age: int) -> None:
    said = random_dag(seed, 4, 20)
    tangle = new_tangle()
    offer(tangle, *said)
    now = NOW + DAY + age * 1000
    tangle.prune(now)
    kept = {message.cid: message for message in said if message.cid in tangle}
    newcomer = new_tangle()
    for cid in tangle.heads():
        offer(newcomer, kept[cid], now=now)
    while newcomer.missing():
        for cid in newcomer.missing():
            newcomer.attach(kept[cid], now)
    fresh = {cid for cid, message in kept.items() if message.time >= now - DAY}
    assert fresh <= set(newcomer.cids()) <= set(kept)


def test_what_waits_for_a_forgotten_past_waits_no_longer_than_the_horizon() -> None:
    tangle, author = new_tangle(), Author(1)
    _, second, third, fourth = author.chain(4)
    offer(tangle, second, third, fourth)
    assert len(tangle) == 0
    assert tangle.give_up_waiting(fourth.time).attached == []
    outcome = tangle.give_up_waiting(second.time + tangle.limits.horizon + 1)
    assert outcome.attached == [second, third, fourth]
    assert outcome.refused == []
    assert tangle.heads() == (fourth.cid,)
    assert not tangle.missing()


def test_several_that_are_too_old_are_attached_once_each() -> None:
    tangle, author = new_tangle(), Author(1)
    chain = author.chain(5)
    offer(tangle, *chain[1:])
    outcome = tangle.give_up_waiting(chain[-1].time + tangle.limits.horizon + 1)
    assert outcome.attached == chain[1:]
    assert len(tangle) == 4


def test_names_and_headers_are_kept_once() -> None:
    tangle, author = new_tangle(), Author(1)
    swarm, first = author.swarm, author.say(body=update_body())
    second = author.say(body=update_body("delta", first.cid))
    third = author.say(body=update_body("delta", second.cid))
    again = [open_message(message.data, swarm, Limits()) for message in (first, second, third)]
    offer(tangle, *again)
    nodes = [tangle.node(message.cid) for message in (first, second, third)]
    assert nodes[1].parents[0] is nodes[0].cid is nodes[1].base
    assert nodes[1].header is nodes[2].header
    assert nodes[2].author is nodes[0].author
    assert [node.frame for node in nodes] == [m.body.frame for m in again]


def test_invented_headers_do_not_pile_up() -> None:
    tangle, author = new_tangle(), Author(1)
    offer(tangle, *(author.say(body=update_body(count=count)) for count in range(1, 40)))
    assert len(tangle) == 39
    assert len(tangle._headers) <= 16
