"""Wishes: one subscription however many threads wait, no block that comes is missed, the end wakes all."""

import threading

import pytest
from builders import SWARM, some_cid
from desk import Desk, guard

from learnae.adapters.mqtt.blocks.wish_table import WishTable
from learnae.adapters.mqtt.topics import Topics
from learnae.errors import TransportError

WANTED = some_cid(1)
TOPIC = f"t/{SWARM}/+/block/{WANTED}"


@pytest.fixture
def desk():
    return Desk()


@pytest.fixture
def wishes(desk):
    table = WishTable(desk, Topics("t", str(SWARM), "alice"))
    guard(table, "_wishes")
    return table


def test_a_block_is_heard_once_from_the_first_to_the_last_that_wait(wishes, desk):
    first, second = wishes.enter(WANTED, print), wishes.enter(WANTED, print)
    assert first is second is wishes.find(WANTED)
    assert desk.handlers == {TOPIC: print}
    wishes.leave(WANTED, first)
    assert desk.handlers
    wishes.leave(WANTED, second)
    assert not desk.handlers
    assert wishes.find(WANTED) is None


def test_all_that_wait_get_a_block_that_is_stored(wishes):
    found: list[bytes | None] = []

    def wait() -> None:
        wish = wishes.enter(WANTED, print)
        ready.wait(60)
        assert wish.arrived.wait(60)
        found.append(wish.data)
        wishes.leave(WANTED, wish)

    ready = threading.Barrier(5)
    threads = [threading.Thread(target=wait) for _ in range(4)]
    for thread in threads:
        thread.start()
    ready.wait(60)
    wishes.fulfil(some_cid(2), b"that nobody waits for")
    wishes.fulfil(WANTED, b"block")
    for thread in threads:
        thread.join(60)
    assert found == [b"block"] * 4
    assert wishes.find(WANTED) is None


def test_the_end_wakes_all_and_lets_none_begin(wishes):
    wish = wishes.enter(WANTED, print)
    wishes.close()
    wishes.close()
    assert wish.arrived.is_set()
    assert wish.data is None
    with pytest.raises(TransportError, match="closed"):
        wishes.enter(some_cid(2), print)
