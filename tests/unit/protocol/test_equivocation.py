"""Two messages with one seq: convicted where it shows, excused once where it is declared, never by false evidence."""

import itertools

import pytest
from builders import NOW, Author, new_tangle, offer, some_cid, some_frame

from learnae.errors import BannedError, MessageError
from learnae.ipld.cid import Cid
from learnae.protocol.announcements import PREFIX_BYTES, Entry
from learnae.protocol.bodies import Evidence
from learnae.protocol.limits import HOUR, Limits
from learnae.protocol.messages import Message
from learnae.protocol.tangle import Tangle

DAY = 24 * HOUR
GRACE = Limits().grace


def let_a_grace_pass(tangle: Tangle, uptime: int = 0) -> set[Cid]:
    return {*tangle.forget(NOW, uptime), *tangle.forget(NOW, uptime + GRACE)}


def proofs(tangle: Tangle, author: bytes) -> list[frozenset[Cid]]:
    return [frozenset(evidence.names) for evidence in tangle._chains[author].conflicts.values()]


# -- seen


def test_two_messages_with_one_seq_ban_in_any_order_and_nothing_of_the_author_stays() -> None:
    author = Author(1)
    root = author.say()
    one, other = author.fork()
    child = author.say()
    for order in itertools.permutations((root, one, other, child)):
        tangle = new_tangle()
        outcome = offer(tangle, *order)
        assert [frozenset(evidence.names) for evidence in outcome.equivocations] == [{one.cid, other.cid}]
        assert tangle.is_banned(author.author)
        assert len(tangle) == 0
        assert list(tangle.entries()) == []
        assert tangle.newest_of(author.author) is None


def test_two_checkpoints_with_one_seq_ban() -> None:
    author, tangle = Author(1), new_tangle()
    author.say()
    one, other = (author.say(seq=7, time=NOW + minutes * 60_000, checkpoint=True) for minutes in (1, 2))
    assert offer(tangle, one, other).equivocations == [Evidence(author.author, one.cid, other.cid)]
    assert tangle.is_banned(author.author)


def test_forks_between_checkpoints_ban_while_both_are_live() -> None:
    author, tangle = Author(1), new_tangle()
    root = author.say()
    one, other = author.fork()
    checkpoint = author.say(previous=one, checkpoint=True)
    offer(tangle, root, one, checkpoint)
    assert offer(tangle, other).equivocations
    assert tangle.is_banned(author.author)
    assert len(tangle) == 0


def test_a_fork_that_was_replaced_before_it_was_seen_is_forgotten() -> None:
    author, tangle = Author(1), new_tangle()
    root = author.say()
    one, other = author.fork()
    checkpoint = author.say(previous=one, checkpoint=True)
    offer(tangle, root, one, checkpoint)
    let_a_grace_pass(tangle)
    outcome = offer(tangle, other)
    assert not outcome.equivocations
    assert not tangle.is_banned(author.author)


def test_a_ban_outlasts_the_horizon_and_its_proof_stays_on_the_disk() -> None:
    author, tangle = Author(1), new_tangle()
    root = author.say(blocks=(some_frame(1),))
    one, other = author.fork()
    third = author.say(previous=root, seq=1, time=NOW + HOUR, blocks=(some_frame(2),))
    offer(tangle, root, one, other, third)
    assert let_a_grace_pass(tangle) == {root.cid, some_frame(1)}  # that third one waits for what came before it
    offer(tangle, Author(2).say(time=NOW + 3 * DAY), now=NOW + 3 * DAY)
    assert tangle.forget(NOW + 3 * DAY, 3 * DAY) == []
    assert tangle.is_banned(author.author)
    with pytest.raises(BannedError):
        tangle.attach(author.say(time=NOW + 3 * DAY, checkpoint=True), NOW + 3 * DAY)
    assert not {one.cid, other.cid} & set(tangle.forget(NOW + 9 * DAY, 9 * DAY))


def test_a_third_message_of_one_seq_is_no_proof_and_goes() -> None:
    author, tangle = Author(1), new_tangle()
    root = author.say()
    one, other = author.fork()
    third = author.say(previous=root, seq=1, time=NOW + HOUR, blocks=(some_frame(1),))
    offer(tangle, root, author.say(previous=one, checkpoint=True, forked=2), one, other)
    assert not offer(tangle, third).equivocations
    assert {third.cid, some_frame(1)} <= let_a_grace_pass(tangle)
    assert proofs(tangle, author.author) == [{one.cid, other.cid}]


def test_only_a_checkpoint_of_a_banned_author_is_asked_for() -> None:
    author, tangle = Author(1), new_tangle()
    offer(tangle, author.say(), *author.fork())
    entry = Entry(author.author[:PREFIX_BYTES], 9, some_cid(1), some_cid(2))
    assert tangle.wanted_of(entry) == [some_cid(2)]
    tangle.refuse(some_cid(2))
    assert tangle.wanted_of(entry) == []


def test_what_a_banned_author_says_is_not_waited_for_until_it_is_excused() -> None:
    author, tangle = Author(1), new_tangle()
    offer(tangle, author.say(), *author.fork())
    declaration = author.say(time=NOW + HOUR, checkpoint=True, forked=2)
    middle, head = author.say(), author.say()
    offer(tangle, head)
    assert list(tangle.missing()) == list(tangle.waiting()) == []
    offer(tangle, declaration)
    assert list(tangle.missing()) == [middle.cid]
    assert offer(tangle, middle).attached == [middle, head]


# -- heard of, through evidence


def case(checkpointed: bool = False) -> tuple[Author, Message, Message, Message, Message | None]:
    """Return a liar, both its messages with one seq, evidence of another author, and the liar's later checkpoint."""
    liar, reporter = Author(1), Author(2)
    liar.say()
    one, other = liar.fork()
    reporter.say()
    evidence = reporter.accuse(one, other)
    return liar, one, other, evidence, liar.say(checkpoint=True) if checkpointed else None


@pytest.mark.parametrize("checkpointed", [False, True])
def test_a_newcomer_asks_for_both_witnesses_and_judges_for_itself(checkpointed: bool) -> None:
    liar, one, other, evidence, checkpoint = case(checkpointed)
    things = [evidence, one, other, *([checkpoint] if checkpoint else [])]
    for order in itertools.permutations(things):
        tangle = new_tangle()
        heard = offer(tangle, *order).equivocations
        assert heard == [Evidence(liar.author, one.cid, other.cid)]
        assert tangle.is_banned(liar.author)
        assert len(tangle) == 0
        assert list(tangle.kept()) == [evidence.cid]
        assert not {one.cid, other.cid} & set(tangle.missing())


def test_witnesses_older_than_a_checkpoint_are_asked_for_and_heard() -> None:
    liar, one, other, evidence, checkpoint = case(checkpointed=True)
    assert checkpoint
    tangle = new_tangle()
    offer(tangle, checkpoint)
    let_a_grace_pass(tangle)
    offer(tangle, evidence)
    assert set(tangle.missing()) >= {one.cid, other.cid}
    assert tangle.is_witness(one.cid)
    assert tangle.is_witness(other.cid)
    assert not offer(tangle, one).equivocations
    assert one.cid not in let_a_grace_pass(tangle)
    offer(tangle, Author(3).accuse(one, other))  # what was heard counts, whoever asked
    assert one.cid not in set(tangle.missing())
    assert offer(tangle, other).equivocations
    assert tangle.is_banned(liar.author)
    assert not tangle.is_witness(one.cid)
    assert not {one.cid, other.cid, evidence.cid} & let_a_grace_pass(tangle, uptime=DAY)
    assert not tangle.lacks_kept(evidence.cid)


def test_a_witness_that_waits_for_its_past_is_heard_where_it_waits() -> None:
    liar, one, other, evidence, _ = case()
    tangle = new_tangle()
    offer(tangle, one, evidence)
    assert one.cid not in set(tangle.missing())
    assert offer(tangle, other).equivocations
    assert tangle.is_banned(liar.author)


def test_what_breaks_its_chain_testifies_all_the_same() -> None:
    liar, reporter, tangle = Author(1), Author(2), new_tangle()
    root = liar.say()
    one, other = (liar.say(previous=root, seq=5, time=NOW + 1000 * number) for number in (1, 2))
    offer(tangle, root)
    assert offer(tangle, reporter.accuse(one, other), one, other).equivocations
    assert tangle.is_banned(liar.author)


def test_evidence_is_kept_wherever_it_stands_in_its_authors_chain() -> None:
    _, _, _, evidence, _ = case()
    tangle = new_tangle()
    outcome = tangle.attach(evidence, NOW)  # the reporter's first message is not here
    assert outcome.attached == [evidence]
    assert evidence.cid not in tangle
    assert not tangle.lacks_kept(evidence.cid)
    late = new_tangle()
    reporter = Author(2)
    reporter.last = evidence
    offer(late, reporter.say(time=NOW + 3 * DAY, checkpoint=True), now=NOW + 3 * DAY)
    assert offer(late, evidence, now=NOW + 3 * DAY).attached == [evidence]
    assert list(late.kept()) == [evidence.cid]


def false_cases() -> dict[str, tuple[Message, Message, bytes]]:
    author, other = Author(1), Author(3)
    first, second = author.chain(2)
    theirs = other.say()
    return {
        "other seqs": (first, second, author.author),
        "other authors": (first, theirs, author.author),
        "not the one accused": (*other.fork(), Author(4).author),
    }


@pytest.mark.parametrize("name", false_cases())
def test_false_evidence_convicts_nobody_and_is_not_kept(name: str) -> None:
    one, other, accused = false_cases()[name]
    evidence = Author(2).accuse(one, other, accused)
    for order in itertools.permutations((evidence, one, other)):
        tangle = new_tangle()
        assert not offer(tangle, *order).equivocations
        assert not any(map(tangle.is_banned, tangle.authors()))
        assert list(tangle.kept()) == []
        assert not tangle.lacks_kept(evidence.cid)  # and is not asked for again
        assert not tangle.is_witness(one.cid)
        assert accused != Author(1).author or one.cid in tangle


def test_witnesses_of_false_evidence_go_after_it_was_judged() -> None:
    author, tangle = Author(1), new_tangle()
    old = author.chain(2)
    offer(tangle, author.say(checkpoint=True))
    let_a_grace_pass(tangle)
    offer(tangle, Author(2).accuse(*old), old[0])
    assert let_a_grace_pass(tangle) == set()
    offer(tangle, old[1])
    assert let_a_grace_pass(tangle) == {message.cid for message in old}


def test_evidence_of_what_is_no_message_ends_when_that_is_known() -> None:
    evidence = Author(2).say(body=Evidence(Author(1).author, some_cid(1), some_cid(2)).to_fields())
    tangle = new_tangle()
    offer(tangle, evidence)
    assert list(tangle.missing()) == [some_cid(1), some_cid(2)]
    tangle.refuse(some_cid(2))
    assert list(tangle.missing()) == list(tangle.kept()) == []
    assert not tangle.is_witness(some_cid(1))


def test_evidence_names_two_messages() -> None:
    message = Author(1).say()
    with pytest.raises(MessageError, match="another message than the first"):
        Author(2).accuse(message, message)


def test_at_most_so_much_evidence_of_an_author_is_kept_and_all_of_it_is_bounded() -> None:
    tangle, reporter = new_tangle(evidence=3, wanted=4), Author(2)
    said = [
        reporter.say(body=Evidence(Author(1).author, some_cid(number), some_cid(number + 1)).to_fields())
        for number in range(10)
    ]
    offer(tangle, *said)
    assert list(tangle.kept()) == [message.cid for message in said[:3]]
    assert len(tangle) == 10
    for number in range(10, 20):
        invented = Evidence(Author(1).author, some_cid(2 * number), some_cid(2 * number + 1))
        offer(tangle, Author(number).say(body=invented.to_fields()))
    assert len(list(tangle.missing())) == 2 * 4
    assert let_a_grace_pass(tangle) == set()
    offer(tangle, reporter.say(checkpoint=True))
    assert let_a_grace_pass(tangle, uptime=DAY) == {message.cid for message in said[3:]}


def test_what_is_announced_as_kept_and_is_no_evidence_is_not_asked_for_again() -> None:
    tangle, author = new_tangle(), Author(1)
    first, second, third = author.chain(3)
    assert tangle.lacks_kept(first.cid)
    offer(tangle, first, third)
    assert [tangle.lacks_kept(message.cid) for message in (first, second, third)] == [False, True, False]


# -- declared


def forked(declared_after: int = HOUR) -> tuple[Author, list[Message], Message]:
    """Return an author whose backup was restored, all that it said before it knew, and the checkpoint that says so."""
    author = Author(1)
    said = author.chain(3)
    author.last = said[0]
    again = [author.say(time=NOW + 60_000 + 1000 * number) for number in range(2)]
    declaration = author.say(previous=said[-1], time=NOW + declared_after, checkpoint=True, forked=3)
    return author, [*said, *again], declaration


def test_a_declared_fork_is_excused_in_any_order() -> None:
    author, said, declaration = forked()
    child = author.say()
    for order in itertools.permutations(range(7)):
        if order[0] > 2:  # enough: 2160 orders
            continue
        everything = [*said, declaration, child]
        tangle = new_tangle()
        offer(tangle, *(everything[index] for index in order))
        assert not tangle.is_banned(author.author)
        assert dict(tangle.entries())[author.author].head == child.cid
        let_a_grace_pass(tangle)
        assert set(tangle.cids()) == {declaration.cid, child.cid}


def test_a_declaration_is_known_from_every_later_checkpoint() -> None:
    author, said, _ = forked()
    later = author.say(checkpoint=True)
    assert later.forked == 3
    tangle = new_tangle()
    offer(tangle, *said)
    assert tangle.is_banned(author.author)
    assert tangle.attach(later, NOW + HOUR).attached == [later]
    assert not tangle.is_banned(author.author)
    assert tangle.forked(author.author) == 3


def test_evidence_of_a_declared_fork_bans_not() -> None:
    author, said, declaration = forked()
    evidence = Author(2).accuse(said[1], said[3])
    for order in itertools.permutations((declaration, evidence, said[1], said[3])):
        tangle = new_tangle()
        assert offer(tangle, *order).equivocations == [Evidence(author.author, said[1].cid, said[3].cid)]
        assert not tangle.is_banned(author.author)


def test_a_message_without_a_checkpoint_declares_nothing() -> None:
    author, said, _ = forked()
    tangle = new_tangle()
    author.last, author.forked = said[-1], 0
    offer(tangle, *said, author.say(forked=3))
    assert tangle.is_banned(author.author)


def test_a_declaration_excuses_only_what_is_below_it() -> None:
    author, said, declaration = forked()
    tangle = new_tangle()
    offer(tangle, *said, declaration)
    one, other = author.fork(seq=4)
    offer(tangle, one, other)
    assert tangle.is_banned(author.author)


@pytest.mark.parametrize(("apart", "banned"), [(DAY - 1, True), (DAY, False)])
def test_one_fork_in_a_horizon_is_excused(apart: int, banned: bool) -> None:
    author, said, declaration = forked()
    tangle = new_tangle()
    offer(tangle, *said, declaration)
    one, other = author.fork(seq=4)
    author.last = other
    offer(tangle, one, other)
    assert tangle.may_declare(author.author, declaration.time + apart) is not banned
    again = author.say(time=declaration.time + apart, checkpoint=True, forked=5)
    outcome = offer(tangle, again, now=again.time)
    assert tangle.is_banned(author.author) is banned
    assert [type(error) for error in outcome.refused] == [BannedError] * banned
    assert tangle.forked(author.author) == (3 if banned else 5)


def test_the_earliest_word_of_a_declaration_counts() -> None:
    author, _, declaration = forked()
    later = author.say(time=declaration.time + DAY // 2, checkpoint=True)
    for order in ((declaration, later), (later, declaration)):
        tangle = new_tangle()
        offer(tangle, *order, now=later.time)
        assert tangle.may_declare(author.author, declaration.time + DAY)
        assert not tangle.may_declare(author.author, declaration.time + DAY - 1)
    assert new_tangle().may_declare(author.author, NOW)
    assert new_tangle().forked(author.author) == 0


def test_excused_forks_hide_no_later_one() -> None:
    author, tangle = Author(1), new_tangle(evidence=4)
    root = author.say()
    said = [root]
    for number in range(2):
        author.last = root
        said += [author.say(time=NOW + 1000 * step + number) for step in range(1, 7)]
    declaration = author.say(time=NOW + HOUR, checkpoint=True, forked=7)
    offer(tangle, declaration, root)
    gone = set[Cid]()
    for one, other in zip(said[1:7], said[7:], strict=True):
        offer(tangle, Author(2 + one.seq).accuse(one, other), one, other)
        gone.update(tangle.forget(NOW, 0))
    assert proofs(tangle, author.author) == [{said[seq].cid, said[seq + 6].cid} for seq in (3, 4, 5, 6)]
    gone |= let_a_grace_pass(tangle)
    assert gone == {said[seq].cid for seq in (0, 1, 2, 7, 8)}
    assert not tangle.is_banned(author.author)
    offer(tangle, *author.fork(seq=8))
    assert tangle.is_banned(author.author)
    assert len(proofs(tangle, author.author)) == 4


def test_a_message_declares_only_what_is_below_itself() -> None:
    author = Author(1)
    author.say()
    with pytest.raises(MessageError, match="forked"):
        author.say(checkpoint=True, forked=2)
    author.forked = 0
    assert author.say(checkpoint=True, forked=1).forked == 1


# -- who has to say so


def unreported(tangle: Tangle) -> list[bytes]:
    return [evidence.author for evidence in tangle.unreported()]


def banned() -> tuple[Tangle, Author, tuple[Message, Message]]:
    liar, tangle = Author(1), new_tangle()
    root, fork = liar.say(), liar.fork()
    offer(tangle, root, fork[0])
    assert unreported(tangle) == []
    offer(tangle, fork[1])
    return tangle, liar, fork


@pytest.mark.parametrize("swapped", [False, True])
def test_a_banned_author_is_reported_until_true_evidence_is_kept_and_anew_if_its_reporter_goes(swapped: bool) -> None:
    tangle, liar, fork = banned()
    assert unreported(tangle) == [liar.author]
    offer(tangle, Author(5).say(body=Evidence(liar.author, some_cid(1), some_cid(2)).to_fields()))
    assert unreported(tangle) == [liar.author], "what cannot be judged proves nothing"
    offer(tangle, Author(2).accuse(*(reversed(fork) if swapped else fork)), *fork)
    assert unreported(tangle) == []
    tangle.restrict(lambda author: author != Author(2).author)
    assert unreported(tangle) == [liar.author]


def test_an_excused_author_need_not_be_reported() -> None:
    tangle, liar, _ = banned()
    offer(tangle, liar.say(checkpoint=True, forked=9, seq=9))
    assert not tangle.is_banned(liar.author)
    assert unreported(tangle) == []
