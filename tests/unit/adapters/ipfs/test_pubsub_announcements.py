"""What comes over Kubo's pubsub is hostile until checked."""

import base64
import json
import random

import pytest
from builders import damaged, escaped, some_cid

from learnae.errors import EncodingError, PeerError
from learnae.ipld import dagcbor
from learnae.protocol.limits import Limits

pytestmark = pytest.mark.modules("ipfshttpclient")
HEADS = [some_cid(number) for number in range(3)]


@pytest.fixture
def parse():
    from learnae.adapters.ipfs.pubsub import parse_announcement

    return parse_announcement


def line(body: object) -> bytes:
    data = body if isinstance(body, bytes) else dagcbor.encode(body)
    return json.dumps({"from": "12D3", "data": "u" + base64.urlsafe_b64encode(data).decode().rstrip("=")}).encode()


def test_a_good_one_is_read_and_unknown_fields_are_ignored(parse):
    assert parse(line({"peer": "abc", "heads": HEADS, "later": 1})) == ("abc", HEADS)


def test_more_heads_than_allowed_are_cut(parse):
    assert len(parse(line({"peer": "a", "heads": [some_cid(number) for number in range(100)]}))[1]) == Limits().heads


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"data": 7}',
        b'{"data": ""}',
        b'{"data": "zQm"}',
        b'{"data": "u!!!!"}',
        b'{"data": "u\xc3\xa4"}',
        b'{"data": "u' + b"A" * 60_000 + b'"}',
        b"{" * 60_000,
        b"[" * 60_000,
        line(b""),
        line(b"\xff" * 100),
        line([]),
        line({}),
        line({"peer": 7, "heads": []}),
        line({"peer": "a" * 53, "heads": []}),
        line({"peer": "a", "heads": {}}),
        line({"peer": "a", "heads": [1]}),
        line(dagcbor.encode({"peer": "a", "heads": HEADS}) + b"\x00"),
        random.Random(1).randbytes(500),
    ],
)
def test_everything_else_is_refused(parse, text):
    with pytest.raises(EncodingError):
        parse(text)


def test_damage_is_refused_or_means_something_else_and_never_escapes(parse):
    body = dagcbor.encode({"peer": "abc", "heads": HEADS[:1]})
    assert escaped(parse, [line(case) for case in damaged(body)], PeerError) == set()
    assert escaped(parse, list(damaged(line({"peer": "a", "heads": []}))), PeerError) == set()
