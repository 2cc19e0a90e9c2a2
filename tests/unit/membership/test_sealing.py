import pytest
from builders import NOW, SWARM, Author, identity
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from hypothesis import given
from hypothesis import strategies as st
from sealed_swarm import Ring, name_of

from learnae.errors import EncodingError, MessageError, PeerError, SealError, UnknownEpochError
from learnae.ipld import dagcbor
from learnae.ipld.cid import MAX_BLOCK_BYTES
from learnae.membership import sealing
from learnae.membership.sealing import Seals, open_sealed, seal
from learnae.protocol.bodies import Join, Profile, Sealed
from learnae.protocol.limits import Limits
from learnae.protocol.messages import Message, compose, open_message
from learnae.weights.codecs import codec_named
from learnae.weights.frames import VALUES_PER_BLOCK

AUTHOR = identity(1).author
RING = Ring(1)
SEALS = Seals(is_sealed=True, secrets=RING)
JOIN = {"kind": "join", "peer": {"name": "ann", "role": "agent", "software": "1"}}
ROUND = st.sampled_from([0, 1, 59, 60, 61, 123, 124, 125, 4400]) | st.integers(0, 300)


def sealed(plain: bytes, author: bytes = AUTHOR, seq: int = 7, index: int = 0, epoch: int = 1) -> bytes:
    ring = Ring(epoch)
    return seal(ring.known[name_of(epoch)], name_of(epoch), author, seq, index, plain)


def padded_as(padded: bytes) -> bytes:
    """Seal what was padded in another way, with all that a member knows."""
    name, salt = name_of(1), bytes(sealing.SALT_BYTES)
    key, context = sealing._key(RING.known[name], name, salt, AUTHOR, 7, 0)
    return name + salt + ChaCha20Poly1305(key).encrypt(bytes(12), padded, context)


def said(body: object, seq: int = 0) -> Message:
    data = compose(identity(1), SWARM, seq, (), NOW, SEALS._sealed(AUTHOR, seq, 0, dagcbor.encode(body))).data
    return open_message(data, SWARM, Limits())


@given(st.binary(max_size=300) | ROUND.map(bytes), st.integers(0, 2**53), st.integers(0, 1024))
def test_what_was_sealed_comes_back_and_its_length_tells_sixty_four_bytes_more_or_less(plain, seq, index) -> None:
    data = sealed(plain, seq=seq, index=index)
    assert open_sealed(RING, AUTHOR, seq, index, data) == plain
    assert len(data) == 40 + 64 * -(-(len(plain) + 4) // 64)
    assert not len(plain) > 8 or plain not in data or not any(plain)


@given(st.binary(max_size=200), st.data())
def test_any_flipped_bit_is_refused(plain, data) -> None:
    whole = bytearray(sealed(plain))
    bit = data.draw(st.integers(0, 8 * len(whole) - 1))
    whole[bit // 8] ^= 1 << bit % 8
    with pytest.raises(SealError):
        open_sealed(RING, AUTHOR, 7, 0, bytes(whole))


@given(st.binary(max_size=300), st.data())
def test_any_other_bytes_are_refused_and_nothing_else_is_raised(noise, data) -> None:
    whole = sealed(b"weights")
    start, end = sorted((data.draw(st.integers(0, len(whole))), data.draw(st.integers(0, len(whole)))))
    for broken in (noise, name_of(1) + noise, whole[:start], whole[:start] + noise + whole[end:]):
        if broken != whole:
            with pytest.raises(SealError):
                open_sealed(RING, AUTHOR, 7, 0, broken)


@pytest.mark.parametrize(
    "place", [(identity(2).author, 7, 0), (AUTHOR, 8, 0), (AUTHOR, 7, 1)], ids=["author", "seq", "index"]
)
def test_sealed_bytes_belong_to_one_place(place: tuple[bytes, int, int]) -> None:
    with pytest.raises(SealError, match="does not open"):
        open_sealed(RING, *place, sealed(b"weights"))


def test_another_epoch_is_said_to_be_unknown_by_its_name_and_a_wrong_secret_not_to_open() -> None:
    with pytest.raises(UnknownEpochError, match=f"message 7 is sealed under key epoch {name_of(2).hex()}") as error:
        open_sealed(RING, AUTHOR, 7, 0, sealed(b"weights", epoch=2))
    assert error.value.epoch == name_of(2)
    other = Ring()
    other.known[name_of(1)] = bytes(32)
    with pytest.raises(SealError, match="does not open") as refused:
        open_sealed(other, AUTHOR, 7, 0, sealed(b"weights"))
    assert not isinstance(refused.value, UnknownEpochError)


@pytest.mark.parametrize(
    "padded",
    [
        b"\0\0\0\1x" + bytes(123),
        b"\0\0\0\1x" + bytes(58) + b"\1",
        b"\0\0\0\x3d" + bytes(60),
        b"\xff\xff\xff\xff" + bytes(60),
        bytes(128),
    ],
    ids=["too much", "not zeros", "beyond the end", "far beyond the end", "nothing in two"],
)
def test_only_one_padding_is_taken(padded: bytes) -> None:
    with pytest.raises(SealError, match="padded"):
        open_sealed(RING, AUTHOR, 7, 0, padded_as(padded))
    assert open_sealed(RING, AUTHOR, 7, 0, padded_as(b"\0\0\0\1x" + bytes(59))) == b"x"


def test_a_thousand_seals_of_one_state_have_keys_of_their_own() -> None:
    """As a restored backup and a cloned card make them: the same author, seq, index and even words."""
    all_sealed = [sealed(b"weights") for _ in range(1000)]
    keys = {sealing._key(RING.known[name_of(1)], name_of(1), data[8:24], AUTHOR, 7, 0)[0] for data in all_sealed}
    assert len(keys) == 1000
    assert all(open_sealed(RING, AUTHOR, 7, 0, data) == b"weights" for data in all_sealed)


def test_the_largest_block_of_a_frame_can_be_stored_when_it_is_sealed() -> None:
    largest = max(codec_named(name).size(VALUES_PER_BLOCK) for name in ("f32", "f16", "q8"))
    assert len(sealed(bytes(largest), index=1)) <= MAX_BLOCK_BYTES


# -- messages


def test_a_sealed_message_is_verified_without_and_read_with_the_secret() -> None:
    message = said(JOIN)
    assert isinstance(message.body, Sealed)
    assert b"ann" not in message.data
    opened = SEALS.opened(message, Limits())
    assert opened.body == Join(Profile("ann", "agent", "1"))
    assert (opened.cid, opened.data, opened.seq) == (message.cid, message.data, 0)
    with pytest.raises(UnknownEpochError):
        Seals(is_sealed=True).opened(message, Limits())


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"\0" * 128, MessageError),
        ({"kind": "join"}, MessageError),
        ([JOIN], MessageError),
        ({"kind": "later", "deep": b"x" * 65_000}, None),
    ],
    ids=["sealed twice", "wrong fields", "no map", "of a later version"],
)
def test_what_a_sealed_body_says_is_checked_as_an_open_one(body: object, error: type[PeerError] | None) -> None:
    if error is None:
        assert SEALS.opened(said(body), Limits()).body.kind == "later"
    else:
        with pytest.raises(error):
            SEALS.opened(said(body), Limits())


def test_a_sealed_body_is_canonical() -> None:
    data = compose(identity(1), SWARM, 0, (), NOW, SEALS._sealed(AUTHOR, 0, 0, b"\xa1\x64kind\x78\x01x")).data
    with pytest.raises(EncodingError):
        SEALS.opened(open_message(data, SWARM, Limits()), Limits())


def test_a_swarm_takes_only_the_form_that_is_its_own() -> None:
    open_one, sealed_one = Author(1).say(body=JOIN), said(JOIN)
    assert Seals().opened(open_one, Limits()) is open_one
    for seals, message, why in ((SEALS, open_one, "an open body; this swarm is sealed"), (Seals(), sealed_one, "open")):
        with pytest.raises(SealError, match=why):
            seals.opened(message, Limits())


def test_evidence_is_open_in_every_swarm() -> None:
    accuser, (one, two) = Author(2), Author(1).fork()
    proof = accuser.accuse(one, two)
    for seals in (Seals(), SEALS, Seals(is_sealed=True)):
        assert seals.opened(proof, Limits()) is proof
        assert seals.body(AUTHOR, 0, proof.body.to_fields()) == proof.body.to_fields()


def test_without_a_secret_nothing_is_said_in_a_sealed_swarm() -> None:
    assert Seals().may_speak
    assert SEALS.may_speak
    mute = Seals(is_sealed=True, secrets=Ring())
    assert not mute.may_speak
    for say in (lambda: mute.body(AUTHOR, 0, JOIN), lambda: mute.block(AUTHOR, 0, 0, b"weights")):
        with pytest.raises(SealError, match="no key epoch"):
            say()
    assert (Seals().body(AUTHOR, 0, JOIN), Seals().block(AUTHOR, 0, 0, b"weights")) == (JOIN, b"weights")
