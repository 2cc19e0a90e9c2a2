"""What the exchange over MQTT says and reads, and what strangers may put there."""

import contextlib
import random

import pytest
from builders import Author, some_cid
from hypothesis import given
from hypothesis import strategies as st

from learnae.adapters.local.block_store import LocalBlockStore
from learnae.adapters.mqtt.blocks.wire_format import (
    Block,
    Want,
    cone_of,
    links_of,
    pack,
    parse_links,
    reachable,
    unpack,
)
from learnae.adapters.mqtt.gossip import parse_heads
from learnae.adapters.token_bucket import TokenBucket
from learnae.bounded_dict import BoundedDict
from learnae.errors import BlockMissingError, EncodingError, LimitError
from learnae.ipld import dagcbor
from learnae.ipld.cid import DAG_CBOR, MAX_BLOCK_BYTES, RAW, Cid
from learnae.protocol.limits import Limits


@given(st.lists(st.binary(max_size=50), min_size=1, max_size=8))
def test_blocks_survive_an_answer(blocks):
    assert unpack(pack(blocks), 8) == blocks


@given(st.binary(max_size=200))
def test_any_bytes_are_blocks_or_an_error(payload):
    with contextlib.suppress(EncodingError):
        assert pack(unpack(payload, 8)) == payload


@pytest.mark.parametrize(
    "payload",
    [b"", b"\x00", b"\x00\x00\x00\x05abcd", pack([b"a"]) + b"\x00", (MAX_BLOCK_BYTES + 1).to_bytes(4), pack([b""] * 9)],
)
def test_answers_that_are_none(payload):
    with pytest.raises(EncodingError):
        unpack(payload, 8)


def test_a_want_says_what_and_how_much_past():
    want = Want((some_cid(1), some_cid(2)), 16)
    assert Want.from_bytes(want.to_bytes()) == want
    assert Want.from_bytes(dagcbor.encode({"want": [some_cid(1)], "later": 1})) == Want((some_cid(1),), 1)


@pytest.mark.parametrize(
    "value",
    [
        [],
        {"want": 1},
        {"want": [some_cid(1)] * 2},
        {"want": [some_cid(n) for n in range(65)]},
        {"want": [], "cone": 0},
        {"want": [], "cone": 257},
    ],
)
def test_wants_that_are_none(value):
    with pytest.raises(EncodingError):
        Want.from_bytes(dagcbor.encode(value))


def test_claims_and_heads_are_bounded_lists_of_links():
    cids = [some_cid(n) for n in range(70)]
    assert parse_links(dagcbor.encode(cids[:64])) == tuple(cids[:64])
    assert parse_heads("alice", dagcbor.encode(cids)) == cids[: Limits().heads]
    assert parse_heads("alice", b"") == ()
    for data in (dagcbor.encode(cids), dagcbor.encode(1), b"\xff"):
        with pytest.raises(EncodingError):
            parse_links(data)
    for peer, data in (("alice", dagcbor.encode({"a": 1})), ("alice", bytes(9000)), ("alice", dagcbor.encode([1]))):
        with pytest.raises(EncodingError):
            parse_heads(peer, data)
    with pytest.raises(LimitError):
        parse_heads("x" * 65, b"")


def test_links_of_what_is_no_message():
    for data in (b"", b"\xff", dagcbor.encode({}), dagcbor.encode([1]), random.Random(1).randbytes(300)):
        assert links_of(data).parents == ()
    message = Author(1).say(blocks=(some_cid(1),))
    assert links_of(message.data).blocks == (some_cid(1),)
    assert links_of(message.data).author == message.author


@pytest.fixture
def history(tmp_path):
    store, author = LocalBlockStore(tmp_path), Author(1)
    messages = author.chain(30)
    for message in messages:
        store.put(DAG_CBOR, message.data)
    return store, messages


def test_a_cone_is_the_message_and_its_nearest_ancestors(history):
    store, messages = history
    newest_first = [message.data for message in reversed(messages)]
    assert cone_of(messages[-1].cid, store, 1) == newest_first[:1]
    assert cone_of(messages[-1].cid, store, 5) == newest_first[:5]
    assert cone_of(messages[-1].cid, store, 256) == newest_first
    assert cone_of(store.put(RAW, b"no message"), store, 256) == [b"no message"]
    with pytest.raises(BlockMissingError):
        cone_of(some_cid(1), store, 1)


def test_a_cone_goes_over_both_parents_once_and_stops_at_its_bytes(tmp_path):
    store, one, other = LocalBlockStore(tmp_path), Author(1), Author(2)
    first = one.say()
    left, right = one.say(), other.say(first)
    top = one.say(right)
    for message in (first, left, right, top):
        store.put(DAG_CBOR, message.data)
    assert [Cid.of(DAG_CBOR, data) for data in cone_of(top.cid, store, 9)] == [top.cid, left.cid, right.cid, first.cid]
    assert len(cone_of(top.cid, store, 9, most_bytes=len(top.data))) == 2


def test_only_true_ancestors_are_taken_from_an_answer():
    author, stranger = Author(1), Author(2)
    messages = author.chain(4)
    newest, *rest = [message.data for message in reversed(messages)]
    foreign = stranger.say().data
    root = Block.read(messages[-1].cid, newest)
    found = list(reachable(root, [foreign, *rest, foreign, newest]))
    assert [block.data for block in found] == rest
    assert [block.links.parents for block in found] == [message.parents for message in reversed(messages[:-1])]
    assert list(reachable(root, rest[1:])) == []  # a gap hides what is behind it


def test_a_bucket_is_used_up_and_fills_again():
    now = [0.0]
    bucket = TokenBucket(10, 2, lambda: now[0])
    assert bucket.take(10)
    assert not bucket.take()
    now[0] = 1.0
    assert bucket.take(2)
    assert not bucket.take(1)
    now[0] = 1000.0
    assert not bucket.take(11)
    assert bucket.take(10)


def test_only_the_newest_are_remembered():
    names = BoundedDict[int, int](3)
    for number in range(10):
        names.renew(number % 4, number)
    assert list(names.items()) == [(3, 7), (0, 8), (1, 9)]
    names.renew(3, 10)
    assert list(names.items()) == [(0, 8), (1, 9), (3, 10)]
