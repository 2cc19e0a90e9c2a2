import random
from typing import Any

import numpy as np
import pytest
from builders import COUNT, NOW, Author, new_tangle, offer, some_cid, update_body
from hypothesis import given, settings
from hypothesis import strategies as st

from learnae.adapters.composite.metered import MeteredStore
from learnae.basics.error_log import ErrorLog
from learnae.ipld.cid import RAW, Cid
from learnae.peer.following import Following
from learnae.ports import Traffic
from learnae.protocol.limits import Limits
from learnae.protocol.messages import Message
from learnae.simulation.in_memory import MemoryBlockStore
from learnae.simulation.network import Network, VirtualClock, Weather
from learnae.weights.codecs import NAMES, Vector
from learnae.weights.frames import FramePolicy, encode_frame

ME = Author(0).author
HALF_LIFE = 10_000
EXACT = FramePolicy("f32", "f32", 32)


class Side:
    """A Following with its tangle and store, and authors that publish into them."""

    def __init__(self, most: int = 8, **options: int) -> None:
        self.network = Network(VirtualClock(NOW), random.Random(0), Weather())
        self.errors, self.traffic = ErrorLog(), Traffic()
        self.store = MeteredStore(MemoryBlockStore(self.network.host()), self.traffic)
        self.tangle = new_tangle()
        self.following = Following(
            self.tangle, self.store, self.errors, random.Random(1), ME, COUNT, most, HALF_LIFE, **options
        )

    def note(self, *messages: Message) -> None:
        for message in offer(self.tangle, *messages).attached:
            self.following.note(message)

    def advance(self, now: int = NOW) -> list[Any]:
        return self.following.advance(now)

    def vector_of(self, author: Author) -> list[float]:
        return self.following.replicas[author.author].vector.tolist()


class Publisher(Author):
    """An author of frames; ``publish`` returns the message and its blocks."""

    def __init__(self, number: int, policy: FramePolicy = EXACT) -> None:
        super().__init__(number)
        self.policy = policy
        self.replica: Vector | None = None
        self.base: Cid | None = None

    def publish(self, value: float | Vector, key: bool = False, time: int | None = None) -> tuple[Message, list[bytes]]:
        base = None if key else self.base
        frame = encode_frame(np.full(COUNT, value, np.float32), self.replica, base, self.policy)
        links = tuple(Cid.of(RAW, block) for block in frame.blocks)
        body = update_body(frame=frame.header.to_fields())
        message = self.say(body=body, blocks=links, time=time, checkpoint=key)
        self.replica, self.base = frame.replica, message.cid
        return message, frame.blocks


def one_followed(*others: int, most: int = 1) -> list[Any]:
    """A side that follows author 1, that author, and ``others`` by number."""
    side, followed = Side(most), Publisher(1)
    published(side, followed, 1.0)
    side.advance()
    return [side, followed, *map(Publisher, others)]


def keep(side: Side, blocks: list[bytes]) -> None:
    for block in blocks:
        side.store.put(RAW, block)


def published(side: Side, author: Publisher, *values: float, **options: Any) -> list[Message]:
    """Publish and hold one update a value."""
    messages = []
    for value in values:
        message, blocks = author.publish(value, **options)
        keep(side, blocks)
        messages.append(message)
    side.note(*messages)
    return messages


def test_a_chain_of_frames_becomes_a_replica() -> None:
    side, author = Side(), Publisher(1)
    messages = published(side, author, 1.0, 3.0, 7.0)
    (replica,) = side.advance()
    assert (replica.cid, replica.vector.tolist()) == (messages[-1].cid, [7.0] * COUNT)
    assert (replica.samples, replica.time) == (10, messages[-1].time)
    assert side.traffic.bytes_in == 3 * 4 * COUNT
    assert side.advance() == []
    published(side, author, 5.0)
    assert len(side.advance()) == 1
    assert side.vector_of(author) == [5.0] * COUNT
    assert side.traffic.bytes_in == 4 * 4 * COUNT


@settings(max_examples=25)
@given(st.sampled_from(NAMES[2:]), st.data())
def test_frames_lost_doubled_and_out_of_order_never_leave_a_wrong_replica(codec: str, data: st.DataObject) -> None:
    side, author, said, held = Side(), Publisher(1, FramePolicy("q8", codec)), [], {}
    for number in range(8):
        weights = np.random.default_rng(number).normal(size=COUNT).astype(np.float32)
        said.append(author.publish(weights, key=number in (0, 5)))
        assert author.replica is not None
        held[said[-1][0].cid] = author.replica.tobytes()
    for number in [*data.draw(st.lists(st.integers(0, 7), max_size=12)), *range(8)]:
        message, blocks = said[number]
        side.note(message)
        if data.draw(st.booleans()) or number == 7:
            keep(side, blocks)
        side.advance()
        for replica in side.following.replicas.values():
            assert replica.vector.tobytes() == held[replica.cid]
    for _, blocks in said:
        keep(side, blocks)
    side.advance()
    assert side.following.replicas[author.author].cid == said[-1][0].cid


def test_the_newest_update_counts_whatever_the_order_of_arrival() -> None:
    side, author = Side(), Publisher(1)
    messages = published(side, author, 1.0, 2.0)
    side.following.note(messages[0])
    assert side.following.news[author.author].cid == messages[1].cid


def test_own_updates_are_not_followed() -> None:
    side = Side()
    published(side, Publisher(0), 1.0)
    assert side.advance() == []
    assert ME in side.following.news


def test_absent_blocks_are_waited_for() -> None:
    side, author = one_followed(most=8)
    message, blocks = author.publish(5.0)
    side.note(message)
    assert side.advance() == []
    assert side.vector_of(author) == [1.0] * COUNT
    assert dict(side.errors.counts) == {}
    keep(side, blocks)
    assert len(side.advance()) == 1
    assert side.vector_of(author) == [5.0] * COUNT


def test_absent_blocks_are_fetched_from_others() -> None:
    side, author = Side(), Publisher(1)
    message, blocks = author.publish(5.0)
    other = side.network.host()
    for block in blocks:
        other.blocks[Cid.of(RAW, block)] = block
    side.note(message)
    assert side.advance() == []
    side.network.run_until(NOW + 1000)
    assert len(side.advance()) == 1


def test_blocks_of_another_model_are_not_even_asked_for() -> None:
    side, author = Side(), Publisher(1)
    side.note(author.say(body=update_body(count=COUNT + 1), blocks=(some_cid(1),)))
    side.advance()
    assert dict(side.errors.counts) == {"BrokenFrameError": 1}


def test_what_is_remembered_as_broken_is_bounded() -> None:
    side = Side(max_broken=1)
    for number in (1, 2):
        side.note(bad_update(side, Publisher(number), {"base": "join"}))
    side.advance()
    side.advance()
    assert side.errors.counts["FrameError"] > 2


def test_a_chain_whose_keyframe_is_absent_is_decoded_when_that_comes() -> None:
    side, author = Side(), Publisher(1)
    message, blocks = author.publish(1.0)
    delta, more = author.publish(3.0)
    keep(side, more)
    side.note(message, delta)
    assert side.advance() == []
    assert side.following.lacking() == 1
    keep(side, blocks)
    assert len(side.advance()) == 1
    assert side.vector_of(author) == [3.0] * COUNT
    assert side.following.lacking() == 0


def test_where_the_newest_keyframe_is_always_on_its_way_the_one_before_is_decoded() -> None:
    side, author = Side(), Publisher(1)
    came = list[list[bytes]]()
    for number in range(6):
        message, blocks = author.publish(float(number + 1), key=True)
        side.note(message)
        came.append(blocks)
        if number >= 2:
            keep(side, came[number - 2])
        side.advance(message.time)
    assert side.vector_of(author) == [4.0] * COUNT
    assert side.following.replicas[author.author].time == message.time - 2000
    assert side.advance(message.time) == []
    keep(side, came[5])
    assert len(side.advance(message.time)) == 1
    assert side.vector_of(author) == [6.0] * COUNT, "the newest, as soon as it is here"
    keep(side, came[4])
    assert side.advance(message.time) == []


def test_a_keyframe_of_another_author_is_not_taken_for_an_older_one() -> None:
    side, author, victim = Side(), Publisher(1), Publisher(2)
    (theirs,) = published(side, victim, 7.0, key=True)
    message, _ = author.publish(1.0, key=True)
    liar = author.say(previous=theirs, seq=1, body=message.body.to_fields(), blocks=(some_cid(1),), checkpoint=True)
    side.note(liar)
    side.advance(liar.time)
    assert author.author not in side.following.replicas


def test_a_delta_whose_base_was_forgotten_waits_for_the_next_keyframe() -> None:
    side, author = Side(), Publisher(1)
    published(side, author, 1.0)
    author.say(checkpoint=True)  # such as a summary, which no frame stands on
    side.note(author.last)
    for uptime in (0, side.tangle.limits.grace):
        side.tangle.forget(NOW, uptime)
    published(side, author, 2.0)
    assert side.advance(author.last.time) == []
    published(side, author, 3.0, key=True)
    assert len(side.advance(author.last.time)) == 1
    assert dict(side.errors.counts) == {}


def test_what_can_never_be_decoded_is_not_lacking() -> None:
    side, author = Side(), Publisher(1)
    side.note(author.say(body=update_body(count=COUNT + 1), blocks=(some_cid(1),)))
    side.advance()
    assert side.following.lacking() == 0


def test_a_keyframe_needs_nothing_before_it() -> None:
    side, author = Side(), Publisher(1)
    lost, _ = author.publish(1.0)
    side.note(lost)
    assert side.advance() == []
    published(side, author, 3.0, key=True)
    assert len(side.advance()) == 1
    assert side.vector_of(author) == [3.0] * COUNT


BAD = {
    "NaN": {"data": np.full(COUNT, np.nan, "<f4").tobytes()},
    "infinite": {"data": np.full(COUNT, np.inf, "<f4").tobytes()},
    "short block": {"data": b"\x00" * 11},
    "wrong count": {"count": COUNT + 1},
    "huge count": {"count": 2**50},
    "no block": {"blocks": ()},
    "too many blocks": {"blocks": (some_cid(1), some_cid(2))},
}
DOUBTFUL = {
    "too large": {"data": np.full(COUNT, 1e6, "<f4").tobytes()},
    "base without a frame": {"base": "join"},
}


def bad_update(side: Side, author: Publisher, case: dict[str, Any]) -> Message:
    data = case.get("data", bytes(4 * COUNT))
    side.store.put(RAW, data)
    base = author.base
    if case.get("base") == "join":
        note = author.say()
        side.note(note)
        base = note.cid
    body = update_body("delta", base, case.get("count", COUNT))
    return author.say(body=body, blocks=case.get("blocks", (Cid.of(RAW, data),)))


@pytest.mark.parametrize("name", BAD)
def test_who_signs_what_no_peer_can_decode_is_followed_no_more(name: str) -> None:
    side, author, other = one_followed(2, most=8)
    bad = bad_update(side, author, BAD[name])
    side.note(bad)
    published(side, other, 7.0)
    for _ in range(3):
        side.advance()
    published(side, author, 3.0, key=True)
    side.advance()
    assert list(side.following.replicas) == [other.author]
    assert list(side.following.offences) == [author.author]
    assert bad.cid.short in side.following.offences[author.author]
    assert dict(side.errors.counts) == {"BrokenFrameError": 1}


def test_a_frame_on_anothers_broken_one_is_not_blamed_on_who_stands_on_it() -> None:
    side, author, other = one_followed(2, most=8)
    bad = bad_update(side, author, BAD["wrong count"])
    side.note(bad)
    other.base = bad.cid
    published(side, other, 7.0)
    side.advance()
    assert list(side.following.offences) == [author.author]


@pytest.mark.parametrize("name", DOUBTFUL)
def test_a_bad_frame_is_counted_once_and_healed_by_a_keyframe(name: str) -> None:
    side, author, other = one_followed(2, most=8)
    bad = bad_update(side, author, DOUBTFUL[name])
    side.note(bad)
    published(side, other, 7.0)
    for _ in range(3):
        side.advance()
    assert dict(side.errors.counts) == {"FrameError": 1}
    assert side.vector_of(author) == [1.0] * COUNT
    assert side.vector_of(other) == [7.0] * COUNT

    author.base = bad.cid
    published(side, author, 2.0)  # a delta on the bad frame is as bad
    assert side.advance() == []
    assert side.vector_of(author) == [1.0] * COUNT
    published(side, author, 3.0, key=True)
    assert len(side.advance()) == 1
    assert side.vector_of(author) == [3.0] * COUNT
    assert dict(side.errors.counts) == {"FrameError": 1}


def test_a_chain_longer_than_any_swarm_allows_is_not_decoded() -> None:
    side, author = Side(), Publisher(1)
    side.tangle.limits = Limits(since=1100)
    messages = published(side, author, *(float(value) for value in range(1025)))
    assert side.advance(messages[-1].time) == []
    assert dict(side.errors.counts) == {"FrameError": 1}
    published(side, author, 1.0, key=True)
    assert len(side.advance(messages[-1].time)) == 1


def test_who_has_not_published_lately_is_not_live() -> None:
    side, old, new = Side(), Publisher(1), Publisher(2)
    published(side, old, 1.0, time=NOW)
    assert side.following.live(NOW + 100 * HALF_LIFE) == [old.author]  # a swarm that pauses does not fade
    published(side, new, 1.0, time=NOW + 10 * HALF_LIFE)
    assert set(side.following.live(NOW + 10 * HALF_LIFE)) == {old.author, new.author}
    published(side, new, 2.0, time=NOW + 11 * HALF_LIFE)
    assert side.following.live(NOW + 11 * HALF_LIFE) == [new.author]
    side.advance(NOW + 11 * HALF_LIFE)
    assert list(side.following.replicas) == [new.author]


def test_who_has_settled_stays_live_however_old_its_update_is() -> None:
    side, settled, new = Side(), Publisher(1), Publisher(2)
    side.note(settled.say(body=update_body(settled=True), blocks=(Cid.of(RAW, bytes(4 * COUNT)),), checkpoint=True))
    side.store.put(RAW, bytes(4 * COUNT))
    published(side, new, 1.0, time=NOW + 100 * HALF_LIFE)
    assert set(side.following.live(NOW + 100 * HALF_LIFE)) == {settled.author, new.author}
    side.advance(NOW + 100 * HALF_LIFE)
    assert set(side.following.replicas) == {settled.author, new.author}
    assert side.following.replicas[settled.author].settled
    assert not side.following.replicas[new.author].settled


def test_a_clock_ahead_does_not_make_the_others_dead() -> None:
    side, one, ahead = Side(), Publisher(1), Publisher(2)
    published(side, one, 1.0, time=NOW)
    published(side, ahead, 1.0, time=NOW + 20 * HALF_LIFE)
    assert set(side.following.live(NOW)) == {one.author, ahead.author}


def test_a_banned_author_is_not_followed_any_more() -> None:
    side, author = one_followed(most=8)
    assert author.author in side.following.replicas
    published(side, Publisher(1), 2.0, time=NOW + 1)
    assert side.tangle.is_banned(author.author)
    assert side.advance() == []
    assert side.following.replicas == {}


def test_followed_peers_are_bounded_and_redrawn_among_the_live() -> None:
    most, authors = 3, [Publisher(number) for number in range(1, 8)]
    side = Side(most)
    for author in authors:
        published(side, author, 1.0)
    seen: set[bytes] = set()
    for now in range(NOW, NOW + 20 * HALF_LIFE, HALF_LIFE // 2):
        before = set(side.following.replicas)
        side.advance(now)
        after = set(side.following.replicas)
        assert len(after) == most
        assert len(before - after) <= 1
        seen |= after
    assert seen == {author.author for author in authors}
    redraws = side.following.redraws
    for _ in range(5):
        side.advance(NOW + 20 * HALF_LIFE)
    assert side.following.redraws <= redraws + 1


def test_those_who_can_all_be_followed_are_kept() -> None:
    side = Side(most=3)
    for number in range(1, 4):
        published(side, Publisher(number), 1.0)
    for now in range(NOW, NOW + 9 * HALF_LIFE, HALF_LIFE):
        side.advance(now)
    assert (len(side.following.replicas), side.following.redraws) == (3, 0)


def test_who_is_long_gone_is_forgotten() -> None:
    side, later = Side(), NOW + 2 * Limits().horizon
    for number in range(1, 6):
        published(side, Publisher(number), 1.0)
    latest = Publisher(9)
    message, blocks = latest.publish(1.0, time=later)
    keep(side, blocks)
    side.tangle.attach(message, later)
    side.following.note(message)
    side.tangle.forget(later, 0)
    side.advance(later)
    assert set(side.following.news) == {latest.author}


def test_who_has_news_hands_its_place_to_a_fresh_keyframe_once_that_is_here() -> None:
    side, leaving, coming = one_followed(2)
    message, blocks = coming.publish(7.0, time=NOW + 900)
    side.note(message)
    side.advance()
    assert set(side.following.replicas) == {leaving.author}  # no news: no frame is due
    published(side, leaving, 2.0)
    assert side.advance() == []
    assert side.vector_of(leaving) == [1.0] * COUNT  # its delta is not fetched any more, its replica still votes
    keep(side, blocks)
    (replica,) = side.advance()
    assert replica.cid == message.cid
    assert set(side.following.replicas) == {coming.author}
    assert side.following.redraws == 1
    assert side.traffic.bytes_in == 2 * 4 * COUNT


def test_no_place_is_handed_over_for_a_delta_or_for_older_news() -> None:
    side, followed, old, delta = Side(most=1), Publisher(1), Publisher(2), Publisher(3)
    published(side, followed, 1.0, time=NOW + 10)
    side.advance()
    published(side, old, 7.0, time=NOW)
    published(side, delta, 7.0, 8.0)
    published(side, followed, 2.0)
    assert len(side.advance()) == 1
    assert side.vector_of(followed) == [2.0] * COUNT


def with_a_successor(number: int) -> tuple[Side, Publisher, Publisher, list[bytes]]:
    """The only place is handed over when the blocks that are returned, too, are here."""
    side, followed, coming = one_followed(number)
    message, blocks = coming.publish(7.0, time=NOW + 900)
    side.note(message)
    published(side, followed, 2.0)
    assert side.advance() == []
    return side, followed, coming, blocks


def test_a_successor_whose_frame_does_not_come_is_given_up() -> None:
    side, followed, lost, _ = with_a_successor(2)
    message, _ = lost.publish(8.0)
    side.note(message)
    assert len(side.advance()) == 1
    assert side.vector_of(followed) == [2.0] * COUNT


def test_a_banned_successor_is_given_up() -> None:
    side, followed, banned, blocks = with_a_successor(2)
    side.note(Publisher(2).say(time=NOW + 901))
    assert side.tangle.is_banned(banned.author)
    keep(side, blocks)
    assert len(side.advance()) == 1
    assert set(side.following.replicas) == {followed.author}


def test_successors_are_as_many_as_places() -> None:
    side = Side(most=2)
    old, new = [Publisher(number) for number in (1, 2)], [Publisher(number) for number in (3, 4, 5)]
    for author in old:
        published(side, author, 1.0)
    side.advance()
    for author in new:
        published(side, author, 3.0, time=NOW + 900)
    for author in old:
        published(side, author, 2.0)
    assert len(side.advance()) == 2
    assert set(side.following.replicas) <= {author.author for author in new}
    assert len(side.following.replicas) == 2


def test_nobody_takes_two_places() -> None:
    side, old, new = Side(most=2), [Publisher(number) for number in (1, 2)], Publisher(3)
    for author in old:
        published(side, author, 1.0)
    side.advance()
    message, blocks = new.publish(3.0, time=NOW + 900)
    side.note(message)
    for author in old:
        published(side, author, 2.0)
    assert len(side.advance()) == 1  # the other place goes on as it was
    keep(side, blocks)
    assert len(side.advance()) == 1
    assert len(side.following.replicas) == 2
    assert new.author in side.following.replicas


# -- keys that cost nothing


def test_keys_younger_than_a_half_life_share_one_place() -> None:
    side = Side()
    honest = [Publisher(number) for number in range(1, 9)]
    for author in honest:
        published(side, author, 1.0)
    side.advance(NOW)
    assert len(side.following.followed()) == 8
    strangers = {Publisher(number).author for number in range(100, 150)}
    later = NOW + HALF_LIFE
    for number in range(100, 150):
        side.note(Publisher(number).publish(1.0, time=later)[0])
    for step in range(20):
        side.advance(later + step * HALF_LIFE // 25)
        assert len(strangers & set(side.following.followed())) <= 1


def test_new_keys_take_the_places_that_no_older_one_can_take() -> None:
    side = Side(most=4)
    published(side, old := Publisher(1), 1.0)
    side.advance(NOW)
    later = NOW + HALF_LIFE
    for number in range(100, 150):
        side.note(Publisher(number).publish(1.0, time=later)[0])
    side.advance(later)
    assert old.author in side.following.followed()
    assert len(side.following.followed()) == 4
    for number in range(2, 5):
        side.following._since[Publisher(number).author] = 0
        published(side, Publisher(number), 1.0)
    side.advance(later)
    assert {Publisher(number).author for number in range(1, 4)} <= set(side.following.followed())
