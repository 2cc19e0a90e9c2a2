import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from learnae.errors import EncodingError
from learnae.ipld.cid import DAG_CBOR, RAW, Cid

EMPTY_RAW = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"  # as every IPFS tool prints it
DIGEST = bytes(range(32))


def test_the_empty_raw_block_has_its_well_known_name() -> None:
    assert str(Cid.of(RAW, b"")) == EMPTY_RAW
    assert Cid.parse(EMPTY_RAW) == Cid.of(RAW, b"")


@given(st.sampled_from((RAW, DAG_CBOR)), st.binary(max_size=64))
def test_both_forms_read_back(codec: int, data: bytes) -> None:
    cid = Cid.of(codec, data)
    assert Cid.from_bytes(cid.to_bytes()) == cid
    assert Cid.parse(str(cid)) == cid
    assert cid.names(data)
    assert not cid.names(data + b"x")
    assert cid.short == str(cid)[-8:]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x01\x55\x12\x20" + DIGEST[:-1],
        b"\x01\x55\x12\x20" + DIGEST + b"\x00",
        b"\x02\x55\x12\x20" + DIGEST,
        b"\x01\x70\x12\x20" + DIGEST,
        b"\x01\x55\x13\x20" + DIGEST,
        b"\x01\x55\x12\x1f" + DIGEST,
        b"\x12\x20" + DIGEST,
    ],
    ids=["empty", "short", "long", "version", "codec", "hash", "digest length", "version 0"],
)
def test_other_cids_are_refused(data: bytes) -> None:
    with pytest.raises(EncodingError):
        Cid.from_bytes(data)


@pytest.mark.parametrize(
    "text",
    [
        "",
        EMPTY_RAW.upper(),
        EMPTY_RAW[:-1],
        EMPTY_RAW + "a",
        "z" + EMPTY_RAW[1:],
        EMPTY_RAW[:-1] + "v",  # the same 36 bytes, with a padding bit set
        EMPTY_RAW[:-1] + "1",
        EMPTY_RAW[:-1] + "ß",
        "b" + EMPTY_RAW[1:].upper(),
    ],
)
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(EncodingError):
        Cid.parse(text)


@given(st.binary(max_size=40) | st.binary(min_size=34, max_size=34).map(lambda tail: b"\x01\x71" + tail))
def test_any_bytes_read_back_or_are_refused(data: bytes) -> None:
    with contextlib.suppress(EncodingError):
        assert Cid.from_bytes(data).to_bytes() == data


@given(st.text(max_size=70) | st.text(min_size=58, max_size=58).map(lambda tail: "b" + tail))
def test_any_text_reads_back_or_is_refused(text: str) -> None:
    with contextlib.suppress(EncodingError):
        assert str(Cid.parse(text)) == text
