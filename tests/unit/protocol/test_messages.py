import contextlib
import math
from typing import Any

import pytest
from builders import NOTE, NOW, SWARM, Author, damaged, escaped, identity, some_cid, update_body
from hypothesis import given, settings
from hypothesis import strategies as st
from trees import TREES

from learnae.errors import EncodingError, LimitError, MessageError, PeerError, SignatureError, WrongSwarmError
from learnae.ipld import dagcbor
from learnae.protocol.bodies import (
    DIAGONAL,
    SUMMARY_BYTES,
    Evidence,
    FrameHeader,
    Join,
    Metrics,
    PrivacySpent,
    Profile,
    Sealed,
    Summary,
    SummaryNoise,
    Unknown,
    Update,
    parse_body,
)
from learnae.protocol.limits import Limits
from learnae.protocol.messages import Envelope, Message, compose, open_message

LIMITS = Limits()
CONTEXT = b"learnae/message/1"


def signed(**changes: Any) -> bytes:
    """A message of author 1 with fields changed, added or (None) removed before it is signed."""
    me = identity(1)
    fields: dict[str, Any] = {
        "v": 1,
        "swarm": SWARM,
        "by": me.author,
        "seq": 0,
        "parents": [],
        "time": NOW,
        "blocks": [],
        "body": NOTE,
        "forked": 0,
        "checkpoint": True,
        **changes,
    }
    fields = {name: value for name, value in fields.items() if value is not None}
    return dagcbor.encode({**fields, "sig": me.sign(CONTEXT + dagcbor.encode(fields))})


def opened(data: bytes) -> Message:
    return open_message(data, SWARM, LIMITS)


def test_what_is_composed_can_be_opened() -> None:
    parents, blocks = (some_cid(1), some_cid(2)), (some_cid(3),)
    message = compose(identity(1), SWARM, 7, parents, NOW, update_body(), blocks, checkpoint=True, forked=6)
    assert opened(message.data) == message
    assert (message.checkpoint, message.forked, message.previous) == (True, 6, some_cid(1))
    assert (message.seq, message.parents, message.blocks, message.time) == (7, parents, blocks, NOW)
    assert message.author == identity(1).author
    assert message.cid.names(message.data)
    assert isinstance(message.body, Update)


def test_the_first_message_is_a_checkpoint_and_continues_nothing() -> None:
    first = compose(identity(1), SWARM, 0, (some_cid(1),), NOW, NOTE)
    assert (first.checkpoint, first.forked, first.previous) == (True, 0, None)
    assert not compose(identity(1), SWARM, 1, (first.cid,), NOW, NOTE).checkpoint


@pytest.mark.parametrize("seq", [0, 1, 23, 24, 255, 256, 65_535, 65_536, 2**32 - 1, 2**32, 2**53])
def test_an_envelope_says_what_the_message_says_before_anything_is_decoded(seq: int) -> None:
    message = compose(identity(1), SWARM, seq, (some_cid(1),), NOW, NOTE)
    assert open_message(message.data, SWARM, Limits()) == message
    envelope = Envelope.read(message.data)
    fields = dagcbor.decode(message.data)
    signature = fields.pop("sig")
    assert (envelope.author, envelope.seq, envelope.signature) == (message.author, seq, signature)
    assert envelope.signed == dagcbor.encode(fields)
    assert Envelope.read(message.data[:200]).seq == seq


def test_what_does_not_begin_as_a_message_has_no_envelope() -> None:
    data, start = signed(seq=5, parents=[some_cid(1)]), 41
    assert data[start : start + 6] == b"cseq\x05c"
    wrong = [
        dagcbor.encode({**dagcbor.decode(data), name: 1})
        for name in ("a", "w", "bz", "rim")  # sorted among the first
    ]
    wrong += [data[:start] + bytes([first]) + data[start + 1 :] for first in (0x60, 0x64)]
    wrong += [data[: start + 4] + bytes([first]) + data[start + 5 :] for first in (0x1C, 0x20, 0x45, 0xF5)]
    wrong += [b"", data[:40], data[:100], dagcbor.encode({"v": 1}), b"\xa8" + data[1:], b"\xb8" + data[1:]]
    for case in wrong:
        with pytest.raises(EncodingError):
            Envelope.read(case)
        with pytest.raises(EncodingError):
            opened(case)


def test_so_many_fields_of_later_versions_are_read_and_no_more() -> None:
    later = {f"later{number:02}": number for number in range(12)}
    assert opened(signed(**later)).data[0] == 0xB7
    with pytest.raises(EncodingError):
        opened(signed(**later, another=1))


def test_unknown_kinds_and_sealed_bodies_are_kept() -> None:
    assert opened(signed(body={"kind": "poem", "lines": [1]})).body == Unknown("poem")
    assert opened(signed(body=b"\x00" * 40)).body == Sealed(b"\x00" * 40)


def test_unknown_fields_are_kept_and_signed() -> None:
    data = signed(later={"deep": [1]}, body={**NOTE, "more": 1})
    assert opened(data).data == data
    for changed in ({"later": 2}, {"body": {**NOTE, "more": 2}}, {"another": 1}):
        with pytest.raises(SignatureError):
            opened(dagcbor.encode({**dagcbor.decode(data), **changed}))


def test_the_signature_covers_every_field() -> None:
    fields = dagcbor.decode(signed(seq=2, parents=[some_cid(9)]))
    changes = {
        "by": identity(2).author,
        "seq": 1,
        "parents": [some_cid(1)],
        "time": NOW + 1,
        "blocks": [some_cid(1)],
        "body": {"kind": "other"},
        "checkpoint": False,
        "forked": 1,
    }
    for name, value in changes.items():
        with pytest.raises(SignatureError):
            opened(dagcbor.encode({**fields, name: value}))


def test_a_signature_for_another_purpose_does_not_count() -> None:
    fields = dagcbor.decode(signed())
    signature = fields.pop("sig")
    assert signature == identity(1).sign(CONTEXT + dagcbor.encode(fields))
    with pytest.raises(SignatureError):
        opened(dagcbor.encode({**fields, "sig": identity(1).sign(dagcbor.encode(fields))}))


def test_a_message_of_another_swarm_is_refused() -> None:
    with pytest.raises(WrongSwarmError):
        opened(signed(swarm=some_cid(5)))


def test_size_is_bounded_before_anything_is_read() -> None:
    fits = signed(padding=b"x" * (LIMITS.message_bytes - len(signed(padding=b"x" * 60_000)) + 60_000))
    assert len(fits) == LIMITS.message_bytes
    opened(fits)
    with pytest.raises(LimitError):
        opened(fits + b"\x00")


@pytest.mark.parametrize(
    "changes",
    [
        {"parents": [some_cid(n) for n in range(LIMITS.parents + 1)]},
        {"parents": [some_cid(1), some_cid(1)]},
        {"parents": [b"x"]},
        {"blocks": [some_cid(n) for n in range(LIMITS.blocks + 1)]},
        {"blocks": [some_cid(1)] * (LIMITS.blocks + 1)},
        {"seq": 1},
        {"checkpoint": False},
        {"checkpoint": 1},
        {"checkpoint": "yes"},
        {"seq": 3, "parents": [some_cid(1)], "forked": 4},
        {"forked": -1},
        {"forked": 1},
        {"forked": False},
        {"seq": 2**53 + 1, "parents": [some_cid(1)]},
        {"time": -1},
        {"time": 1.5},
        {"swarm": "text"},
        {"swarm": False},
        {"body": []},
        {"body": {}},
        {"body": {"kind": 1}},
        {"body": {"kind": "join"}},
    ],
    ids=",".join,
)
def test_fields_out_of_bounds_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(MessageError):
        opened(signed(**changes))


@pytest.mark.parametrize("name", ["body", "time", "swarm", "blocks", "forked", "parents", "checkpoint"])
def test_no_field_may_be_missing(name: str) -> None:
    with pytest.raises(MessageError, match=name):
        opened(signed(**{name: None}))


@pytest.mark.parametrize("changes", [{"v": 2}, {"v": None}, {"by": b"short"}, {"by": None}, {"seq": -1}, {"seq": None}])
def test_what_comes_first_must_be_there_as_it_is_written(changes: dict[str, Any]) -> None:
    with pytest.raises(EncodingError):
        opened(signed(**changes))


def test_as_many_parents_and_blocks_as_allowed_are_read() -> None:
    parents = [some_cid(n) for n in range(LIMITS.parents)]
    blocks = [some_cid(n // 2) for n in range(LIMITS.blocks)]  # equal ones are one block, named more than once
    message = opened(signed(seq=1, parents=parents, blocks=blocks))
    assert (list(message.parents), list(message.blocks)) == (parents, blocks)


def test_unsigned_messages_are_refused() -> None:
    fields = dagcbor.decode(signed())
    for signature in (None, b"", b"\x00" * 64, "x", b"\x00" * 65):
        with pytest.raises(PeerError):
            opened(dagcbor.encode({**fields, "sig": signature}))
    del fields["sig"]
    with pytest.raises(EncodingError):
        opened(dagcbor.encode(fields))


def test_a_message_in_another_encoding_is_refused() -> None:
    data = signed(later=1.0)
    opened(data)
    assert data[0] == 0xAC
    for changed in (b"\xb8\x0c" + data[1:], data.replace(b"\xfb\x3f\xf0" + bytes(6), b"\x01")):
        assert changed != data
        with pytest.raises((EncodingError, SignatureError)):
            opened(changed)


def test_every_damage_is_refused_with_a_named_error() -> None:
    data = Author(1).say(body=update_body()).data
    assert opened(data)
    for case in damaged(data):
        with pytest.raises(PeerError):
            opened(case)
    assert escaped(Envelope.read, list(damaged(data)), PeerError) == set()


@settings(max_examples=200)
@given(st.binary(max_size=80) | TREES.map(dagcbor.encode))
def test_any_bytes_are_refused_with_a_named_error(data: bytes) -> None:
    with pytest.raises(PeerError):
        opened(data)
    with pytest.raises(PeerError):
        Envelope.read(data)


_VALUES = TREES | st.sampled_from([[], {}, 0, -1, 1.5, "", b"", None, True, 2**62])


@settings(max_examples=200)
@given(st.sampled_from([*dagcbor.decode(signed()), "x", "later"]), _VALUES)
def test_any_signed_field_is_read_or_refused_with_a_named_error(name: str, value: Any) -> None:
    data = dagcbor.encode({**dagcbor.decode(signed()), name: value})
    assert escaped(opened, [data, signed(**{name: value})], PeerError) == set()


# -- bodies


FULL = {
    "join": Join(Profile("pump", "agent", "1.0")).to_fields(),
    "update": Update(
        FrameHeader("delta", "q8", 10, some_cid(1)), 5, 6, Metrics(0.5, 0.9, 100), (some_cid(2).digest[:8],), 7, 8
    ).to_fields(),
    "summary": Summary(1, SummaryNoise(1.0, 1e-6, 1, 900.0), DIAGONAL, 1, 2, bytes(24)).to_fields(),
    "evidence": Evidence(bytes(32), some_cid(1), some_cid(2)).to_fields(),
}


@pytest.mark.parametrize("kind", FULL)
def test_bodies_read_back(kind: str) -> None:
    body = parse_body(dagcbor.decode(dagcbor.encode(FULL[kind])), LIMITS)
    assert not isinstance(body, Unknown)
    assert dagcbor.encode(body.to_fields()) == dagcbor.encode(FULL[kind])


@pytest.mark.parametrize(
    "changes",
    [
        {"release": 0},
        {"columns": 0},
        {"columns": SUMMARY_BYTES, "sums": bytes(SUMMARY_BYTES)},
        {"columns": 2},
        {"form": "none"},
        {"form": "full", "columns": 400, "groups": 1, "sums": bytes(4 * (1 + 400 + 200 * 401))},
        {"noise": None},
        {"noise": {"epsilon": -1, "delta": 0.1, "overlap": 1, "deviation": 1}},
        {"noise": {"epsilon": 1, "delta": 2, "overlap": 1, "deviation": 1}},
        {"noise": {"epsilon": 1, "delta": 0.1, "overlap": 0, "deviation": 1}},
        {"noise": {"epsilon": 1, "delta": 0.1, "overlap": 1, "deviation": math.nan}},
        {"groups": 0},
        {"groups": 3},
        {"groups": 2**40},
        {"sums": bytes(23)},
        {"sums": [0.0] * 6},
    ],
    ids=lambda changes: str(changes)[:60],
)
def test_summaries_out_of_bounds_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(MessageError):
        parse_body({**FULL["summary"], **changes}, LIMITS)


@pytest.mark.parametrize("kind", ["update", "summary"])
def test_a_checkpoint_carries_who_its_author_is(kind: str) -> None:
    profile = Profile("pump", "trainer", "1.0")
    body = parse_body({**FULL[kind], "peer": profile.to_fields()}, LIMITS)
    assert body.peer == profile
    assert body.to_fields()["peer"] == profile.to_fields()
    assert parse_body(FULL[kind], LIMITS).peer is None


def test_a_settled_update_says_so() -> None:
    assert not parse_body(FULL["update"], LIMITS).settled
    assert parse_body({**FULL["update"], "settled": True}, LIMITS).to_fields()["settled"] is True


def test_metrics_may_be_absent() -> None:
    plain = {**FULL["update"], "metrics": None}
    body = parse_body(plain, LIMITS)
    assert body.metrics is None
    assert body.to_fields() == plain
    without = {**FULL["update"], "metrics": {"loss": 1.0, "accuracy": None, "rows": 3}}
    body = parse_body(without, LIMITS)
    assert body.metrics == Metrics(1.0, None, 3)
    valued = {**FULL["update"], "metrics": {"loss": 1.0, "accuracy": None, "rows": 3, "mae": 0.5, "r2": -2.0}}
    body = parse_body(valued, LIMITS)
    assert body.metrics == Metrics(1.0, None, 3, 0.5, -2.0)
    assert body.to_fields() == valued


def test_an_update_says_what_of_privacy_is_spent() -> None:
    spent = PrivacySpent(3.97, 1e-5, 80, "reading")
    private = {**FULL["update"], "privacy": spent.to_fields()}
    body = parse_body(dagcbor.decode(dagcbor.encode(private)), LIMITS)
    assert isinstance(body, Update)
    assert body.privacy == spent
    assert dagcbor.encode(body.to_fields()) == dagcbor.encode(private)
    assert parse_body(FULL["update"], LIMITS).privacy is None


_SPENT = PrivacySpent(1.0, 1e-5, 3, "window").to_fields()


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("join", {"peer": None}),
        ("update", {"privacy": None}),
        ("update", {"privacy": {}}),
        *(
            ("update", {"privacy": {**_SPENT, name: value}})
            for name, values in {
                "epsilon": (-1.0, math.nan, math.inf, "1"),
                "delta": (-1e-9, 1.1, None),
                "releases": (-1, 1.5, 2**60),
                "protects": ("user", 1, None),
            }.items()
            for value in values
        ),
        *(
            (kind, {"peer": {"name": "a", "role": "agent", "software": "1", **wrong}})
            for kind in ("join", "update", "summary")
            for wrong in ({"name": "a" * 65}, {"name": "a\n"}, {"role": "king"}, {"software": None})
        ),
        ("update", {"peer": []}),
        ("update", {"settled": 1}),
        ("update", {"settled": None}),
        ("update", {"steps": -1}),
        ("update", {"samples": 1.5}),
        ("update", {"merged": bytes(8 * (LIMITS.merged + 1))}),
        ("update", {"merged": bytes(9)}),
        ("update", {"merged": [some_cid(1)]}),
        ("update", {"traffic": {}}),
        ("update", {"frame": None}),
        ("update", {"frame": {"type": "key", "codec": "f32", "count": 0, "base": None}}),
        ("update", {"frame": {"type": "key", "codec": "f32", "count": 1, "base": some_cid(1)}}),
        ("update", {"frame": {"type": "delta", "codec": "f32", "count": 1, "base": None}}),
        ("update", {"frame": {"type": "odd", "codec": "f32", "count": 1, "base": None}}),
        ("update", {"frame": {"type": "key", "codec": "f" * 17, "count": 1, "base": None}}),
        ("update", {"metrics": {"loss": 1e16, "accuracy": None, "rows": 1}}),
        ("update", {"metrics": {"loss": 1, "accuracy": 1.1, "rows": 1}}),
        ("update", {"metrics": {"loss": 1, "accuracy": 1, "rows": -1}}),
        ("update", {"metrics": {"loss": 1, "accuracy": None, "rows": 1, "mae": -0.5}}),
        ("update", {"metrics": {"loss": 1, "accuracy": None, "rows": 1, "r2": 1.5}}),
        ("update", {"metrics": {"loss": 1, "accuracy": None, "rows": 1, "r2": None}}),
        ("evidence", {"author": b"x"}),
        ("evidence", {"first": None}),
        ("evidence", {"first": some_cid(2)}),
        ("evidence", {"second": b"x"}),
    ],
)
def test_known_kinds_with_wrong_fields_are_refused(kind: str, changes: dict[str, Any]) -> None:
    with pytest.raises(MessageError):
        parse_body({**FULL[kind], **changes}, LIMITS)


_NAMES = "release noise columns groups peer settled frame steps samples metrics merged traffic privacy author first"
_INNER_NAMES = "name role software type codec count base loss accuracy rows in label mean histogram epsilon releases"
_INNER = st.dictionaries(st.sampled_from(_INNER_NAMES.split()), _VALUES)


@settings(max_examples=300)
@given(
    st.sampled_from(("join", "update", "summary", "evidence", "poem")),
    st.dictionaries(st.sampled_from(_NAMES.split()), _VALUES | _INNER, max_size=3),
)
def test_any_map_is_a_body_or_a_message_error(kind: str, changes: dict[str, Any]) -> None:
    with contextlib.suppress(MessageError):
        parse_body({**FULL.get(kind, {"kind": kind}), **changes}, LIMITS)


@given(TREES)
def test_anything_is_a_body_or_a_message_error(value: Any) -> None:
    with contextlib.suppress(MessageError):
        parse_body(value, LIMITS)
