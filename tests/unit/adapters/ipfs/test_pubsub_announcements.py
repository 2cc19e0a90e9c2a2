"""What comes over Kubo's pubsub is hostile until checked."""

import base64
import json
import random

import pytest
from builders import damaged, escaped, some_cid, some_entry

from learnae.errors import EncodingError, PeerError
from learnae.ipld import dagcbor
from learnae.ports import Heard
from learnae.protocol.announcements import MAX_BYTES, Announcement
from learnae.protocol.limits import MAX_SEQ, Limits

pytestmark = pytest.mark.modules("ipfshttpclient")
SAID = Announcement(tuple(some_entry(number, 5) for number in range(3)), (some_cid(9),))
GOOD = {"peer": "abc", **SAID.to_fields()}


@pytest.fixture
def parse():
    from learnae.adapters.ipfs.pubsub import parse_announcement

    return parse_announcement


def line(body: object) -> bytes:
    data = body if isinstance(body, bytes) else dagcbor.encode(body)
    return json.dumps({"from": "12D3", "data": "u" + base64.urlsafe_b64encode(data).decode().rstrip("=")}).encode()


def test_a_good_one_is_read_and_unknown_fields_are_ignored(parse):
    assert parse(line({**GOOD, "later": 1})) == Heard("abc", SAID)


def test_the_longest_one_is_read_and_none_with_one_more(parse):
    entries = tuple(some_entry(number, MAX_SEQ) for number in range(Limits().entries + 1))
    kept = tuple(some_cid(number) for number in range(Limits().kept + 1))
    longest = Announcement(entries[:-1], kept[:-1])
    fields = {"peer": "a" * 52, **longest.to_fields()}
    assert parse(line(fields)).announcement == longest
    assert len(dagcbor.encode(fields)) <= MAX_BYTES - 500, "room for fields of later versions"
    for more in (Announcement(entries), Announcement((), kept)):
        with pytest.raises(EncodingError):
            parse(line({"peer": "a", **more.to_fields()}))


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
        line({**GOOD, "peer": 7}),
        line({**GOOD, "peer": "a" * 53}),
        line({**GOOD, "v": 2}),
        line({**GOOD, "authors": {}}),
        line({**GOOD, "authors": [1]}),
        line({**GOOD, "kept": [1]}),
        line(dagcbor.encode(GOOD) + b"\x00"),
        random.Random(1).randbytes(500),
    ],
)
def test_everything_else_is_refused(parse, text):
    with pytest.raises(EncodingError):
        parse(text)


def test_damage_is_refused_or_means_something_else_and_never_escapes(parse):
    body = dagcbor.encode(GOOD)
    assert escaped(parse, [line(case) for case in damaged(body)], PeerError) == set()
    assert escaped(parse, list(damaged(line({"peer": "a", **Announcement().to_fields()}))), PeerError) == set()
