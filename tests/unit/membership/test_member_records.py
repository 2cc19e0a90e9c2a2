"""Records: one form each, known by their first bytes, refused by any change."""

import dataclasses
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rosters import NOW, SWARM, person

from learnae.errors import EncodingError, LimitError, MembershipError, PeerError, SignatureError, WrongSwarmError
from learnae.ipld import dagcbor
from learnae.ipld.cid import DAG_CBOR, RAW, Cid
from learnae.membership.records import (
    MAX_BYTES,
    MAX_PAST,
    MAX_REKEY_BYTES,
    Body,
    Invite,
    Join,
    Leave,
    Rekey,
    Uninvite,
    Unknown,
    Vote,
    Welcome,
    compose_record,
    is_record,
    open_record,
    record_author,
)
from learnae.protocol.messages import Envelope, compose

ANN = person(1)
LINKS = [Cid.of(RAW, b"%d" % number) for number in range(MAX_PAST + 1)]
KEYS = [person(number).author for number in range(1, 9)]
KEYS.sort()

keys = st.binary(min_size=32, max_size=32)
links = st.sampled_from(LINKS)
boxes = st.binary(min_size=48, max_size=48)
fields = st.dictionaries(st.text("abcde", min_size=1), st.one_of(st.integers(-9, 9), st.binary(max_size=9), links))
bodies = st.one_of(
    st.builds(Invite, keys, st.integers(1, 16), st.integers(0, 2**53), st.sampled_from(["any", "agent", "trainer"])),
    st.builds(Uninvite, links),
    st.builds(Join, keys, links, st.binary(min_size=64, max_size=64)),
    st.builds(Join, keys),
    st.builds(Welcome, links, st.binary(min_size=8, max_size=8), keys, boxes),
    st.builds(Vote, keys, st.just("admit"), st.none() | links),
    st.builds(Vote, keys, st.just("remove")),
    st.just(Leave()),
    st.builds(
        Rekey,
        st.sets(keys, max_size=4).map(lambda found: tuple(sorted(found))),
        keys,
        st.dictionaries(keys, boxes, max_size=4).map(lambda found: tuple(sorted(found.items()))),
        boxes,
    ),
    st.builds(Unknown, st.just("later"), fields),
)


def signed(**changes: Any) -> bytes:
    """Return a record of a leave with other fields than there should be; those that are None are left out."""
    whole = {
        "v": 1, "by": ANN.author, "body": {"kind": "leave"}, "past": [], "time": NOW, "swarm": SWARM, **changes
    }  # fmt: skip
    whole = {name: value for name, value in whole.items() if value is not None}
    return dagcbor.encode({"sig": ANN.sign(b"learnae/record/1" + dagcbor.encode(whole)), **whole})


@settings(max_examples=200, deadline=None)
@given(bodies, st.sets(links, max_size=5), st.integers(0, 2**53))
def test_what_is_composed_is_read(body: Body, past: set[Cid], time: int) -> None:
    record = compose_record(ANN, SWARM, past, time, body)
    assert open_record(record.data, SWARM) == record
    assert (record.body, set(record.past), record.time) == (body, past, time)
    assert is_record(record.data)
    assert record_author(record.data) == ANN.author
    if isinstance(body, Unknown):
        assert isinstance(record.body, Unknown)
        assert record.body.fields == {name: value for name, value in body.fields.items() if name != "kind"}
    with pytest.raises(EncodingError):
        Envelope.read(record.data)


def test_a_message_is_no_record_and_nor_is_what_is_cut_off() -> None:
    message = compose(ANN, SWARM, 0, (), NOW, {"kind": "later"})
    record = compose_record(ANN, SWARM, [], NOW, Leave())
    for data in (message.data, b"", b"\xa7", *(record.data[:length] for length in (1, 40, 47, 110)), bytes(200)):
        assert not is_record(data)
        with pytest.raises(PeerError):
            open_record(data, SWARM)


def test_one_flipped_bit_anywhere_is_refused() -> None:
    data = compose_record(ANN, SWARM, LINKS[:2], NOW, Vote(KEYS[0], "admit", LINKS[3])).data
    for bit in range(8 * len(data)):
        wrong = bytearray(data)
        wrong[bit // 8] ^= 1 << bit % 8
        with pytest.raises(PeerError):
            open_record(bytes(wrong), SWARM)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300), st.integers(0, 120), bodies)
def test_garbage_is_refused_by_name(noise: bytes, start: int, body: Body) -> None:
    data = compose_record(ANN, SWARM, [], NOW, body).data
    for wrong in (noise, data[:start] + noise, data[:start] + noise + data[start + len(noise) :]):
        if wrong != data:
            with pytest.raises(PeerError):
                open_record(wrong, SWARM)


def test_a_record_of_another_swarm_or_key_is_refused() -> None:
    with pytest.raises(WrongSwarmError):
        open_record(compose_record(ANN, LINKS[0], [], NOW, Leave()).data, SWARM)
    with pytest.raises(SignatureError):
        open_record(signed().replace(ANN.author, person(2).author), SWARM)


def test_fields_of_a_later_version_are_kept() -> None:
    data = signed(later={"deep": [1, 1.0]}, ratio=0.5)
    assert open_record(data, SWARM).data == data


BAD = {
    "version": {"v": 2},
    "no body": {"body": None},
    "body without kind": {"body": {}},
    "body of bytes": {"body": b"sealed"},
    "kind of bytes": {"body": {"kind": b"leave"}},
    "no past": {"past": None},
    "past twice": {"past": [LINKS[0], LINKS[0]]},
    "long past": {"past": LINKS},
    "past of bytes": {"past": [bytes(36)]},
    "time before 1970": {"time": -1},
    "time in floats": {"time": 1.0},
    "no time": {"time": None},
    "swarm of text": {"swarm": str(SWARM)},
    "key of 31 bytes": {"body": {"kind": "vote", "peer": bytes(31), "choice": "remove", "join": None}},
    "no choice": {"body": {"kind": "vote", "peer": bytes(32), "choice": "maybe", "join": None}},
    "removal of a join": {"body": {"kind": "vote", "peer": bytes(32), "choice": "remove", "join": LINKS[0]}},
    "no use": {"body": {"kind": "invite", "key": bytes(32), "uses": 0, "expires": 1, "role": "any"}},
    "17 uses": {"body": {"kind": "invite", "key": bytes(32), "uses": 17, "expires": 1, "role": "any"}},
    "true uses": {"body": {"kind": "invite", "key": bytes(32), "uses": True, "expires": 1, "role": "any"}},
    "role": {"body": {"kind": "invite", "key": bytes(32), "uses": 1, "expires": 1, "role": "king"}},
    "proof of nothing": {"body": {"kind": "join", "x25519": bytes(32), "via": None, "proof": bytes(64)}},
    "no proof": {"body": {"kind": "join", "x25519": bytes(32), "via": LINKS[0], "proof": None}},
    "short box": {
        "body": {"kind": "welcome", "join": LINKS[0], "epoch": bytes(8), "ephemeral": bytes(32), "sealed": bytes(47)}
    },
    "unsorted": {"body": Rekey(tuple(KEYS[1::-1]), bytes(32), (), bytes(48)).to_fields()},
    "excluded twice": {"body": Rekey((KEYS[0],) * 2, bytes(32), (), bytes(48)).to_fields()},
    "sealed twice": {"body": Rekey((), bytes(32), ((KEYS[0], bytes(48)),) * 2, bytes(48)).to_fields()},
    "sealed to no key": {"body": Rekey((), bytes(32), ((b"", bytes(48)),), bytes(48)).to_fields()},
    "sealed to a map": {"body": {**Rekey((), bytes(32), (), bytes(48)).to_fields(), "sealed": {}}},
    "three in a pair": {"body": {**Rekey((), bytes(32), (), bytes(48)).to_fields(), "sealed": [[1, 2, 3]]}},
}


@pytest.mark.parametrize("changes", BAD.values(), ids=BAD)
def test_a_signed_record_with_a_wrong_field_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises((MembershipError, EncodingError)):
        open_record(signed(**changes), SWARM)


def test_a_record_is_as_large_as_said_and_no_larger() -> None:
    def padded(size: int) -> bytes:
        return signed(body={"kind": "later", "rest": bytes(size)})

    room = MAX_BYTES - len(padded(300)) + 300
    assert len(open_record(padded(room), SWARM).data) == MAX_BYTES
    with pytest.raises(LimitError, match="4097 bytes; at most 4096"):
        open_record(padded(room + 1), SWARM)
    assert open_record(
        compose_record(ANN, SWARM, LINKS[:MAX_PAST], NOW, Join(bytes(32), LINKS[-1], bytes(64))).data, SWARM
    )
    many = tuple((number.to_bytes(32, "big"), bytes(48)) for number in range(700))
    rekey = Rekey((), bytes(32), many, bytes(48))
    assert MAX_BYTES < len(compose_record(ANN, SWARM, LINKS[:MAX_PAST], NOW, rekey).data) <= MAX_REKEY_BYTES
    with pytest.raises(LimitError, match="at most 65536"):
        compose_record(ANN, SWARM, [], NOW, dataclasses.replace(rekey, excludes=tuple(key for key, _ in many)))
    with pytest.raises(LimitError):
        open_record(bytes(MAX_REKEY_BYTES + 1), SWARM)


def test_a_name_is_that_of_a_dag_cbor_block() -> None:
    record = compose_record(ANN, SWARM, [], NOW, Leave())
    assert record.cid == Cid.of(DAG_CBOR, record.data)
