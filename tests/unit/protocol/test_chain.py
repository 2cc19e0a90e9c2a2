"""One author's chain: what is noted at its checkpoints."""

from builders import NOW, some_cid

from learnae.protocol.bodies import Evidence
from learnae.protocol.chain import Chain


def test_the_floor_rises_to_the_newest_checkpoint_that_was_noticed_a_grace_ago() -> None:
    chain = Chain(b"a", by_seq={4: some_cid(4), 7: some_cid(7)}, checkpoints={4: None})
    chain.mature(100, 50)
    chain.checkpoints[7] = None
    chain.mature(149, 50)
    assert (chain.floor, chain.root, chain.checkpoint) == (0, 7, some_cid(7))
    chain.mature(150, 50)
    assert chain.floor == 4
    chain.mature(10_000, 50)
    assert chain.floor == 7


def test_the_floor_never_falls() -> None:
    chain = Chain(b"a", by_seq={4: some_cid(4)}, checkpoints={4: None}, floor=9)
    for uptime in (0, 50):
        chain.mature(uptime, 50)
    assert chain.floor == 9
    assert Chain(b"a", floor=9).root == 9


def test_what_is_dropped_is_no_more_the_newest_nor_a_checkpoint() -> None:
    chain = Chain(b"a", by_seq={1: some_cid(1), 2: some_cid(2)}, checkpoints={1: None, 2: None}, newest=some_cid(2))
    assert chain.drop(2) == some_cid(2)
    assert (chain.newest, chain.checkpoint, chain.root) == (some_cid(1), some_cid(1), 1)
    chain.drop(1)
    assert (chain.newest, chain.checkpoint, chain.root) == (None, None, 0)


def test_one_declaration_a_horizon_counts() -> None:
    chain = Chain(b"a", conflicts={5: Evidence(b"a", some_cid(1), some_cid(2))})
    assert chain.is_banned
    chain.declare(0, NOW - 1, 100)
    assert chain.is_banned
    chain.declare(6, NOW, 100)
    assert (chain.is_banned, chain.forked, chain.forked_time) == (False, 6, NOW)
    chain.declare(9, NOW + 99, 100)
    assert chain.forked == 6
    chain.declare(6, NOW + 99, 100)
    chain.declare(9, NOW + 100, 100)
    assert chain.forked == 9
    chain.declare(4, NOW + 900, 100)
    assert chain.forked == 9
