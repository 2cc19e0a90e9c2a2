"""Announcements on the Tangle: their bytes, their epochs, and which of them count."""

import random
from dataclasses import replace

import pytest
from builders import NOW, damaged, escaped, identity, some_cid, some_entry

from learnae.adapters.iota.announcements import (
    _MAX_ANNOUNCERS,
    _MAX_ITEMS,
    _WAIT,
    EPOCH,
    ROOM,
    Channel,
    Newest,
    SignedAnnouncement,
    Turns,
)
from learnae.adapters.iota.node import MESSAGE_BYTES
from learnae.errors import EncodingError, FutureError, PeerError, ReplayError, SignatureError
from learnae.ipld import dagcbor
from learnae.ipld.cid import DAG_CBOR, Cid
from learnae.ports import Heard
from learnae.protocol.announcements import PREFIX_BYTES, Announcement, Entry
from learnae.protocol.identity import peer_name
from learnae.protocol.limits import MAX_SEQ, Limits

SWARM = Cid.of(DAG_CBOR, b"swarm")
CHANNEL = Channel(str(SWARM))
ALICE = identity(1)


EVERYTHING = Announcement(
    tuple(some_entry(number, MAX_SEQ) for number in range(Limits().entries)),
    tuple(some_cid(number) for number in range(Limits().kept)),
)


def vector(*authors: int, seq: int = 0, kept: int = 0) -> Announcement:
    return Announcement(
        tuple(some_entry(number, seq) for number in authors), tuple(some_cid(number) for number in range(kept))
    )


def said(time: int = NOW, by: int = 1, content: Announcement = vector(1, 2)) -> SignedAnnouncement:  # noqa: B008
    return SignedAnnouncement(identity(by).author, time, content)


def note(newest: Newest, announcement: SignedAnnouncement, now: int = NOW, late: bool = False) -> None:
    newest.note(announcement, announcement.epoch, now, late)


# -- bytes


def test_announcements_survive_the_journey():
    announcement = said(content=vector(1, 2, 3, seq=300, kept=2))
    data = CHANNEL.dress(announcement.to_bytes(SWARM, ALICE)).ljust(MESSAGE_BYTES, b"\x00")
    assert SignedAnnouncement.from_bytes(CHANNEL.undress(data), SWARM) == announcement


def test_what_is_chosen_fills_a_transaction_and_one_link_more_would_not_fit():
    chosen = Turns(ALICE.author).choose(EVERYTHING)
    full = SignedAnnouncement(ALICE.author, MAX_SEQ, chosen)
    assert len(CHANNEL.dress(full.to_bytes(SWARM, ALICE))) <= MESSAGE_BYTES
    more = replace(full, content=Announcement(chosen.entries, (*chosen.kept, some_cid(99))))
    assert len(CHANNEL.dress(more.to_bytes(SWARM, ALICE))) > MESSAGE_BYTES


@pytest.mark.parametrize(
    "change",
    [
        {"v": 2},
        {"by": b"short"},
        {"time": -1},
        {"time": "now"},
        {"kept": [some_cid(1)] * 2},
        {"authors": [[]]},
        {"authors": {}},
        {"sig": b"x" * 63},
    ],
)
def test_fields_are_bounded(change):
    fields = dagcbor.decode(said().to_bytes(SWARM, ALICE))
    with pytest.raises(EncodingError):
        SignedAnnouncement.from_bytes(dagcbor.encode({**fields, **change}), SWARM)


def test_only_its_author_signs_and_only_for_one_swarm():
    with pytest.raises(SignatureError):
        SignedAnnouncement.from_bytes(said().to_bytes(SWARM, identity(2)), SWARM)
    with pytest.raises(SignatureError):
        SignedAnnouncement.from_bytes(said().to_bytes(Cid.of(DAG_CBOR, b"other"), ALICE), SWARM)


def test_no_changed_bytes_count_and_no_other_error_escapes():
    data = CHANNEL.dress(said(content=vector(1)).to_bytes(SWARM, ALICE))
    cases = [case for case in damaged(data) if case.rstrip(b"\x00") != data.rstrip(b"\x00")]

    def read(case: bytes) -> None:
        found = SignedAnnouncement.from_bytes(CHANNEL.undress(case), SWARM)
        raise AssertionError(f"{found} was accepted")

    assert escaped(read, cases, PeerError) == set()


def test_random_bytes_are_refused():
    rng = random.Random(0)
    cases = [rng.randbytes(rng.randrange(200)) for _ in range(500)]
    assert escaped(lambda case: SignedAnnouncement.from_bytes(CHANNEL.undress(case), SWARM), cases, PeerError) == set()


# -- where they are


def test_tags_and_addresses_depend_on_swarm_and_epoch():
    other = Channel(str(Cid.of(DAG_CBOR, b"other")))
    tags = {channel.tag(epoch) for channel in (CHANNEL, other) for epoch in range(50)}
    addresses = {channel.address(epoch) for channel in (CHANNEL, other) for epoch in range(50)}
    assert len(tags) == len(addresses) == 100
    assert {len(tag) for tag in tags} == {27}
    assert {(len(address), address[-1]) for address in addresses} == {(81, "9")}


def test_the_tag_is_the_documented_one():
    """docs/protocol.md; whoever changes this speaks another protocol."""
    assert CHANNEL.tag(2_833_333) == "RWZFNDLYQQ9LMJKZJNA9GBSERLH"


# -- what is said when

ME = Entry(ALICE.author[:PREFIX_BYTES], 7, some_cid(7), None)


def say(turns: Turns, wanted: Announcement, epoch: int = 0) -> Announcement:
    chosen = turns.choose(wanted)
    turns.note(chosen, epoch)
    return chosen


def test_what_fits_is_said_as_it_is_once_an_epoch():
    turns, wanted = Turns(ALICE.author), vector(1, 2, 3, kept=3)
    assert turns.is_due(wanted, 0)
    assert say(turns, wanted) == wanted
    assert not turns.is_due(wanted, 0)
    assert turns.is_due(wanted, 1)
    assert turns.is_due(wanted, -1), "a node's clock may have been wrong"


def test_everything_is_said_in_turn_the_own_entry_always():
    turns, wanted = Turns(ALICE.author), Announcement((*EVERYTHING.entries[1:], ME), EVERYTHING.kept)
    entries, kept, count = set[Entry](), set[Cid](), 0
    while turns.is_due(wanted, 0):
        chosen = say(turns, wanted)
        assert ME in chosen.entries
        assert [entry for entry in wanted.entries if entry in chosen.entries] == list(chosen.entries)
        entries |= set(chosen.entries)
        kept |= set(chosen.kept)
        count += 1
    assert (entries, kept) == (set(wanted.entries), set(wanted.kept))
    bytes_wanted = sum(len(dagcbor.encode(item)) for item in (*[entry.to_list() for entry in entries], *kept))
    assert count <= bytes_wanted / (ROOM - 2 * 101) + 1, "hardly anything twice"


def test_what_has_changed_is_in_the_next_announcement():
    turns, wanted = Turns(ALICE.author), EVERYTHING
    for epoch in range(2):
        while turns.is_due(wanted, epoch):
            say(turns, wanted, epoch)
    for number in random.Random(0).sample(range(len(wanted.entries)), 20):
        changed = some_entry(number, MAX_SEQ - 1)
        wanted = replace(wanted, entries=tuple(changed if e.author == changed.author else e for e in wanted.entries))
        assert turns.is_due(wanted, 1)
        assert changed in say(turns, wanted, 1).entries
        assert not turns.is_due(wanted, 1)


def test_what_does_not_change_has_its_turn_among_many_that_do():
    turns, quiet, evidence = Turns(ALICE.author), vector(50, 51).entries, some_cid(5)
    last: dict[Entry | Cid, int] = dict.fromkeys((*quiet, evidence), 0)
    for seq in range(200):
        changing = vector(*range(30), seq=seq).entries
        chosen = say(turns, Announcement((ME, *changing, *quiet), (evidence,)), epoch=seq // _WAIT)
        last.update(dict.fromkeys((*chosen.entries, *chosen.kept), seq))
        assert all(seq - last[item] <= 2 * _WAIT for item in (*quiet, evidence))


def test_how_much_is_remembered_of_what_was_said_is_bounded():
    turns = Turns(ALICE.author, items=5)
    for number in range(20):
        say(turns, vector(number))
    assert not turns.is_due(vector(*range(15, 20)), 0)
    assert turns.is_due(vector(14), 0)


# -- which count


def heard(newest: Newest) -> list[tuple[str, Announcement]]:
    return [(each.announcer, each.announcement) for each in newest.take()]


def test_an_announcers_newest_entry_for_an_author_counts_once():
    newest = Newest()
    note(newest, said(NOW, content=vector(1, 2)))
    note(newest, said(NOW + 1, content=vector(2, 3, seq=5)))
    merged = Announcement((some_entry(1), some_entry(2, 5), some_entry(3, 5)))
    assert newest.take() == [Heard(peer_name(ALICE.author), merged)]
    assert newest.take() == []


def test_what_another_announcer_says_replaces_nothing():
    newest = Newest()
    note(newest, said(NOW, by=1, content=vector(1, seq=5, kept=1)))
    note(newest, said(NOW + 1, by=2, content=vector(1, seq=4, kept=1)))
    assert [announcement for _, announcement in heard(newest)] == [vector(1, seq=5, kept=1), vector(1, seq=4, kept=1)]


def test_the_order_in_which_announcements_are_found_does_not_matter():
    parts = [said(NOW + number, content=vector(*range(number, number + 5), seq=number)) for number in range(20)]
    rng, found = random.Random(0), set()
    for _ in range(10):
        newest = Newest()
        for part in rng.sample(parts, len(parts)):
            note(newest, part, late=True)
        ((_, merged),) = heard(newest)
        found.add(frozenset(merged.entries))
    assert found == {frozenset(some_entry(number, min(number, 19)) for number in range(24))}


def test_what_is_merged_comes_in_announcements_of_a_length_that_is_read():
    newest, count = Newest(), 3 * Limits().entries
    for number in range(count):
        note(newest, said(NOW + number, content=Announcement((some_entry(number),), (some_cid(number),))))
    found = [announcement for _, announcement in heard(newest)]
    for announcement in found:
        announcement.check()
    assert {entry for each in found for entry in each.entries} == set(vector(*range(count)).entries)
    assert {cid for each in found for cid in each.kept} == {some_cid(number) for number in range(count)}


def test_announcers_are_taken_in_the_order_of_their_times():
    newest = Newest()
    note(newest, said(NOW, by=2, content=vector(2)))
    note(newest, said(NOW - 5, by=1, content=vector(1)))
    assert [announcement for _, announcement in heard(newest)] == [vector(1), vector(2)]


def test_what_was_said_before_counts_as_a_replay_unless_it_is_read_late():
    newest = Newest()
    note(newest, said(NOW, content=vector(1, seq=5)))
    assert len(newest.take()) == 1
    note(newest, said(NOW, content=vector(1, seq=5)))  # attached a second time
    with pytest.raises(ReplayError):
        note(newest, said(NOW - 1, content=vector(1, 2)))
    assert newest.take() == []
    note(newest, said(NOW - 1, content=vector(1, 2)), late=True)
    assert [announcement for _, announcement in heard(newest)] == [vector(2)]
    with pytest.raises(ReplayError):
        note(newest, said(NOW - 1))  # nor does it make older ones good


def test_what_was_said_in_another_epoch_is_a_replay_even_if_they_are_new():
    newest = Newest()
    announcement = said(NOW)
    for epoch in (announcement.epoch - 1, announcement.epoch + 1):
        with pytest.raises(ReplayError):
            newest.note(announcement, epoch, NOW, late=True)
    assert newest.take() == []


def test_announcements_of_a_clock_that_is_far_ahead_are_refused():
    newest, skew = Newest(), Limits().skew
    note(newest, said(NOW + skew))
    with pytest.raises(FutureError):
        note(newest, said(NOW + skew + 1))


def test_how_much_is_remembered_of_others_is_bounded():
    newest = Newest(announcers=3, items=4)
    for number in range(6):
        note(newest, said(NOW, by=number, content=vector(number)))
    assert [announcement for _, announcement in heard(newest)] == [vector(number) for number in range(2, 6)]
    assert (len(newest._times), len(newest._known)) == (3, 4)
    assert (_MAX_ANNOUNCERS, _MAX_ITEMS) == (4096, 16384)


def test_an_epoch_is_short_enough_for_what_nodes_give_and_longer_than_clocks_differ():
    assert Limits().skew < EPOCH
    assert 50 * EPOCH // 30_000 <= 1000
