"""The book of contributions: a minority moves no score beyond what the others say, and none praises itself."""

import dataclasses

import pytest
from builders import NOW, identity
from hypothesis import given, settings
from hypothesis import strategies as st

from learnae.errors import LearnaeError
from learnae.ipld.cid import DAG_CBOR, Cid
from learnae.peer.contributions.book import LEAST_MEASURED, MOST_HEARD, ContributionBook, Measured
from learnae.protocol.bodies import AUTHOR_BYTES, MOST_RATED, MOST_USEFULNESS, Contributions
from learnae.protocol.limits import HOUR, Limits

SWARM = Cid.of(DAG_CBOR, b"a manifest")
ME, RATED, *OTHERS = (identity(number).author for number in range(60))
PERCENTS = st.integers(-MOST_USEFULNESS, MOST_USEFULNESS)


def said(percents: dict[bytes, int]) -> Contributions:
    names = {author[:AUTHOR_BYTES]: percent for author, percent in percents.items()}
    return Contributions(tuple(sorted(names)), tuple(names[name] for name in sorted(names)))


def book_of(voices: dict[bytes, dict[bytes, int]]) -> ContributionBook:
    book = ContributionBook(SWARM, ME, 24 * HOUR)
    for rater, percents in voices.items():
        book.hear(rater, NOW, said(percents))
    book.admit(voices)
    return book


@settings(max_examples=150)
@given(st.lists(PERCENTS, min_size=1, max_size=9), st.data())
def test_a_minority_of_liars_moves_no_score_beyond_what_the_others_say(honest: list[int], data: st.DataObject) -> None:
    lies = data.draw(st.lists(PERCENTS, max_size=len(honest) - 1))
    voices = {OTHERS[index]: {RATED: percent} for index, percent in enumerate([*honest, *lies])}
    score = book_of(voices).scores([RATED])[RATED]
    ordered, count = sorted(honest), len(honest) + len(lies)
    reach = len(lies)  # ranks that they move it by, at most
    low, high = ordered[max((count - 1) // 2 - reach, 0)], ordered[min(count // 2, len(ordered) - 1)]
    assert low <= round(100 * score.usefulness) <= high
    assert score.raters == count


@given(PERCENTS, PERCENTS)
def test_half_of_the_raters_at_most_take_away_what_is_above_the_usual(honest: int, lie: int) -> None:
    score = book_of({OTHERS[0]: {RATED: honest}, OTHERS[1]: {RATED: lie}}).scores([RATED])[RATED].usefulness
    assert min(honest, 100) <= round(100 * score) <= max(honest, 100)


@given(PERCENTS)
def test_what_a_peer_says_of_itself_counts_nothing(lie: int) -> None:
    honest = {OTHERS[index]: {RATED: 50 + index} for index in range(4)}
    without = book_of(honest).scores([RATED])
    assert book_of({**honest, RATED: {RATED: lie}}).scores([RATED]) == without
    assert book_of({RATED: {RATED: lie}}).scores([RATED]) == {}


def test_keys_without_a_voice_change_nothing_and_are_not_kept() -> None:
    book = book_of({OTHERS[index]: {RATED: 80} for index in range(5)})
    before = book.scores([RATED]), len(book.to_bytes())
    for sybil in OTHERS[5:55]:
        book.hear(sybil, NOW, said({RATED: -1000, sybil: 1000}))
    assert (book.scores([RATED, *OTHERS[5:55]]), len(book.to_bytes())) == before
    restarted = ContributionBook.from_bytes(book.to_bytes(), Limits())
    assert (restarted.scores([RATED]), set(restarted.heard)) == (before[0], set(OTHERS[:5]))


def test_the_flood_goes_first() -> None:
    book = book_of({OTHERS[index]: {RATED: 80} for index in range(5)})
    for number in range(2 * MOST_HEARD):
        book.hear(number.to_bytes(32, "big"), NOW + number, said({RATED: -1000}))
    assert len(book.heard) == MOST_HEARD
    assert set(OTHERS[:5]) <= set(book.heard)


def test_the_newest_counts_and_what_is_a_horizon_older_does_not() -> None:
    book = book_of({OTHERS[0]: {RATED: 80}, OTHERS[1]: {RATED: 70}})
    assert not book.hear(OTHERS[0], NOW - 1, said({RATED: 10}))
    assert book.hear(OTHERS[0], NOW + 25 * HOUR, said({RATED: 60}))
    assert book.scores([RATED])[RATED].usefulness == 0.6
    assert not book.hear(ME, NOW, said({RATED: 1}))


def test_two_keys_that_begin_alike_are_not_told_apart() -> None:
    twin = RATED[:AUTHOR_BYTES] + bytes(24)
    assert book_of({OTHERS[0]: {RATED: 80}}).scores([RATED, twin]) == {}


def measured(book: ContributionBook, times: int, gains: dict[bytes, float], pause: int = 10_000) -> None:
    for number in range(times):
        book.note_gains(gains, NOW + number * pause)


def test_what_is_measured_is_told_beside_what_is_usual_and_fades() -> None:
    book = ContributionBook(SWARM, ME, 24 * HOUR)
    measured(book, LEAST_MEASURED - 1, {RATED: 0.3, OTHERS[0]: 0.1, OTHERS[1]: -9.0})
    assert book.statement() is None
    measured(book, 1, {RATED: 0.3, OTHERS[0]: 0.1, OTHERS[1]: -9.0})
    assert book.statement() == said({RATED: 225, OTHERS[0]: 75, OTHERS[1]: -1000})
    measured(book, 40, {RATED: 0.0, OTHERS[0]: 0.2}, pause=HOUR)
    changed = book.statement()
    assert changed is not None
    assert changed.by_peer[RATED[:AUTHOR_BYTES]] < 10
    assert ContributionBook.from_bytes(book.to_bytes(), Limits()).statement() == changed
    nothing = ContributionBook(SWARM, ME, 24 * HOUR)
    measured(nothing, 9, {RATED: 0.0, OTHERS[0]: -0.1})
    assert nothing.statement() is None, "where nothing is gained it cannot be told by whom"


def test_a_clock_that_leaps_takes_half_at_most() -> None:
    once = Measured(0.2, 0.1, 9, NOW)
    for leap in (-(10**12), 10**15):
        assert once.then(0.0, 0.0, NOW + leap, HOUR).gain >= 0.1


def test_the_last_measured_are_kept() -> None:
    book = ContributionBook(SWARM, ME, 24 * HOUR)
    for number in range(2 * MOST_RATED):
        measured(book, LEAST_MEASURED, {number.to_bytes(8, "big") + bytes(24): 0.1})
    assert len(book.measured) == MOST_RATED
    statement = book.statement()
    assert statement is not None
    assert int.from_bytes(statement.peers[0], "big") == MOST_RATED


@pytest.mark.parametrize("cut", [1, 20, -1])
def test_what_is_damaged_is_refused(cut: int) -> None:
    data = book_of({OTHERS[0]: {RATED: 80}}).to_bytes()
    with pytest.raises(LearnaeError):
        ContributionBook.from_bytes(data[:cut], Limits())
    assert dataclasses.replace(ContributionBook.from_bytes(data, Limits())) is not None
