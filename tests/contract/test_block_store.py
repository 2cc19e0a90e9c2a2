"""What every ports.BlockStore promises."""

import contextlib

import pytest
from programs import wait_for

from learnae.errors import BlockMissingError, EncodingError, LimitError
from learnae.ipld.cid import DAG_CBOR, MAX_BLOCK_BYTES, RAW, Cid

PAYLOADS = {
    "empty": b"",
    "one byte": b"\x00",
    "text": b"weights",
    "newlines and zeros": b"\r\n\x00" * 99,
    "largest": bytes(range(256)) * (MAX_BLOCK_BYTES // 256),
}


@pytest.mark.parametrize("data", PAYLOADS.values(), ids=PAYLOADS.keys())
@pytest.mark.parametrize("codec", [RAW, DAG_CBOR])
def test_a_stored_block_comes_back_whole(stores, codec, data):
    cid = stores.one.put(codec, data)

    assert cid == Cid.of(codec, data)
    assert stores.one.has(cid)
    assert stores.one.get(cid) == data


def test_storing_twice_changes_nothing(stores):
    first = stores.one.put(RAW, b"again")

    assert stores.one.put(RAW, b"again") == first
    assert stores.one.get(first) == b"again"


def test_the_codec_is_part_of_the_name(stores):
    raw = stores.one.put(RAW, b"\xa0")
    cbor = Cid.of(DAG_CBOR, b"\xa0")

    assert not stores.one.has(cbor)
    assert stores.one.put(DAG_CBOR, b"\xa0") == cbor
    stores.one.delete([raw])
    assert stores.one.get(cbor) == b"\xa0"


def test_a_block_that_is_too_large_is_refused_and_not_kept(stores):
    data = bytes(MAX_BLOCK_BYTES + 1)

    with pytest.raises(LimitError):
        stores.one.put(RAW, data)
    assert not stores.one.has(Cid.of(RAW, data))


def test_a_missing_block_has_an_error_of_its_own(stores):
    cid = Cid.of(RAW, b"nobody has this")

    assert not stores.one.has(cid)
    with pytest.raises(BlockMissingError):
        stores.one.get(cid)


def test_deleted_blocks_are_gone_and_others_stay(stores):
    kept, gone = stores.one.put(RAW, b"kept"), stores.one.put(RAW, b"gone")

    stores.one.delete([gone, Cid.of(RAW, b"was never here"), gone])

    assert not stores.one.has(gone)
    with pytest.raises(BlockMissingError):
        stores.one.get(gone)
    assert stores.one.get(kept) == b"kept"
    assert stores.one.put(RAW, b"gone") == gone
    assert stores.one.get(gone) == b"gone"


@pytest.mark.parametrize("spoilt", [b"Weights", b"", b"weight", b"weights and more", bytes(MAX_BLOCK_BYTES + 1)])
@pytest.mark.parametrize("was_here", [True, False])
def test_wrong_bytes_are_never_returned_and_a_later_put_heals(stores, spoilt, was_here):
    cid = stores.one.put(RAW, b"weights") if was_here else Cid.of(RAW, b"weights")
    stores.spoil(cid, spoilt)

    with contextlib.suppress(BlockMissingError, EncodingError, LimitError):
        assert stores.one.get(cid) == b"weights"  # where what arrives is checked at once

    assert stores.one.put(RAW, b"weights") == cid
    assert stores.one.get(cid) == b"weights"


def test_what_is_wanted_comes_from_whoever_has_it(stores):
    cid = stores.other.put(RAW, b"from afar")
    stores.deliver()

    def arrived():  # asked for again, as at every tick, if it has not come in time
        stores.one.want([cid, cid])
        stores.one.want([cid])
        stores.deliver()
        return stores.one.has(cid)

    wait_for(arrived, "the block")
    assert stores.one.get(cid) == b"from afar"


def test_wanting_what_nobody_has_is_harmless(stores):
    cid = Cid.of(RAW, b"lost")

    stores.one.want([cid])
    stores.one.want([])
    stores.deliver()

    assert not stores.one.has(cid)
