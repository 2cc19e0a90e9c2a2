"""Codes that are read aloud: the two sides agree, and a guesser has three tries."""

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learnae.errors import ConfigurationError, PeerError
from learnae.ipld.cid import DAG_CBOR, Cid
from learnae.membership.codes.invite_code import InviteCode
from learnae.membership.codes.spoken_code import (
    MAX_MESSAGE_BYTES,
    MAX_NUMBER,
    TRIES,
    Acceptance,
    Offer,
    OfferSession,
    SpokenCode,
)
from learnae.membership.codes.spoken_words import WORDS

pytestmark = pytest.mark.modules("spake2")

CODE = InviteCode(Cid.of(DAG_CBOR, b"manifest"), bytes(32), ("mqtts://broker.example.org",), ("u" * 64, "w" * 64))
SPOKEN = SpokenCode(4, ("orbit", "piano"))
WRONG = SpokenCode(4, ("orbit", "planet"))
PEER, NAME = b"p" * 32, b"n" * 32


def _offer() -> Offer:
    return Offer(SPOKEN, CODE, PEER)


def _sealed(offer: Offer, spoken: SpokenCode = SPOKEN) -> tuple[OfferSession, Acceptance, bytes]:
    """Go as far as the member's answer to the proof."""
    session, acceptance = OfferSession(offer), Acceptance(spoken, NAME)
    return session, acceptance, session.receive(acceptance.receive(session.receive(acceptance.greeting())))


def test_who_knows_the_words_gets_the_code_and_the_offer_is_over() -> None:
    offer = _offer()
    session, acceptance, sealed = _sealed(offer)
    assert len(sealed) <= MAX_MESSAGE_BYTES
    assert b"LRN1" not in sealed
    assert session.receive(acceptance.receive(sealed)) == b""
    assert acceptance.code == CODE
    assert offer.is_over
    assert offer.is_given
    with pytest.raises(ConfigurationError, match="the offer 4 is used"):
        Acceptance(SPOKEN).receive(OfferSession(offer).receive(Acceptance(SPOKEN).greeting()))


def test_a_code_that_did_not_arrive_is_given_again() -> None:
    offer = _offer()
    _sealed(offer)
    assert not offer.is_over
    session, acceptance, sealed = _sealed(offer)
    session.receive(acceptance.receive(sealed))
    assert acceptance.code == CODE


def test_three_wrong_tries_end_the_offer_however_many_connections_are_open() -> None:
    offer = _offer()
    started = []
    for _ in range(TRIES + 2):
        session, acceptance = OfferSession(offer), Acceptance(WRONG)
        started.append((session, acceptance, acceptance.receive(session.receive(acceptance.greeting()))))
    for left in (2, 1, 0):
        session, acceptance, proof = started.pop()
        with pytest.raises(ConfigurationError, match=f"{left} of 3 tries are left" if left else "had 3 wrong tries"):
            acceptance.receive(session.receive(proof))
        assert session.is_over
    right, knowing = OfferSession(offer), Acceptance(SPOKEN)
    with pytest.raises(ConfigurationError, match="used, or had 3 wrong tries; ask for a new one"):
        knowing.receive(right.receive(knowing.greeting()))
    session, acceptance, proof = started.pop()
    with pytest.raises(ConfigurationError, match="had 3 wrong tries"):
        acceptance.receive(session.receive(proof))
    assert not offer.is_given


def test_a_receipt_counts_though_a_stranger_has_used_up_the_tries() -> None:
    offer = _offer()
    session, acceptance, sealed = _sealed(offer)
    for _ in range(TRIES):
        _sealed(offer, WRONG)
    assert offer.is_over
    assert session.receive(acceptance.receive(sealed)) == b""
    assert offer.is_given


def test_a_right_code_after_two_wrong_ones() -> None:
    offer = _offer()
    for _ in range(2):
        _, acceptance, answer = _sealed(offer, WRONG)
        with pytest.raises(ConfigurationError, match="the words are not those of the offer 4; ask again"):
            acceptance.receive(answer)
    session, acceptance, sealed = _sealed(offer)
    session.receive(acceptance.receive(sealed))
    assert acceptance.code == CODE


def test_another_number_costs_no_try() -> None:
    offer = _offer()
    with pytest.raises(PeerError, match="a greeting for the offer 5, and this is 4"):
        OfferSession(offer).receive(Acceptance(SpokenCode(5, SPOKEN.words)).greeting())
    assert offer.tries_left == TRIES


@pytest.mark.parametrize("whose", ["joiner's name", "member's key"])
def test_a_swapped_identity_gives_another_key(whose: str) -> None:
    offer = _offer()
    session, acceptance = OfferSession(offer), Acceptance(SPOKEN, NAME)
    greeting = acceptance.greeting()
    answer = session.receive(greeting.replace(NAME, b"m" * 32) if whose == "joiner's name" else greeting)
    proof = acceptance.receive(answer if whose == "joiner's name" else answer.replace(PEER, b"q" * 32))
    with pytest.raises(ConfigurationError, match="the words are not those"):
        acceptance.receive(session.receive(proof))


def test_a_reflected_message_is_refused_on_both_sides_and_costs_no_try() -> None:
    offer = _offer()
    session, acceptance = OfferSession(offer), Acceptance(SPOKEN)
    greeting = acceptance.greeting()
    for side in (b"B", b"A"):
        again = Acceptance(SPOKEN)
        own = again.greeting()[-32:]
        with pytest.raises(PeerError, match="no SPAKE2 message of the other side"):
            again.receive(b"\x01" + PEER + side + own)
    with pytest.raises(PeerError, match="OffSides"):
        session.receive(greeting[:-33] + b"A" + greeting[-32:])
    assert offer.tries_left == TRIES


def test_what_was_heard_before_opens_nothing() -> None:
    offer = _offer()
    first, acceptance = OfferSession(offer), Acceptance(SPOKEN)
    greeting = acceptance.greeting()
    proof = acceptance.receive(first.receive(greeting))
    sealed = first.receive(proof)
    second = OfferSession(offer)
    second.receive(greeting)
    assert second.receive(proof) == b"\x00\x02"
    other = Acceptance(SPOKEN)
    other.receive(OfferSession(offer).receive(other.greeting()))
    with pytest.raises(PeerError, match="does not know the words"):
        other.receive(sealed)


def test_who_answers_without_the_words_learns_no_more_than_one_guess() -> None:
    liar, acceptance = Offer(WRONG, CODE, PEER), Acceptance(SPOKEN)
    session = OfferSession(liar)
    proof = acceptance.receive(session.receive(acceptance.greeting()))
    assert session.receive(proof) == b"\x00\x02"
    with pytest.raises(PeerError, match="does not know the words"):
        acceptance.receive(b"\x02" + bytes(100))
    assert acceptance.code is None


POINTS = {
    "zero": (1).to_bytes(32, "little"),
    "zero in another form": (2**255 - 18).to_bytes(32, "little"),
    "order two": (2**255 - 20).to_bytes(32, "little"),
    "no point": (2).to_bytes(32, "little"),
    "all ones": b"\xff" * 32,
}


@pytest.mark.parametrize("point", POINTS.values(), ids=POINTS.keys())
def test_points_that_are_no_message_are_refused_on_both_sides(point: bytes) -> None:
    offer = _offer()
    with pytest.raises(PeerError, match="SPAKE2"):
        OfferSession(offer).receive(Acceptance(SPOKEN).greeting()[:-32] + point)
    acceptance = Acceptance(SPOKEN)
    acceptance.greeting()
    with pytest.raises(PeerError, match="SPAKE2"):
        acceptance.receive(b"\x01" + PEER + b"A" + point)
    assert offer.tries_left == TRIES


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2), st.binary(max_size=80) | st.sampled_from([b"\x00\x03", b"\x01" + bytes(65), b"\x02" * 600]))
def test_other_bytes_at_any_step_are_refused(step: int, data: bytes) -> None:
    offer = _offer()
    session, acceptance = OfferSession(offer), Acceptance(SPOKEN)
    messages = [acceptance.greeting()]
    for _ in range(step):
        messages.append(session.receive(messages[-1]))
        messages.append(acceptance.receive(messages[-1]))
    if len(data) == 32 and step:
        assert session.receive(data) == b"\x00\x02"
        return
    with pytest.raises(PeerError):
        session.receive(data)
    with pytest.raises(PeerError):
        session.receive(messages[-1])
    with pytest.raises((PeerError, ConfigurationError)):
        acceptance.receive(data)
    assert offer.tries_left == TRIES
    assert not offer.is_given


def test_the_key_is_bound_to_names_and_words() -> None:
    """Also a joiner that follows SPAKE2 alone, with no names, has another key."""
    from spake2 import SPAKE2_B

    offer = _offer()
    session, exchange = OfferSession(offer), SPAKE2_B(SPOKEN.password)
    answer = session.receive(b"LRNS\x01\x04" + NAME + exchange.start())
    assert session.receive(exchange.finish(answer[33:])) == b"\x00\x02"


def test_the_words_can_be_told_apart() -> None:
    assert len(WORDS) == len({word[:4] for word in WORDS}) == 256
    assert all(word.isascii() and word.isalpha() and word.islower() and 4 <= len(word) <= 8 for word in WORDS)
    assert min(_distance(first, second) for first, second in combinations(WORDS, 2)) >= 3


@pytest.mark.parametrize("text", ["4-orbit-piano", " 4 ORBIT  piano ", "04.Orbi_pian", "4, orbit, piano\n"])
def test_a_code_is_read_as_people_say_it(text: str) -> None:
    assert SpokenCode.parse(text) == SPOKEN
    assert str(SPOKEN) == "4-orbit-piano"
    assert "orbit" not in repr(SPOKEN)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("4-orbti-piano", "'orbti' is no word of such codes; did you hear orbit"),
        ("4-orbits-piano", "did you hear orbit"),
        ("4-orb-piano", "'orb' is no word"),
        ("orbit-piano", "a number and two words, such as 4-orbit-piano"),
        ("4-orbit-piano-tiger", "a number and two words"),
        ("0-orbit-piano", "a number and two words"),
        ("100-orbit-piano", "a number and two words"),
        ("٤-orbit-piano", "a number and two words"),
        ("4-orbit-piano" * 100, "a number and two words"),
        ("", "a number and two words"),
    ],
)
def test_what_cannot_be_meant_is_said_before_any_network(text: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        SpokenCode.parse(text)


def test_numbers_that_are_taken_are_passed_over() -> None:
    assert SpokenCode.random(set(range(1, MAX_NUMBER)) | {1000}).number == MAX_NUMBER
    assert 1 <= SpokenCode.random(range(1, MAX_NUMBER + 1)).number <= MAX_NUMBER
    assert len({SpokenCode.random().words for _ in range(50)}) > 40


def _distance(first: str, second: str) -> int:
    row = list(range(len(second) + 1))
    for number, letter in enumerate(first, 1):
        new = [number]
        for place, other in enumerate(second):
            new.append(min(row[place + 1] + 1, new[-1] + 1, row[place] + (letter != other)))
        row = new
    return row[-1]
