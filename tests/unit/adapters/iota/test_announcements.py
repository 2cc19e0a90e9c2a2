"""Announcements on the Tangle: their bytes, their epochs, and which of them count."""

import random

import pytest
from builders import NOW, damaged, escaped, identity, some_cid

from learnae.adapters.iota.announcements import _MAX_AUTHORS as MAX_AUTHORS
from learnae.adapters.iota.announcements import EPOCH, HEADS, PARTS, Announcement, Newest, OpenChannel, announcements
from learnae.adapters.iota.node import MESSAGE_BYTES
from learnae.errors import EncodingError, FutureError, PeerError, ReplayError, SignatureError
from learnae.ipld import dagcbor
from learnae.ipld.cid import DAG_CBOR, Cid
from learnae.protocol.limits import Limits

SWARM = Cid.of(DAG_CBOR, b"swarm")
CHANNEL = OpenChannel(SWARM)
ALICE = identity(1)


def heads(count: int, start: int = 0) -> tuple[Cid, ...]:
    return tuple(some_cid(number) for number in range(start, start + count))


def said(time: int = NOW, part: int = 0, by: int = 1, cids: tuple[Cid, ...] = heads(2)) -> Announcement:
    return Announcement(identity(by).author, time, part, cids)


def note(newest: Newest, announcement: Announcement, now: int = NOW, late: bool = False) -> None:
    newest.note(announcement, announcement.epoch, now, late)


# -- bytes


def test_announcements_survive_the_journey():
    announcement = said(cids=heads(HEADS))
    data = CHANNEL.dress(announcement.to_bytes(SWARM, ALICE)).ljust(MESSAGE_BYTES, b"\x00")
    assert Announcement.from_bytes(CHANNEL.undress(data), SWARM) == announcement


def test_as_many_heads_as_are_promised_fit_and_one_more_would_not():
    biggest = Announcement(ALICE.author, 2**53, PARTS - 1, heads(HEADS))
    assert len(CHANNEL.dress(biggest.to_bytes(SWARM, ALICE))) <= MESSAGE_BYTES
    too_big = Announcement(ALICE.author, 2**53, PARTS - 1, heads(HEADS + 1))
    assert len(CHANNEL.dress(too_big.to_bytes(SWARM, ALICE))) > MESSAGE_BYTES


def test_all_heads_that_may_be_announced_fit_into_the_parts():
    many = heads(Limits().heads)
    parts = list(announcements(ALICE.author, NOW, many))
    assert [part.part for part in parts] == list(range(PARTS))
    assert sum((part.heads for part in parts), ()) == many


@pytest.mark.parametrize(
    "change",
    [
        {"v": 2},
        {"author": b"short"},
        {"time": -1},
        {"time": "now"},
        {"part": PARTS},
        {"heads": list(heads(HEADS + 1))},
        {"heads": [some_cid(1)] * 2},
        {"heads": ["text"]},
        {"sig": b"x" * 63},
    ],
)
def test_fields_are_bounded(change):
    fields = dagcbor.decode(said().to_bytes(SWARM, ALICE))
    with pytest.raises(EncodingError):
        Announcement.from_bytes(dagcbor.encode({**fields, **change}), SWARM)


def test_only_its_author_signs_and_only_for_one_swarm():
    with pytest.raises(SignatureError):
        Announcement.from_bytes(said().to_bytes(SWARM, identity(2)), SWARM)
    with pytest.raises(SignatureError):
        Announcement.from_bytes(said().to_bytes(Cid.of(DAG_CBOR, b"other"), ALICE), SWARM)


def test_no_changed_bytes_count_and_no_other_error_escapes():
    data = CHANNEL.dress(said(cids=heads(1)).to_bytes(SWARM, ALICE))
    cases = [case for case in damaged(data) if case.rstrip(b"\x00") != data.rstrip(b"\x00")]

    def read(case: bytes) -> None:
        found = Announcement.from_bytes(CHANNEL.undress(case), SWARM)
        raise AssertionError(f"{found} was accepted")

    assert escaped(read, cases, PeerError) == set()


def test_random_bytes_are_refused():
    rng = random.Random(0)
    cases = [rng.randbytes(rng.randrange(200)) for _ in range(500)]
    assert escaped(lambda case: Announcement.from_bytes(CHANNEL.undress(case), SWARM), cases, PeerError) == set()


# -- where they are


def test_tags_and_addresses_depend_on_swarm_and_epoch():
    other = OpenChannel(Cid.of(DAG_CBOR, b"other"))
    tags = {channel.tag(epoch) for channel in (CHANNEL, other) for epoch in range(50)}
    addresses = {channel.address(epoch) for channel in (CHANNEL, other) for epoch in range(50)}
    assert len(tags) == len(addresses) == 100
    assert {len(tag) for tag in tags} == {27}
    assert {(len(address), address[-1]) for address in addresses} == {(81, "9")}


def test_the_tag_is_the_documented_one():
    """docs/protocol.md; whoever changes this speaks another protocol."""
    assert CHANNEL.tag(2_833_333) == "KRKFXAVDFIJYRPZYNSMEOVNGPRP"


# -- which count


def test_only_an_authors_newest_heads_are_taken_and_once():
    newest = Newest()
    note(newest, said(NOW, cids=heads(1)))
    note(newest, said(NOW + 1, cids=heads(1, 5)))
    assert newest.take() == [heads(1, 5)]
    assert newest.take() == []


def test_parts_of_one_announcement_come_together():
    newest = Newest()
    parts = list(announcements(ALICE.author, NOW, heads(50)))
    for part in reversed(parts):
        note(newest, part)
    assert newest.take() == [heads(50)]


def test_authors_are_taken_in_the_order_of_their_times():
    newest = Newest()
    note(newest, said(NOW, by=2, cids=heads(1, 2)))
    note(newest, said(NOW - 5, by=1, cids=heads(1, 1)))
    assert newest.take() == [heads(1, 1), heads(1, 2)]


def test_what_was_said_before_counts_as_a_replay_unless_it_is_read_late():
    newest = Newest()
    note(newest, said(NOW))
    note(newest, said(NOW))  # attached a second time
    with pytest.raises(ReplayError):
        note(newest, said(NOW - 1))
    note(newest, said(NOW - 1), late=True)
    assert len(newest.take()) == 1


def test_another_epochs_heads_are_a_replay_even_if_they_are_new():
    newest = Newest()
    announcement = said(NOW)
    for epoch in (announcement.epoch - 1, announcement.epoch + 1):
        with pytest.raises(ReplayError):
            newest.note(announcement, epoch, NOW, late=True)
    assert newest.take() == []


def test_heads_of_a_clock_that_is_far_ahead_are_refused():
    newest, skew = Newest(), Limits().skew
    note(newest, said(NOW + skew))
    with pytest.raises(FutureError):
        note(newest, said(NOW + skew + 1))


def test_the_number_of_authors_is_bounded():
    newest = Newest(authors=3)
    for number in range(6):
        note(newest, said(NOW, by=number, cids=heads(1, number)))
    assert sorted(newest.take()) == sorted(heads(1, number) for number in range(3, 6))
    assert MAX_AUTHORS == 4096


def test_an_epoch_is_short_enough_for_what_nodes_give_and_longer_than_clocks_differ():
    assert Limits().skew < EPOCH
    assert 50 * EPOCH // 30_000 <= 1000
