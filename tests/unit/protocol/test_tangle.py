"""Attaching, waiting, asking and forgetting. Equivocation: test_equivocation.py; all at once: test_convergence.py."""

import random
import sys

import pytest
from builders import NOW, Author, new_tangle, offer, random_dag, some_cid, some_frame, update_body
from hypothesis import given
from hypothesis import strategies as st

from learnae.errors import FutureError, LimitError, ReplayError, SequenceError, StaleError
from learnae.ipld.cid import Cid
from learnae.protocol import tangle as tangle_module
from learnae.protocol.announcements import PREFIX_BYTES, Entry
from learnae.protocol.chain import LEAST_GRACE
from learnae.protocol.limits import HOUR, MINUTE, Limits
from learnae.protocol.messages import Message, open_message
from learnae.protocol.tangle import Node, Tangle

DAY = 24 * HOUR
GRACE = Limits().grace


def forget_old(tangle: Tangle, now: int = NOW, uptime: int = 0) -> set[Cid]:
    """Let a grace pass, beginning at ``uptime``, and return the names of blocks that may go."""
    return {*tangle.forget(now, uptime), *tangle.forget(now, uptime + tangle.limits.grace)}


def entry_of(message: Message, checkpoint: Message | None = None) -> Entry:
    return Entry(message.author[:PREFIX_BYTES], message.seq, message.cid, (checkpoint or message).cid)


# -- attach


@given(st.integers(0, 10_000), st.integers(1, 5), st.integers(1, 25), st.randoms(use_true_random=False))
def test_any_order_of_arrival_gives_the_same_tangle(seed: int, authors: int, count: int, rng: random.Random) -> None:
    said = random_dag(seed, authors, count)
    tangle = new_tangle()
    outcome = offer(tangle, *rng.sample(said, len(said)))
    assert not outcome.refused
    assert {message.cid for message in outcome.attached} == {message.cid for message in said} == set(tangle.cids())
    assert list(tangle.missing()) == list(tangle.waiting()) == []
    assert {author: tangle.newest_of(author) for author in tangle.authors()} == {m.author: m.cid for m in said}


def test_links_to_others_are_hints_and_nothing_waits_for_them() -> None:
    tangle, message = new_tangle(), Author(1).say(Author(2).say(time=NOW + HOUR), time=NOW)
    assert tangle.attach(message, NOW).attached == [message]
    assert not list(tangle.missing())


def test_a_checkpoint_is_attached_without_its_past() -> None:
    tangle, author = new_tangle(), Author(1)
    author.chain(7)
    checkpoint = author.say(checkpoint=True)
    child = author.say()
    assert offer(tangle, checkpoint, child).attached == [checkpoint, child]
    assert not list(tangle.missing())
    assert tangle.previous_of(checkpoint.cid) is None
    assert tangle.previous_of(child.cid) == checkpoint.cid


def test_a_gap_waits_and_is_asked_for_and_what_comes_fills_it() -> None:
    tangle, author = new_tangle(), Author(1)
    first, second, third, fourth = author.chain(4)
    assert offer(tangle, first, fourth, third).attached == [first]
    assert {message.cid for message in tangle.waiting()} == {third.cid, fourth.cid}
    assert tangle.waiting_of(author.author) == fourth
    assert list(tangle.missing()) == [second.cid]
    assert tangle.attach(second, NOW).attached == [second, third, fourth]
    assert tangle.waiting_of(author.author) is None


def test_a_chain_that_reaches_no_checkpoint_is_never_attached() -> None:
    tangle, author = new_tangle(), Author(1)
    root, *rest = author.chain(20)
    offer(tangle, *rest[::-1])
    for uptime in range(0, DAY, HOUR):
        tangle.forget(NOW + uptime, uptime)
    assert len(tangle) == 0
    assert list(tangle.missing()) == [root.cid]


def test_a_later_checkpoint_ends_the_search_for_what_came_before() -> None:
    tangle, author = new_tangle(), Author(1)
    chain = author.chain(5)
    checkpoint, child = author.say(checkpoint=True), author.say()
    offer(tangle, chain[0], *chain[2:], checkpoint, child)
    assert set(tangle.cids()) == {chain[0].cid, checkpoint.cid, child.cid}
    assert not list(tangle.missing())
    assert not list(tangle.waiting())
    assert tangle.waiting_of(author.author) == chain[-1]  # it may still come in, within the grace
    assert tangle.attach(chain[1], NOW).attached == chain[1:]
    assert tangle.newest_of(author.author) == child.cid


def test_what_is_remembered_of_a_message() -> None:
    tangle, author = new_tangle(), Author(1)
    first = author.say(blocks=(some_frame(1),))
    second = author.say(body=update_body("delta", first.cid))
    offer(tangle, first, second)
    node = tangle.node(second.cid)
    assert (node.author, node.seq, node.time, node.parents) == (author.author, 1, second.time, (first.cid,))
    assert node.frame == second.body.frame
    assert (tangle.node(first.cid).blocks, tangle.node(first.cid).frame) == ((some_frame(1),), None)
    assert tangle.node(some_cid(9)) is tangle.newest_of(b"nobody") is tangle.previous_of(some_cid(9)) is None


def test_headers_and_authors_are_kept_once() -> None:
    tangle, author = new_tangle(), Author(1)
    first = author.say(body=update_body())
    second = author.say(body=update_body("delta", first.cid))
    third = author.say(body=update_body("delta", second.cid))
    again = [open_message(message.data, author.swarm, Limits()) for message in (first, second, third)]
    offer(tangle, *again)
    nodes = [tangle.node(message.cid) for message in again]
    assert nodes[1].header is nodes[2].header
    assert nodes[2].author is nodes[0].author
    assert [node.frame for node in nodes] == [message.body.frame for message in again]


def test_tangles_of_one_process_share_what_they_remember_of_a_message() -> None:
    nodes: dict[Cid, Node] = {}
    one, other = (Tangle(Limits(), random.Random(1), nodes=nodes) for _ in range(2))
    message = Author(1).say()
    for tangle in (one, other):
        offer(tangle, message)
    assert one.node(message.cid) is other.node(message.cid)
    assert list(nodes) == [message.cid]
    assert new_tangle().node(message.cid) is None


def test_what_is_announced_of_an_author_follows_what_is_attached_and_forgotten() -> None:
    tangle, author = new_tangle(), Author(1)
    first, second, third = author.say(), author.say(), author.say(checkpoint=True)
    for newest, root in ((first, first), (second, first), (third, third)):
        offer(tangle, newest)
        assert tangle.entry_of(author.author) == entry_of(newest, root)
    assert first.cid in forget_old(tangle)
    assert tangle.entry_of(author.author) == entry_of(third)


def test_invented_headers_do_not_pile_up() -> None:
    tangle, author = new_tangle(), Author(1)
    offer(tangle, *(author.say(body=update_body(count=count)) for count in range(1, 40)))
    assert len(tangle) == 39
    assert len(tangle._headers) <= 16


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


def test_a_wrong_seq_or_anothers_message_continues_no_chain_in_either_order() -> None:
    for bad, parent in (_jump(), _graft()):
        tangle = new_tangle()
        offer(tangle, parent)
        with pytest.raises(SequenceError, match="does not continue"):
            tangle.attach(bad, NOW + HOUR)
        tangle = new_tangle()
        outcome = offer(tangle, bad, parent)  # it waited for the message of an author that nothing was known of
        assert outcome.attached == [parent]
        assert [type(error) for error in outcome.refused] == [SequenceError]
        assert not tangle.is_new(bad.cid)


def _jump() -> tuple[Message, Message]:
    author = Author(1)
    parent = author.say()
    return author.say(seq=3), parent


def _graft() -> tuple[Message, Message]:
    parent = Author(2).say()
    return Author(1).say(previous=parent, seq=1), parent


def test_what_stands_on_a_refused_message_is_refused() -> None:
    tangle, author = new_tangle(), Author(1)
    first, second, third, fourth = author.chain(4)
    offer(tangle, first, third)
    tangle.refuse(second.cid)
    assert list(tangle.missing()) == list(tangle.waiting()) == []
    with pytest.raises(SequenceError, match="refused"):
        tangle.attach(third, NOW)
    with pytest.raises(SequenceError, match="refused"):
        tangle.attach(fourth, NOW)
    assert not tangle.is_new(third.cid)
    checkpoint = author.say(checkpoint=True)
    assert tangle.attach(checkpoint, NOW).attached == [checkpoint]


def test_a_deep_chain_waits_is_attached_and_is_dropped_without_recursion() -> None:
    depth = 2 * sys.getrecursionlimit() + 100
    author = Author(1)
    said = author.chain(depth, step=20)
    tangle = new_tangle(pending_messages=depth, since=depth)
    offer(tangle, *reversed(said[1:]))
    assert list(tangle.missing()) == [said[0].cid]
    assert tangle.attach(said[0], NOW).attached == said
    tangle = new_tangle(pending_messages=depth, since=depth)
    offer(tangle, *reversed(said[1:]))
    tangle.refuse(said[0].cid)
    assert list(tangle.missing()) == []


def test_what_is_remembered_as_refused_is_bounded() -> None:
    tangle = new_tangle(refused=3)
    for number in range(5):
        tangle.refuse(some_cid(number))
    assert [tangle.is_new(some_cid(number)) for number in range(5)] == [True, True, False, False, False]


# -- rate and length


def test_the_rate_holds_across_a_gap() -> None:
    limits, author = Limits(), Author(1)
    first = author.say()
    author.chain(5, start=NOW + 1)
    hasty = author.say(time=NOW + limits.interval - 1, checkpoint=True)
    author.last = None
    slow = author.say(previous=first, seq=9, time=NOW + limits.interval, checkpoint=True)
    tangle = new_tangle()
    offer(tangle, first)
    with pytest.raises(LimitError, match="speaks every 19 ms"):
        tangle.attach(hasty, NOW)
    assert tangle.attach(slow, NOW).attached == [slow]
    back = author.say(previous=slow, seq=20, time=slow.time - limits.interval + 1, checkpoint=True)
    with pytest.raises(LimitError, match="speaks every -19 ms"):
        tangle.attach(back, NOW)
    branch = author.say(previous=slow, seq=20, time=NOW - HOUR, checkpoint=True)
    assert tangle.attach(branch, NOW).attached == [branch], "the fork that it may belong to is to be seen"


def test_so_many_messages_may_follow_a_checkpoint_and_no_more() -> None:
    tangle, author = new_tangle(since=3), Author(1)
    chain = author.chain(5)
    assert offer(tangle, *chain[:4]).attached == chain[:4]
    with pytest.raises(LimitError, match="3 messages without a checkpoint"):
        tangle.attach(chain[4], NOW)
    checkpoint = author.say(checkpoint=True)
    after = author.chain(4, start=checkpoint.time + 1000)
    outcome = offer(tangle, checkpoint, *after)
    assert outcome.attached == [checkpoint, *after[:3]]
    assert [type(error) for error in outcome.refused] == [LimitError]


def test_the_length_is_counted_from_the_checkpoint_before_whatever_has_come_since() -> None:
    tangle, author = new_tangle(since=2), Author(1)
    chain = author.chain(4)
    checkpoint = author.say(checkpoint=True)
    outcome = offer(tangle, checkpoint, *chain)
    assert outcome.attached == [checkpoint, *chain[:3]]


# -- what to ask for


def test_of_an_entry_the_checkpoint_and_the_head_are_asked_for_once() -> None:
    tangle, author = new_tangle(), Author(1)
    checkpoint, middle, head = author.chain(3)
    entry = entry_of(head, checkpoint)
    assert tangle.wanted_of(entry) == [checkpoint.cid, head.cid]
    offer(tangle, checkpoint)
    assert tangle.wanted_of(entry) == [head.cid]
    offer(tangle, head)
    assert tangle.wanted_of(entry) == []
    assert list(tangle.missing()) == [middle.cid]
    assert tangle.wanted_of(entry_of(checkpoint)) == []
    assert tangle.wanted_of(Entry(author.author[:PREFIX_BYTES], 9, some_cid(1), None)) == [some_cid(1)]


def test_what_is_older_than_the_newest_checkpoint_is_not_asked_for() -> None:
    tangle, author = new_tangle(), Author(1)
    old = author.chain(3)
    checkpoint = author.say(checkpoint=True)
    offer(tangle, checkpoint)
    assert tangle.wanted_of(entry_of(old[2], old[0])) == []


def test_a_second_message_of_one_seq_is_asked_for() -> None:
    tangle, author = new_tangle(), Author(1)
    root = author.say()
    one, other = author.fork()
    offer(tangle, root, one, author.say(previous=one, checkpoint=True))
    assert tangle.wanted_of(entry_of(other, root)) == [other.cid]


def test_keys_with_one_beginning_harm_neither(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tangle_module, "PREFIX_BYTES", 0)  # all keys begin alike
    tangle, long, short = new_tangle(), Author(1), Author(2)
    said = long.chain(8)
    checkpoint = long.say(checkpoint=True)
    offer(tangle, *said, checkpoint, short.say())
    forget_old(tangle)
    news = short.say()
    wanted = tangle.wanted_of(Entry(b"", news.seq, news.cid, None))
    assert wanted == [news.cid]  # though the other's checkpoint is far ahead
    offer(tangle, news)
    assert tangle.wanted_of(Entry(b"", news.seq, news.cid, None)) == []
    assert dict(tangle.entries()) == {
        author: Entry(b"", message.seq, message.cid, root)
        for author, message, root in (
            (long.author, checkpoint, checkpoint.cid),
            (short.author, news, tangle._chains[short.author].checkpoint),
        )
    }
    offer(tangle, Author(3).say(time=NOW + 3 * DAY), now=NOW + 3 * DAY)
    tangle.forget(NOW + 3 * DAY, 0)
    assert set(tangle.authors()) == {Author(3).author}
    assert tangle.wanted_of(Entry(b"", 0, some_cid(1), None)) == [some_cid(1)]


def test_a_ban_is_of_one_key_however_it_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tangle_module, "PREFIX_BYTES", 0)
    tangle, liar, honest = new_tangle(), Author(1), Author(2)
    offer(tangle, liar.say(), *liar.fork(), honest.say())
    assert tangle.is_banned(liar.author)
    assert tangle.wanted_of(Entry(b"", 1, some_cid(1), honest.last.cid)) == [some_cid(1)]


# -- what to say


def test_an_entry_names_the_newest_message_and_the_checkpoint_that_it_stands_on() -> None:
    tangle, author, other = new_tangle(), Author(1), Author(2)
    author.chain(2)
    checkpoint = author.say(checkpoint=True)
    head = author.say()
    offer(tangle, head, checkpoint, other.say())
    assert dict(tangle.entries()) == {
        author.author: entry_of(head, checkpoint),
        other.author: entry_of(other.last),
    }


def test_hints_are_fresh_messages_of_others_drawn_anew() -> None:
    tangle, me = new_tangle(), Author(0)
    heads = [Author(number).say() for number in range(1, 6)]
    offer(tangle, me.say(), *heads)
    chosen = {tangle.hints_for(me.author, NOW) for _ in range(50)}
    assert all(len(set(hints)) == 2 and set(hints) <= {head.cid for head in heads} for hints in chosen)
    assert len(chosen) > 5
    assert new_tangle().hints_for(me.author, NOW) == ()


def test_old_and_early_and_banned_messages_are_no_hints() -> None:
    tangle, limits = new_tangle(), Limits()
    old = Author(1).say(time=NOW - limits.horizon // 2 - 1)
    fresh = Author(2).say(time=NOW - limits.horizon // 2)
    early = Author(3).say(time=NOW + limits.skew // 2 + 1)
    offer(tangle, old, fresh, early, Author(4).say(), Author(4).say(time=NOW + 1), now=NOW)
    assert tangle.is_banned(Author(4).author)
    assert tangle.hints_for(Author(9).author, NOW) == (fresh.cid,)


# -- forget


def replaced() -> tuple[Author, list[Message], Message, Message]:
    """Return an author, what it said before its checkpoint, the checkpoint, and one after it."""
    author = Author(1)
    old = [author.say(blocks=(some_frame(number),)) for number in range(3)]
    return author, old, author.say(checkpoint=True, blocks=(some_frame(3),)), author.say(blocks=(some_frame(4),))


def test_a_grace_after_a_checkpoint_came_what_it_replaces_goes() -> None:
    author, old, checkpoint, head = replaced()
    tangle = new_tangle()
    offer(tangle, *old, checkpoint, head)
    assert tangle.forget(NOW, 5000) == []
    assert tangle.forget(NOW, 5000 + LEAST_GRACE - 1) == []
    gone = tangle.forget(NOW, 5000 + LEAST_GRACE)
    assert set(gone) == {message.cid for message in old} | {some_frame(number) for number in range(3)}
    assert set(tangle.cids()) == {checkpoint.cid, head.cid}
    assert tangle.newest_of(author.author) == head.cid
    assert tangle.forget(NOW, 5000 + 9 * GRACE) == []


@pytest.mark.parametrize(("pace", "grace"), [(1000, LEAST_GRACE), (9000, 18_000), (HOUR, GRACE)])
def test_the_grace_follows_the_pace_of_an_author(pace: int, grace: int) -> None:
    author, tangle = Author(1), new_tangle()
    first, second = author.say(), author.say(checkpoint=True)
    offer(tangle, first)
    tangle.forget(NOW, 0)
    offer(tangle, second)
    tangle.forget(NOW, pace)
    tangle.forget(NOW, pace + grace - 1)
    assert first.cid in tangle
    tangle.forget(NOW, pace + grace)
    assert set(tangle.cids()) == {second.cid}


def test_the_grace_is_of_the_own_uptime_whatever_dates_and_clocks_say() -> None:
    _, old, checkpoint, _ = replaced()
    tangle = new_tangle()
    offer(tangle, *old, checkpoint)
    for days in (-400, 0, 400):
        tangle.forget(NOW + days * DAY, 0)
    assert len(tangle) == 4
    tangle.forget(NOW - 400 * DAY, GRACE)
    assert set(tangle.cids()) == {checkpoint.cid}


def test_what_a_checkpoint_has_replaced_is_dropped_unread() -> None:
    author, old, checkpoint, head = replaced()
    tangle = new_tangle()
    offer(tangle, *old, checkpoint, head)
    assert not tangle.is_forgotten(author.author, 2)
    forget_old(tangle)
    assert [tangle.is_forgotten(author.author, seq) for seq in (0, 2, 3, 4)] == [True, True, False, False]
    assert not tangle.is_forgotten(b"nobody", 0)
    for message in old:
        with pytest.raises(StaleError, match="older than its author's checkpoint"):
            tangle.attach(message, NOW)
    assert len(tangle) == 2


def test_what_waits_below_the_checkpoint_goes_with_the_rest() -> None:
    _, old, checkpoint, _ = replaced()
    tangle = new_tangle()
    offer(tangle, old[2], checkpoint)
    assert tangle.waiting_of(checkpoint.author) == old[2]
    assert forget_old(tangle) == {old[2].cid, some_frame(2)}
    assert tangle.waiting_of(checkpoint.author) is None


def test_equal_frames_are_one_block_and_go_with_the_last_message_that_uses_them() -> None:
    tangle, me, other = new_tangle(), Author(1), Author(2)
    for author in (me, other):
        author.say(blocks=(some_frame(1), some_frame(2)))
    offer(tangle, me.last, other.last)
    offer(tangle, me.say(checkpoint=True, blocks=(some_frame(2),)))
    assert forget_old(tangle) == {tangle.node(me.last.cid).parents[0]}
    offer(tangle, other.say(checkpoint=True))
    assert forget_old(tangle, uptime=DAY) == {other.last.previous, some_frame(1)}


def test_a_block_that_is_used_again_before_it_was_deleted_stays() -> None:
    tangle, author = new_tangle(), Author(1)
    first = author.say(blocks=(some_frame(1),))
    offer(tangle, first, author.say(checkpoint=True))
    tangle.forget(NOW, 0)
    tangle._clear(tangle._chains[author.author])
    offer(tangle, Author(2).say(blocks=(some_frame(1),)))
    assert some_frame(1) not in forget_old(tangle)


def test_only_frames_are_an_authors_to_give_away() -> None:
    """A message may list the names of the manifest, and of others' messages, as its blocks."""
    tangle, liar, other = new_tangle(), Author(1), Author(2)
    live = other.say()
    waiting = other.say(previous=other.say())
    false = liar.say(blocks=(liar.swarm, live.cid, waiting.cid, some_frame(1)))
    offer(tangle, live, waiting, false, liar.say(checkpoint=True))
    assert forget_old(tangle) == {false.cid, some_frame(1)}


def test_what_was_refused_leaves_no_blocks_behind() -> None:
    author = Author(1)
    parent = author.say()
    bad = author.say(seq=3, blocks=(some_frame(1),))
    child = author.say(blocks=(some_frame(2),))
    for order in ((parent, child, bad), (bad, child, parent), (child, bad, parent)):
        tangle = new_tangle()
        offer(tangle, *order)
        assert forget_old(tangle) == {bad.cid, child.cid, some_frame(1), some_frame(2)}


def test_an_author_silent_for_a_horizon_while_others_spoke_is_forgotten() -> None:
    tangle, silent, other = new_tangle(), Author(1), Author(2)
    offer(tangle, silent.say(time=NOW, blocks=(some_frame(1),)), now=NOW)
    offer(tangle, other.say(time=NOW + DAY), now=NOW + DAY)
    assert tangle.forget(NOW + DAY, 0) == []
    offer(tangle, other.say(time=NOW + DAY + 20), now=NOW + DAY + 20)
    assert set(tangle.forget(NOW + DAY + 20, 0)) == {silent.last.cid, some_frame(1)}
    assert list(tangle.authors()) == [other.author]
    with pytest.raises(StaleError, match="older than the horizon"):
        tangle.attach(silent.last, NOW + DAY + 20)
    back = silent.say(time=NOW + DAY + 20, checkpoint=True)
    assert tangle.attach(back, NOW + DAY + 20).attached == [back]


def test_nobody_is_forgotten_in_a_swarm_that_is_silent_as_a_whole() -> None:
    tangle, said = new_tangle(), [Author(number).say(time=NOW + number) for number in range(4)]
    offer(tangle, *said, now=NOW)
    assert tangle.forget(NOW + 400 * DAY, 400 * DAY) == []
    assert len(tangle) == 4
    late = new_tangle()
    assert offer(late, *said, now=NOW + 400 * DAY).attached == said


def test_a_clock_that_is_wrong_forgets_nobody() -> None:
    tangle, other = new_tangle(), Author(2)
    offer(tangle, Author(1).say(time=NOW), other.say(time=NOW + 4 * MINUTE), now=NOW)
    tangle.forget(NOW + 400 * DAY, 0)
    offer(tangle, other.say(time=NOW + 2 * DAY, checkpoint=True), now=NOW + 2 * DAY)
    tangle.forget(NOW + HOUR, 0)  # the clock was set back
    assert set(tangle.authors()) == {Author(1).author, Author(2).author}


def test_a_peer_forgets_not_itself() -> None:
    me, other = Author(1), Author(2)
    tangle = new_tangle(me=me.author)
    offer(tangle, other.say(time=NOW), now=NOW)
    offer(tangle, me.say(time=NOW - 3 * DAY), now=NOW)
    tangle.forget(NOW, 0)
    assert me.last.cid in tangle


def test_what_is_as_old_as_the_horizon_is_still_taken() -> None:
    tangle = new_tangle()
    offer(tangle, Author(1).say(time=NOW), now=NOW)
    assert tangle.attach(Author(2).say(time=NOW - DAY), NOW).attached
    with pytest.raises(StaleError):
        tangle.attach(Author(3).say(time=NOW - DAY - 1), NOW)


# -- members that were removed


def test_nothing_of_an_expelled_author_stays_and_it_can_come_back() -> None:
    tangle, removed, other, frame = new_tangle(), Author(1), Author(2), some_frame(1)
    first, *chain = [removed.say(blocks=(frame,), body=update_body()), *removed.chain(2, NOW + 1000)]
    waiting = removed.say(previous=removed.say())
    accused = Author(3).fork()
    kept = removed.accuse(*accused, previous=chain[-1])
    said = other.chain(2)
    offer(tangle, first, *chain, waiting, kept, *said)
    tangle.restrict(lambda author: author != removed.author)
    assert list(tangle.authors()) == [other.author]
    assert (list(tangle.waiting()), list(tangle.kept()), list(tangle.missing())) == ([], [], [])
    gone = tangle.forget(NOW, 0)
    assert {first.cid, *(message.cid for message in chain), waiting.cid, kept.cid, frame} == set(gone)
    assert [message.seq for message in offer(tangle, first, *chain).attached] == [0, 1, 2]


# -- what one key, and many keys, can make others hold


def test_checkpoints_without_end_forget_their_own_past_at_once() -> None:
    tangle, author, hint = new_tangle(checkpoints=4, live=100), Author(1), Author(2).say()
    said = [author.say(hint, seq=seq, checkpoint=True, time=NOW + seq * 20) for seq in range(1, 30)]
    assert len(offer(tangle, *said).attached) == 29
    assert [node.seq for node in map(tangle.node, tangle.cids()) if node] == [26, 27, 28, 29]
    assert {message.cid for message in said[:-4]} <= set(tangle.forget(NOW, 0)), "their blocks go"


def test_checkpoints_with_falling_numbers_do_not_get_around_the_rate() -> None:
    tangle, author, hint = new_tangle(checkpoints=4), Author(1), Author(2).say()
    said = [author.say(hint, seq=seq, checkpoint=True, time=NOW) for seq in range(30, 1, -1)]
    offer(tangle, *said)
    assert len(tangle) <= 4


def test_messages_between_checkpoints_are_bounded() -> None:
    tangle, author = new_tangle(live=20, since=15), Author(1)
    for _ in range(4):
        offer(tangle, author.say(checkpoint=True), *(author.say() for _ in range(12)))
        assert len(tangle) <= 26
    assert tangle.newest_of(author.author) == author.last.cid if author.last else None


def test_keys_without_end_take_the_place_of_new_keys() -> None:
    me, old, silent = Author(0), Author(1), Author(2)
    tangle = new_tangle(me=me.author, authors=10)
    offer(tangle, me.say(), old.say(), silent.say())
    tangle.uptime = 60_000
    offer(tangle, *(Author(number).say() for number in range(10, 60)), now=NOW + 1000)
    known = set(tangle.authors())
    assert len(known) == 10
    assert {me.author, old.author, silent.author, Author(59).author} < known
    assert tangle.knows(old.author)
    assert not tangle.knows(Author(59).author)


def test_dates_ahead_move_the_own_clock_by_an_eighth_of_the_skew_at_most() -> None:
    tangle, skew = new_tangle(), Limits().skew
    near, far = Author(1).say(time=NOW + skew // 8), Author(2).say(time=NOW + skew // 8 + 1)
    offer(tangle, near, far)
    assert tangle.hints_for(Author(3).author, NOW) == (near.cid,)


def test_blocks_of_what_was_displaced_go_at_once() -> None:
    tangle = new_tangle(pending_messages=2)
    said = [Author(number).chain(2)[1] for number in range(1, 6)]
    offer(tangle, *said)
    gone = tangle.let_go()
    assert len(gone) == 3
    assert tangle.let_go() == []
    assert not tangle.needed() & set(gone)
