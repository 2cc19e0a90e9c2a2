"""Frames of the serial line: the bytes of version 1, and whatever else may come."""

import binascii
import json
import random
from pathlib import Path

import numpy as np
import pytest
from cobs import cobs
from golden.serial_vectors import CONVERSATION, SESSION, vectors
from hypothesis import given
from hypothesis import strategies as st
from nightly import how_many

from bench.rigs.host_board import HostBoard
from firmware_bridge.errors import ProtocolVersionError, SerialFrameError
from firmware_bridge.serial_link import frames
from firmware_bridge.serial_link.description import Description, Scale
from firmware_bridge.serial_link.link import Link

GOLDEN = json.loads((Path(__file__).parents[3] / "golden" / "serial-1.json").read_text())


# -- golden vectors


def test_what_is_written_today_is_what_was_written_then():
    assert vectors() == GOLDEN


@pytest.mark.parametrize("number", range(len(GOLDEN)))
def test_what_was_written_then_is_read_today(number):
    data = bytes.fromhex(GOLDEN[number]["bytes"])
    assert data[-1] == 0
    assert 0 not in data[:-1]
    assert frames.decode(data[:-1]) == CONVERSATION[number][1]


@pytest.mark.engine("gcc")
def test_the_firmware_library_says_and_understands_the_same_bytes():
    board = HostBoard(memory=256, rows=2, rate=100.0)
    said = [bytes.fromhex(vector["bytes"]) for vector in GOLDEN]

    def hears(number: int) -> bytes:
        assert GOLDEN[number]["from"] == "bridge"
        board.receive(said[number])
        return board.take()

    assert board.take() == b"\0" + said[0] + said[1]
    for ticks in (10, 20, 30, 40):
        board.sample(ticks)
    assert board.take() == b""  # nobody listens yet
    assert hears(2) == b"\0" + said[3] + said[4]
    assert hears(5) == said[6] + said[7]
    assert board.session == SESSION
    assert hears(8) == said[9]
    assert hears(10) == b""
    assert board.frames == 0
    board.poll(258)
    assert hears(11) == said[12]
    assert board.tell(3, 1, "walking")
    assert board.tell(3, 0, "")
    assert board.tell(4, 2, "low battery")
    assert board.take() == said[13] + said[14] + said[15]
    assert hears(16) == b""
    assert board.commanded(rate=True) == 12_500
    assert hears(17) == b""
    assert board.commanded(rate=False) == 1_700_000_000
    board.close()


# -- all frames

byte, word = st.integers(0, 255), st.integers(0, 2**32 - 1)
text = st.text(st.characters(codec="ascii", categories=("L", "N", "P", "Zs")), max_size=40)
part = st.binary(min_size=1, max_size=40)
any_frame = st.one_of(
    st.builds(frames.Ask, byte),
    st.builds(frames.Welcome, byte, word),
    st.builds(frames.Hello, byte, word, byte, st.integers(0, 127), st.booleans(), byte, byte, word, word, part),
    st.builds(frames.Samples, byte, byte, byte, word, word, st.binary(min_size=1, max_size=238)),
    st.builds(frames.Event, byte, word, st.integers(0, 1), text),
    st.builds(frames.Log, byte, word, st.integers(0, 3), text),
    st.builds(frames.Nak, byte),
    st.builds(frames.Time, byte, word),
    st.builds(frames.SetRate, byte, word),
    st.builds(frames.Ping, byte),
)


@given(any_frame)
def test_every_frame_reads_back_as_it_was(frame):
    data = frames.encode(frame)

    assert data.count(0) == 1
    assert len(data) <= frames.MAX_BYTES + 2
    assert frames.decode(data[:-1]) == frame


@given(any_frame, st.data())
def test_up_to_three_flipped_bits_are_always_seen(frame, draw):
    """CRC-16 with this polynomial has Hamming distance 4 up to 32,751 bits (Koopman & Chakravarty 2004)."""
    body = bytearray(cobs.decode(frames.encode(frame)[:-1]))
    for bit in draw.draw(st.sets(st.integers(0, 8 * len(body) - 1), min_size=1, max_size=3)):
        body[bit // 8] ^= 1 << bit % 8
    with pytest.raises(SerialFrameError):
        frames.decode(cobs.encode(bytes(body)))


@given(any_frame, any_frame)
def test_two_frames_whose_zero_was_lost_are_no_frame(one, other):
    merged = frames.encode(one)[:-1] + frames.encode(other)[:-1]

    with pytest.raises(SerialFrameError):
        frames.decode(merged)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_frame_or_a_named_error(data):
    for piece in frames.FrameSplitter().feed(data + b"\0"):
        try:
            frames.decode(piece)
        except (SerialFrameError, ProtocolVersionError):
            continue


@given(st.lists(st.one_of(st.binary(max_size=60), any_frame.map(frames.encode)), max_size=30))
def test_whatever_comes_the_link_lives_and_stays_small(pieces):
    link = Link(new_session=lambda: 7)
    for now, piece in enumerate(pieces):
        link.receive(piece, float(now))
        link.poll(now + 0.5)
        assert len(link.take_output()) < 8192
    assert len(link._early) <= 64
    assert len(link._parts) <= 64


def test_mutated_conversations_do_not_break_the_link():
    rng = random.Random(1)
    whole = b"".join(frames.encode(frame) for side, frame in CONVERSATION if side == "board")
    for _ in range(how_many(10_000, 1_000_000) // 20):
        link = Link(new_session=lambda: 7)
        for now in range(20):
            data = bytearray(whole)
            for _ in range(rng.randrange(6)):
                data[rng.randrange(len(data))] = rng.randrange(256)
            link.receive(bytes(data), float(now))
        assert len(link._early) <= 64


def test_a_frame_too_long_is_not_sent():
    with pytest.raises(SerialFrameError, match="at most"):
        frames.encode(frames.Samples(0, 1, 1, 0, 0, bytes(250)))


def test_a_frame_too_long_is_not_read():
    data = bytes([0x12]) + bytes(260)
    whole = data + binascii.crc_hqx(data, 0xFFFF).to_bytes(2, "big")
    with pytest.raises(SerialFrameError, match="263 bytes"):
        frames.decode(cobs.encode(whole))


def test_an_unknown_type_is_passed_over():
    data = bytes([0x1F, 0, 1, 2, 3])

    assert frames.decode(cobs.encode(data + binascii.crc_hqx(data, 0xFFFF).to_bytes(2, "big"))) is None


# -- cutting at zeros


def test_frames_are_cut_wherever_they_are_read():
    data = b"\0".join([b"abc", b"", b"de", b"f", b""])
    splitter = frames.FrameSplitter()

    assert [piece for value in data for piece in splitter.feed(bytes([value]))] == [b"abc", b"de", b"f"]
    assert frames.FrameSplitter().feed(data) == [b"abc", b"de", b"f"]


def test_what_is_too_long_is_skipped_to_the_next_zero():
    splitter = frames.FrameSplitter()

    assert splitter.feed(b"x" * 1000) == []
    assert splitter.feed(b"y" * 1000) == []
    assert splitter.feed(b"z\0good\0") == [b"good"]
    assert splitter.skipped == 1


# -- descriptions


def describe(words: bytes, **changes) -> Description:
    fields = {"width": 2, "rows": 2, "ticks": 1000, "rate": 50_000, **changes}
    hello = frames.Hello(0, 0, 1, 0, True, fields["width"], fields["rows"], fields["ticks"], fields["rate"], b"")
    return Description.from_hello(hello, words)


@pytest.mark.parametrize(
    ("scale", "integer", "value"),
    [
        ("0.01", 2531, 25.31),
        ("1", -7, -7.0),
        ("2.5e3", 2, 5000.0),
        ("-0.1", 3, -0.3),
        ("9.80665e-3", 1000, 9.80665),
        ("", 4, 4.0),
    ],
)
def test_integers_become_the_decimal_numbers_that_people_write(scale, integer, value):
    description = describe(f"b/1 a:V:{scale}".encode(), rows=1)
    frame = frames.Samples(0, 1, 1, 0, 0, integer.to_bytes(2, "little", signed=True))

    assert description.converter()(frame).tolist() == [[value]]


@pytest.mark.parametrize("width", [2, 4])
def test_columns_become_rows_and_unfilled_cells_are_left_out(width):
    description = describe(b"b/1 a:V:1 b:A:1", width=width, rows=3)
    whole = np.array([[1, 2, 99], [-1, -2, 99]], f"<i{width}")
    frame = frames.Samples(0, 1, 2, 0, 0, whole.tobytes())

    assert description.fits(frame)
    assert description.converter()(frame).tolist() == [[1, -1], [2, -2]]


@pytest.mark.parametrize(
    "changes", [{"width": 3}, {"width": 0}, {"rows": 0}, {"ticks": 0}, {"rate": 0}, {"rate": 2**32 - 1}]
)
def test_numbers_that_no_board_can_mean_are_refused(changes):
    with pytest.raises(SerialFrameError):
        describe(b"b/1 a:V:1", **changes)


@given(st.binary(max_size=100))
def test_any_text_is_a_description_or_a_named_error(words):
    try:
        describe(words)
    except SerialFrameError:
        return


@given(st.text("0123456789.eE+-x", max_size=20))
def test_any_text_is_a_scale_or_a_named_error(words):
    try:
        scale = Scale.parse(words)
    except SerialFrameError:
        return
    assert 0 < abs(scale.mantissa) < 10**9
