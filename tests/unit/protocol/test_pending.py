"""What waits is bounded, and no author displaces another."""

from builders import NOTE, NOW, Author

from learnae.protocol.limits import HOUR, Limits
from learnae.protocol.messages import Message
from learnae.protocol.pending import Pending


def fill(pending: Pending, messages: list[Message]) -> list[Message]:
    return [dropped for message in messages for dropped in pending.add(message, message.parents[0])]


def test_waiting_messages_are_bounded_and_the_oldest_stay() -> None:
    said = Author(1).chain(30)[1:]
    pending = Pending(Limits(pending_messages=10))
    assert set(fill(pending, said[::-1])) == set(said[10:])
    assert [message for message in said if message.cid in pending] == said[:10]
    assert (len(pending), list(pending.messages())[::-1]) == (10, said[:10])
    assert list(pending.missing()) == [(said[0].parents[0], said[0])]
    assert pending.newest_of(Author(1).author) == said[9]


def test_waiting_bytes_are_bounded() -> None:
    said = Author(1).chain(30)[1:]
    size = max(len(message.data) for message in said)
    pending = Pending(Limits(pending_bytes=10 * size))
    for _ in range(2):  # again, once all have gone: what is counted is counted off
        assert fill(pending, said) == said[10:]
        for message in said[:10]:
            assert pending.release(message.parents[0]) == [message]
        assert len(pending) == 0


def test_the_last_place_is_taken_and_no_more() -> None:
    said = Author(1).chain(4)[1:]
    pending = Pending(Limits(pending_messages=2, pending_bytes=sum(len(message.data) for message in said[:2])))
    assert fill(pending, said[:2]) == []
    assert fill(pending, said[2:]) == [said[2]]  # the newest makes room


def test_one_author_cannot_crowd_out_another() -> None:
    pending = Pending(Limits(pending_messages=20))
    honest = Author(1).chain(6)[1:]
    fill(pending, honest)
    fill(pending, Author(2).chain(300, start=NOW - HOUR)[1:])  # older than theirs
    late = Author(3).chain(4)[1:]
    fill(pending, late)
    assert all(message.cid in pending for message in [*honest, *late])
    assert len(pending) == 20


def test_one_author_cannot_crowd_out_another_by_size() -> None:
    pending = Pending(Limits(pending_bytes=100_000))
    honest, flooder = Author(1).chain(31)[1:], Author(2)
    fill(pending, honest)
    flooder.say()
    fill(pending, [flooder.say(body={**NOTE, "pad": b"x" * 15_000}) for _ in range(20)])
    assert all(message.cid in pending for message in honest)


def test_what_strangers_bring_takes_no_place_of_what_known_ones_bring() -> None:
    pending, honest = Pending(Limits(pending_messages=20)), Author(1).chain(16)[1:]
    for message in honest:
        assert pending.add(message, message.parents[0], "friend") == []
    strangers = [Author(number).chain(2)[1] for number in range(2, 60)]
    for number, message in enumerate(strangers):
        pending.add(message, message.parents[0], f"stranger {number}", is_known=False)
    assert len(pending) == 20
    assert all(message.cid in pending for message in honest)


def test_whoever_brings_many_makes_room_for_others() -> None:
    pending, crowd = Pending(Limits(pending_messages=20)), [Author(number).chain(2)[1] for number in range(2, 60)]
    for message in crowd:
        pending.add(message, message.parents[0], "stranger", is_known=False)
    late = Author(1).chain(6)[1:]
    for message in late:
        pending.add(message, message.parents[0], "newcomer", is_known=False)
    assert all(message.cid in pending for message in late)
    for message in pending.messages():
        assert pending.bringer_of(message.cid) in ("stranger", "newcomer")


def test_it_lets_go_of_everything() -> None:
    author = Author(1)
    first, second, third = author.chain(3)
    pending = Pending(Limits())
    fill(pending, [second, third])
    assert list(pending.missing()) == [(first.cid, second)]
    assert (pending.get(second.cid), pending.get(first.cid)) == (second, None)
    assert pending.release(third.cid) == []
    assert set(pending.drop_descendants(first.cid)) == {second, third}
    assert (len(pending), list(pending.missing()), pending.newest_of(author.author)) == (0, [], None)
    fill(pending, [second, third])
    assert pending.drop_below(author.author, 2) == [second]
    assert pending.drop_below(b"nobody", 9) == []
    assert list(pending.missing()) == [(second.cid, third)]
    assert pending.release(second.cid) == [third]
    assert not pending._children
    assert not pending._by_author
