"""What others have named and is not here: each has its turn, and an end."""

from builders import Author, some_cid, some_entry

from learnae.ipld.cid import Cid
from learnae.protocol.hearsay import GIVEN_UP_MS, Hearsay
from learnae.protocol.identity import peer_name


def names(start: int, count: int) -> list[Cid]:
    return [some_cid(number) for number in range(start, start + count)]


def looked_for(hearsay: Hearsay, now: int, known: bytes = b"", room: tuple[bool, ...] = (True, False)) -> list[Cid]:
    """Look for all that is due."""
    found = []
    for _, _, cid, claim in hearsay.due(now, lambda author: author == known, lambda known: known in room):
        claim.looked_for(now)
        found.append(cid)
    return found


def test_each_bringer_has_its_turn_and_every_second_one_is_of_those_known() -> None:
    hearsay, friend = Hearsay(4096), Author(1).author
    for stranger in range(3):
        for cid in names(100 * stranger, 100):
            hearsay.need(f"stranger {stranger}", cid, 0)
    mine = names(1000, 2)
    for cid in mine:
        hearsay.need(friend, cid, 0)
    assert looked_for(hearsay, 0, known=friend)[:6] == [
        mine[0],
        some_cid(0),
        mine[1],
        some_cid(100),
        some_cid(200),
        some_cid(1),
    ]
    assert looked_for(hearsay, 0, known=friend, room=(True,)) == mine, "there is no room for more of strangers"


def test_names_of_what_is_here_are_forgotten_unless_something_needs_them_now() -> None:
    hearsay, (first, second) = Hearsay(4096), names(0, 2)
    for cid in (first, second):
        hearsay.keep("one", cid, 0)
    hearsay.need("one", second, 5)

    found = [cid for _, _, cid, _ in hearsay.due(5, lambda _: True, lambda _: True, {first, second})]

    assert found == [second]
    assert len(hearsay) == 1


def test_names_are_bounded_and_a_flood_takes_the_place_of_its_own() -> None:
    hearsay, true = Hearsay(200), names(0, 8)
    for cid in true:
        hearsay.need("one", cid, 0)
    for number in range(50):
        for cid in names(1000 * number + 100, 200):
            hearsay.need(f"stranger {number % 4}", cid, 0)
        assert len(hearsay) <= 200
    assert set(true) <= set(looked_for(hearsay, 0))


def test_bringers_are_bounded() -> None:
    hearsay = Hearsay(4096)
    for number in range(3000):
        hearsay.need(f"stranger {number}", some_cid(number), 0)
    assert len(looked_for(hearsay, 0)) == 1024


def test_an_announcer_that_names_another_head_asks_for_the_one_before_only_if_that_was_asked_for() -> None:
    hearsay, first, second, third = Hearsay(4096), *(some_entry(1, seq) for seq in (1, 2, 3))
    hearsay.note("one", first, [first.head], 0)
    hearsay.note("one", second, [second.head], 0)
    assert looked_for(hearsay, 0) == [second.head]
    hearsay.note("one", third, [third.head], 1000)
    assert looked_for(hearsay, 1000) == [second.head, third.head]
    assert looked_for(hearsay, 62_000) == [third.head]
    assert hearsay.take_given_up() == []


def test_what_does_not_come_is_looked_for_ever_more_seldom_and_given_up() -> None:
    hearsay, head = Hearsay(4096), some_entry(1)
    hearsay.note("one", head, [head.head], 0)
    looks = [now for now in range(0, GIVEN_UP_MS + 500, 250) if looked_for(hearsay, now)]
    assert [now for now in looks if now < 10_000] == list(range(0, 10_000, 250))
    assert len(looks) < 100
    assert hearsay.take_given_up() == [head.head]
    assert len(hearsay) == 0


def test_what_is_needed_no_more_is_not_looked_for() -> None:
    hearsay = Hearsay(4096)
    hearsay.need(peer_name(Author(1).author), some_cid(1), 0)
    assert looked_for(hearsay, 0) == [some_cid(1)]
    assert looked_for(hearsay, 250) == []
