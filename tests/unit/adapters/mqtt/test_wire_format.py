"""What the exchange over MQTT says and reads, and what strangers may put there."""

import contextlib
import random

import pytest
from builders import NOTE, SWARM, Author, some_cid
from hypothesis import given
from hypothesis import strategies as st

from learnae.adapters.local.block_store import LocalBlockStore
from learnae.adapters.mqtt.blocks.wire_format import (
    MOST_CHAIN,
    Block,
    Want,
    chain_of,
    linked,
    pack,
    parse_links,
    unpack,
)
from learnae.adapters.token_bucket import TokenBucket
from learnae.basics.bounded_dict import BoundedDict
from learnae.errors import BlockMissingError, EncodingError
from learnae.ipld import dagcbor
from learnae.ipld.cid import DAG_CBOR, MAX_BLOCK_BYTES, RAW, Cid
from learnae.protocol.limits import Limits
from learnae.protocol.messages import Message, compose


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


def test_a_want_says_what_and_from_where():
    want = Want((some_cid(1), some_cid(2)), 16)
    assert Want.from_bytes(want.to_bytes()) == want
    assert Want.from_bytes(dagcbor.encode({"want": [some_cid(1)], "later": 1})) == Want((some_cid(1),), 0)


@pytest.mark.parametrize(
    "value",
    [
        [],
        {"want": 1},
        {"want": [some_cid(1)] * 2},
        {"want": [some_cid(n) for n in range(65)]},
        {"want": [], "from": -1},
        {"want": [], "from": 2**53 + 1},
    ],
)
def test_wants_that_are_none(value):
    with pytest.raises(EncodingError):
        Want.from_bytes(dagcbor.encode(value))


def test_claims_are_bounded_lists_of_links():
    cids = [some_cid(n) for n in range(70)]
    assert parse_links(dagcbor.encode(cids[:64])) == tuple(cids[:64])
    for data in (dagcbor.encode(cids), dagcbor.encode(1), b"\xff"):
        with pytest.raises(EncodingError):
            parse_links(data)


def test_what_is_no_message_has_no_past():
    for data in (b"", b"\xff", dagcbor.encode({}), dagcbor.encode([1]), random.Random(1).randbytes(300)):
        assert Block.read(Cid.of(DAG_CBOR, data), data) == Block(Cid.of(DAG_CBOR, data), data)
    first, second = Author(1).chain(2)
    raw = Cid.of(RAW, second.data)
    assert Block.read(raw, second.data) == Block(raw, second.data)
    assert Block.read(first.cid, first.data).previous is None


def test_a_message_names_its_author_the_one_before_it_and_its_frame():
    author = Author(1)
    first, other = author.say(), Author(2).say()
    second = author.say(other, blocks=(some_cid(1),))
    block = Block(second.cid, second.data, author.author, 1, first.cid, (some_cid(1),))
    assert Block.read(second.cid, second.data) == block


def checkpoint(author: Author, previous: Message) -> Message:
    """The next message, which needs no past."""
    seq, time = previous.seq + 1, previous.time + 1000
    author.last = compose(author.identity, SWARM, seq, (previous.cid,), time, NOTE, checkpoint=True)
    return author.last


@pytest.fixture
def history(tmp_path):
    """A checkpoint, with messages before and after it."""
    store, author = LocalBlockStore(tmp_path), Author(1)
    messages = author.chain(10)
    messages.append(checkpoint(author, messages[-1]))
    messages += author.chain(20, start=messages[-1].time + 1000)
    for message in messages:
        store.put(DAG_CBOR, message.data)
    return store, messages


@pytest.mark.parametrize(("start", "oldest"), [(0, 10), (10, 10), (15, 15), (30, 30), (99, 30)])
def test_a_chain_goes_back_to_what_is_here_already_or_to_the_checkpoint(history, start, oldest):
    store, messages = history
    chain = [message.data for message in reversed(messages[oldest:])]
    assert chain_of(messages[-1].cid, store, start) == chain


def test_a_chain_ends_at_its_bytes_and_at_what_is_not_here(history):
    store, messages = history
    newest = messages[-1]
    assert len(chain_of(newest.cid, store, 0, most_bytes=len(newest.data))) == 2
    store.delete([messages[20].cid])
    assert len(chain_of(newest.cid, store, 0)) == 10
    assert chain_of(store.put(RAW, b"no message"), store, 0) == [b"no message"]
    with pytest.raises(BlockMissingError):
        chain_of(some_cid(1), store, 0)


def test_the_longest_chain_that_the_protocol_allows_is_one_answer(tmp_path):
    store, author = LocalBlockStore(tmp_path), Author(1)
    messages = author.chain(Limits().since + 1)
    for message in messages:
        store.put(DAG_CBOR, message.data)
    payload = pack(chain_of(messages[-1].cid, store, 0))
    assert unpack(payload, MOST_CHAIN) == [message.data for message in reversed(messages)]


def test_only_the_true_past_is_taken_from_an_answer(history):
    _, messages = history
    newest, *rest = reversed(messages)
    block, data = Block.read(newest.cid, newest.data), [message.data for message in rest]
    found = list(linked(block, data))
    assert [each.cid for each in found] == [message.cid for message in rest[:20]]  # to the checkpoint
    assert [each.seq for each in found] == [message.seq for message in rest[:20]]
    assert list(linked(block, data[1:])) == []  # a gap hides what is behind it
    assert [each.data for each in linked(block, [data[0], Author(2).say().data, data[1]])] == data[:1]


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
