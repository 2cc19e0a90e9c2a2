"""From which seq on a message's past is asked for."""

from builders import some_cid
from desk import guard

from learnae.adapters.mqtt.frontier import Frontier
from learnae.protocol.announcements import Announcement, Entry

ALICE, BOB = b"alice...", b"bob....."


def entry(author: bytes, seq: int, checkpoint: int | None = None) -> Entry:
    return Entry(author, seq, some_cid(seq), None if checkpoint is None else some_cid(checkpoint))


def known(*here: Entry, heard: tuple[Entry, ...] = ()) -> Frontier:
    frontier = Frontier()
    guard(frontier, "_here", "_places", "_checkpoints")
    frontier.note_own(Announcement(here))
    frontier.note_heard(Announcement(heard))
    return frontier


def test_what_is_not_known_comes_with_all_its_past():
    assert known(entry(ALICE, 7)).start_of(some_cid(9)) == 0
    assert known(heard=(entry(ALICE, 9),)).start_of(some_cid(9)) == 0


def test_only_what_follows_the_own_newest_of_that_author_is_missing():
    frontier = known(entry(ALICE, 7), entry(BOB, 3), heard=(entry(ALICE, 9),))
    assert frontier.start_of(some_cid(9)) == 8
    frontier.note_own(Announcement((entry(ALICE, 8),)))
    assert frontier.start_of(some_cid(9)) == 9


def test_the_one_before_a_message_is_placed_as_well():
    frontier = known(entry(ALICE, 7))
    frontier.note_place(some_cid(1000), ALICE, 9)
    assert frontier.start_of(some_cid(1000)) == 8


def test_another_branch_comes_with_all_its_past():
    frontier = known(entry(ALICE, 7))
    for seq in (6, 7):
        frontier.note_place(some_cid(1000), ALICE, seq)
        assert frontier.start_of(some_cid(1000)) == 0


def test_a_checkpoint_comes_along_with_what_follows_it():
    frontier = known(heard=(entry(ALICE, 9, checkpoint=4), entry(BOB, 5, checkpoint=5)))
    assert [number for number in (4, 5, 9) if frontier.comes_along(some_cid(number))] == [4]


def test_what_is_remembered_is_bounded():
    frontier = Frontier()
    for number in range(8200):
        frontier.note_own(Announcement((entry(b"%8d" % number, number),)))
        frontier.note_heard(Announcement((entry(b"%8d" % number, number, checkpoint=10_000 + number),)))
    assert [len(part) for part in (frontier._here, frontier._places, frontier._checkpoints)] == [8192] * 3
