"""What every ports.Gossip promises. A carrier with little room may need several announcements to say a large one."""

import pytest

from learnae.errors import LimitError
from learnae.ipld.cid import DAG_CBOR, Cid
from learnae.protocol.announcements import Announcement, Entry
from learnae.protocol.limits import Limits

TURNS = 40  # announcements in which the smallest carrier has said all that one may hold


def name_of(*numbers: int) -> Cid:
    return Cid.of(DAG_CBOR, bytes(numbers))


def entry(author: int, seq: int, checkpoint: int = 0) -> Entry:
    return Entry(b"author%02d" % author, seq, name_of(author, seq), name_of(author, checkpoint))


NEWS = Announcement((entry(1, 7, 3), entry(2, 0), entry(3, 5, 5)), (name_of(1), name_of(2)))


def heard_by(gossip):
    """What each announcer has said, bounded: entries by author, the newest counts, and links."""
    vectors = {}
    for heard in gossip.heard():
        said = heard.announcement
        assert len(said.entries) <= Limits().entries
        assert len(said.kept) <= Limits().kept
        if said:
            entries, kept = vectors.setdefault(heard.announcer, ({}, set()))
            entries.update({each.author: each for each in said.entries})
            kept.update(said.kept)
    return vectors


def vector(announcement):
    return {each.author: each for each in announcement.entries}, set(announcement.kept)


def tell(gossips, speaker, announcement):
    speaker.announce(announcement)
    gossips.deliver()


def test_all_others_hear_what_one_announces(gossips):
    speaker, *others = gossips.all

    tell(gossips, speaker, NEWS)

    for other in others:
        assert heard_by(other) == {gossips.names[0]: vector(NEWS)}
    assert heard_by(speaker) == {}


def test_an_announcement_is_heard_once(gossips):
    speaker, other, _ = gossips.all

    tell(gossips, speaker, NEWS)

    assert heard_by(other) == {gossips.names[0]: vector(NEWS)}
    assert heard_by(other) == {}


def test_repeated_announcements_are_harmless(gossips):
    speaker, other, _ = gossips.all

    for _ in range(5):
        speaker.announce(NEWS)
    gossips.deliver()
    assert heard_by(other) == {gossips.names[0]: vector(NEWS)}

    tell(gossips, speaker, NEWS)
    assert heard_by(other) in ({}, {gossips.names[0]: vector(NEWS)})


def test_a_newer_announcement_replaces_an_earlier_one_that_was_not_heard_yet(gossips):
    speaker, other, _ = gossips.all

    tell(gossips, speaker, Announcement((entry(1, 7, 3),)))
    newer = Announcement((entry(1, 8, 8),))
    tell(gossips, speaker, newer)

    assert heard_by(other) == {gossips.names[0]: vector(newer)}


def test_what_is_newer_is_heard_after_what_was_heard_before(gossips):
    speaker, other, _ = gossips.all

    tell(gossips, speaker, Announcement((entry(1, 7, 3),)))
    heard_by(other)
    newer = Announcement((entry(1, 8, 3),))
    tell(gossips, speaker, newer)

    assert heard_by(other) == {gossips.names[0]: vector(newer)}


def test_several_speakers_are_all_heard_by_their_names(gossips):
    first, second, listener = gossips.all
    one, other = Announcement((entry(1, 7, 3),)), Announcement((entry(1, 6, 3), entry(2, 1)))

    first.announce(one)
    second.announce(other)
    gossips.deliver()

    assert heard_by(listener) == dict(zip(gossips.names, [vector(one), vector(other)], strict=False))


def test_nothing_can_be_announced_too(gossips):
    speaker, other, _ = gossips.all

    tell(gossips, speaker, Announcement())

    assert heard_by(other) == {}


def test_as_much_as_allowed_is_heard_and_never_more(gossips):
    speaker, other, _ = gossips.all
    most = Limits()
    entries = tuple(entry(author, 2, 1) for author in range(most.entries + 1))
    kept = tuple(name_of(number) for number in range(most.kept + 1))
    largest = Announcement(entries[:-1], kept[:-1])

    found = {}, set()
    for _ in range(TURNS):
        tell(gossips, speaker, largest)
        for announcer, (said, links) in heard_by(other).items():
            assert announcer == gossips.names[0]
            found[0].update(said)
            found[1].update(links)
        if found == vector(largest):
            break
    assert found == vector(largest)

    for too_much in (Announcement(entries), Announcement((), kept)):
        with pytest.raises(LimitError):
            tell(gossips, speaker, too_much)
    gossips.deliver()
    assert all(said == vector(largest) for said in heard_by(other).values())
