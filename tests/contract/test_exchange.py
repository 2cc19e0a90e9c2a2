"""What every ports.Exchange promises."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from programs import wait_for

from learnae.errors import BlockMissingError, TransportError
from learnae.ipld import dagcbor
from learnae.ipld.cid import DAG_CBOR, MAX_BLOCK_BYTES, RAW, Cid

PAYLOADS = {  # no empty block: its name says all, and Bitswap cannot carry it
    "one byte": (RAW, b"\x00"),
    "newlines and zeros": (RAW, b"\r\n\x00--" * 99),
    "largest": (RAW, bytes(range(256)) * (MAX_BLOCK_BYTES // 256)),
    "message": (DAG_CBOR, dagcbor.encode({"link": Cid.of(RAW, b"x"), "text": "weights"})),
}


def fetched(exchange, cid):
    """As a store does: what has not come in time, because the machine is busy, is asked for again."""
    found = []

    def came():
        with suppress(BlockMissingError):
            found.append(exchange.fetch(cid))
        return found

    return wait_for(came, f"block {cid}")[0]


@pytest.mark.parametrize(("codec", "data"), PAYLOADS.values(), ids=PAYLOADS.keys())
def test_what_one_offers_the_other_can_fetch(exchanges, codec, data):
    cid = Cid.of(codec, data)

    exchanges.one.offer(cid, data)

    assert fetched(exchanges.other, cid) == data


def test_offering_and_fetching_again_is_harmless(exchanges):
    cid = Cid.of(RAW, b"again")

    for _ in range(3):
        exchanges.one.offer(cid, b"again")

    for _ in range(3):
        assert fetched(exchanges.other, cid) == b"again"
        exchanges.other.keep(cid)


def test_what_nobody_has_is_missing(exchanges):
    with pytest.raises(BlockMissingError):
        exchanges.other.fetch(Cid.of(RAW, b"nobody has this"))


def test_what_is_larger_than_it_may_be_is_not_brought(exchanges):
    """A stranger names a block of 1 MiB as a message."""
    cid = Cid.of(RAW, bytes(MAX_BLOCK_BYTES))
    exchanges.one.offer(cid, bytes(MAX_BLOCK_BYTES))
    data = b""
    with suppress(BlockMissingError):
        data = exchanges.other.fetch(cid, 65_536)
    assert len(data) <= 65_537


def test_what_was_offered_is_lacking_no_more(exchanges):
    cid, never = Cid.of(RAW, b"offered"), Cid.of(RAW, b"not yet")
    before = set(exchanges.one.lacking(lambda: [cid]))

    exchanges.one.offer(cid, b"offered")

    assert before <= {cid}
    assert set(exchanges.one.lacking(lambda: [cid, never])) <= {never}
    assert set(exchanges.one.lacking(list)) == set()


def test_what_was_retracted_can_be_offered_again(exchanges):
    cid = Cid.of(RAW, b"back again")
    exchanges.one.offer(cid, b"back again")

    for _ in range(2):
        exchanges.one.retract([cid, Cid.of(RAW, b"was never offered")])
    exchanges.one.retract([])
    exchanges.one.offer(cid, b"back again")

    assert fetched(exchanges.other, cid) == b"back again"


def test_many_at_once(exchanges):
    blocks = {Cid.of(RAW, data): data for data in (b"block %d" % number * 999 for number in range(24))}

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda item: exchanges.one.offer(*item), blocks.items()))
        found = list(pool.map(lambda cid: fetched(exchanges.other, cid), blocks))

    assert found == list(blocks.values())


def test_nothing_works_after_it_was_closed(exchanges):
    cid = Cid.of(RAW, b"late")

    for _ in range(2):
        exchanges.other.close()

    for call in (lambda: exchanges.other.fetch(cid), lambda: exchanges.other.lacking(lambda: [cid])):
        with pytest.raises(TransportError) as caught:
            call()
        assert caught.type is TransportError
