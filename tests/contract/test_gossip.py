"""What every ports.Gossip promises."""

import pytest

from learnae.errors import LimitError
from learnae.ipld.cid import DAG_CBOR, Cid
from learnae.protocol.limits import Limits

HEADS = [Cid.of(DAG_CBOR, bytes([number])) for number in range(4)]


def heard_by(gossip):
    return [list(heads) for heads in gossip.heard()]


def test_all_others_hear_what_one_announces(gossips):
    speaker, *others = gossips.all

    speaker.announce(HEADS)
    gossips.deliver()

    for other in others:
        assert heard_by(other) == [HEADS]
    assert heard_by(speaker) == []


def test_an_announcement_is_heard_once(gossips):
    speaker, other, _ = gossips.all

    speaker.announce(HEADS)
    gossips.deliver()

    assert heard_by(other) == [HEADS]
    assert heard_by(other) == []


def test_repeated_announcements_are_harmless(gossips):
    speaker, other, _ = gossips.all

    for _ in range(5):
        speaker.announce(HEADS)
    gossips.deliver()
    assert {tuple(heads) for heads in heard_by(other)} == {tuple(HEADS)}

    speaker.announce(HEADS)
    gossips.deliver()
    assert {tuple(heads) for heads in heard_by(other)} <= {tuple(HEADS)}


def test_newer_heads_are_heard_after_older_ones(gossips):
    speaker, other, _ = gossips.all

    speaker.announce(HEADS[:1])
    gossips.deliver()
    heard_by(other)
    speaker.announce(HEADS[1:])
    gossips.deliver()

    assert heard_by(other) == [HEADS[1:]]


def test_several_speakers_are_all_heard(gossips):
    first, second, listener = gossips.all

    first.announce(HEADS[:2])
    second.announce(HEADS[2:])
    gossips.deliver()

    assert sorted(heard_by(listener)) == sorted([HEADS[:2], HEADS[2:]])


def test_no_heads_can_be_announced_too(gossips):
    speaker, other, _ = gossips.all

    speaker.announce([])
    gossips.deliver()

    assert all(not heads for heads in heard_by(other))


def test_as_many_heads_as_allowed_are_heard_and_never_more(gossips):
    speaker, other, _ = gossips.all
    most = Limits().heads
    many = [Cid.of(DAG_CBOR, number.to_bytes(2)) for number in range(most + 1)]

    speaker.announce(many[:most])
    gossips.deliver()
    assert heard_by(other) == [many[:most]]

    with pytest.raises(LimitError):
        speaker.announce(many)
    gossips.deliver()
    assert heard_by(other) == []
