"""What a peer's traffic counts, and what it does not."""

import random

import pytest
from builders import NOW

from learnae.adapters.composite.metered import MeteredStore
from learnae.errors import BlockMissingError
from learnae.ipld.cid import RAW, Cid
from learnae.ports import Traffic
from learnae.simulation.in_memory import MemoryBlockStore
from learnae.simulation.network import Network, VirtualClock, Weather

START = Cid.of(RAW, b"start")


def test_what_is_put_and_got_is_counted_and_not_the_starting_weights_nor_what_is_absent() -> None:
    traffic = Traffic()
    host = Network(VirtualClock(NOW), random.Random(0), Weather()).host()
    store = MeteredStore(MemoryBlockStore(host), traffic, uncounted=(START,))
    cid = store.put(RAW, b"frame")
    assert store.put(RAW, b"start") == START
    assert (store.get(cid), store.get(START)) == (b"frame", b"start")
    store.delete([cid])
    assert not store.has(cid)
    with pytest.raises(BlockMissingError):
        store.get(cid)
    assert (traffic.bytes_out, traffic.bytes_in) == (5, 5)


def test_a_frame_that_is_read_again_has_come_once_until_it_is_deleted() -> None:
    traffic = Traffic()
    host = Network(VirtualClock(NOW), random.Random(0), Weather()).host()
    store = MeteredStore(MemoryBlockStore(host), traffic)
    cid = store.put(RAW, b"frame")
    assert [store.get(cid) for _ in range(3)] == [b"frame"] * 3
    assert traffic.bytes_in == 5
    store.delete([cid])
    store.get(store.put(RAW, b"frame"))
    assert traffic.bytes_in == 10
