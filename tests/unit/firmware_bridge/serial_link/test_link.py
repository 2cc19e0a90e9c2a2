"""The link between the firmware library (C) and the bridge (Python), over a hostile line, in virtual time."""

import itertools
import random

import pytest
from boards_protocol import TEXT, event, hello, samples
from nightly import how_many

from bench.rigs.hostile_line import START, Conversation, Faults
from firmware_bridge.errors import BaudRateError, NoHelloError, ProtocolVersionError, SilentBoardError
from firmware_bridge.records import Label, LinkState, Readings, Record, Schema
from firmware_bridge.serial_link.assembler import Assembler
from firmware_bridge.serial_link.frames import VERSION, Ack, Ask, Event, Hello, Log, Samples, Welcome, encode
from firmware_bridge.serial_link.link import WINDOW, Link, Measured, Started

pytestmark = pytest.mark.engine("gcc")

HOSTILE = Faults(loss=1e-3, flip=1e-3, insertion=1e-3, delay=0.01)


def started(**options) -> Link:
    link = Link(new_session=lambda: 7, **options)
    link.receive(hello(), 0.0)
    link.take_output()
    return link


def texts(deliveries) -> list[str]:
    return [delivery.text for delivery in deliveries if isinstance(delivery, (Event, Log))]


def everything_arrived(talk: Conversation) -> bool:
    seen = talk.inspector
    return seen.missed == 0 and seen.accounted == talk.board.index


# -- with the firmware library


@pytest.mark.parametrize("piecemeal", [False, True])
def test_every_sample_arrives_once_in_order_with_its_value_and_time(piecemeal):
    talk = Conversation(1, Faults(piecemeal=piecemeal))
    talk.run(20)
    talk.settle()
    assert everything_arrived(talk)
    assert talk.inspector.samples > 7990
    assert talk.inspector.worst_time < 0.012
    assert (talk.link.counts.damaged, talk.link.counts.gaps, talk.link.counts.repeated) == (0, 0, 0)


@pytest.mark.parametrize("seed", range(4))
def test_a_hostile_line_loses_nothing_as_long_as_the_board_has_room(seed):
    talk = Conversation(seed, HOSTILE, rate=100, memory=4096)
    talk.run(60)
    talk.settle(20)
    assert talk.up.faulty > 50
    assert talk.link.counts.damaged > 20
    assert everything_arrived(talk)


def test_no_wrong_reading_is_accepted_and_all_that_is_lost_is_told():
    talk = Conversation(11, HOSTILE, rate=600)
    while talk.link.counts.frames < how_many(15_000, 1_000_000):
        talk.run(10)
    talk.settle()
    assert talk.link.counts.damaged > 1000
    assert talk.inspector.accounted == talk.board.index
    assert talk.inspector.samples > 0.8 * talk.board.index


@pytest.mark.parametrize("faults", [Faults(), HOSTILE, Faults(3e-3, 3e-3, 3e-3, 0.05, piecemeal=True)])
def test_after_five_seconds_unplugged_all_goes_on_and_the_loss_is_counted(faults):
    talk = Conversation(5, faults)
    talk.run(10)
    before = talk.inspector.samples
    talk.plug(False)
    talk.run(5)
    talk.plug(True)
    for _ in range(20):  # a hello takes some attempts on the worst of these lines
        talk.run(1)
    after = talk.inspector.samples
    talk.settle(20)
    assert after > before > 0
    assert talk.inspector.missed > 1000
    assert talk.inspector.accounted == talk.board.index
    assert talk.link.counts.sessions == 1


def test_a_board_that_starts_anew_is_a_new_stream_from_its_first_sample():
    talk = Conversation(3, HOSTILE, rate=100, memory=4096)
    talk.run(10)
    first = talk.inspector.schema
    talk.reset_board()
    while talk.inspector.schema == first:
        talk.run(0.1)
    talk.inspector.worst_time = 0.0  # frames of the old run came until then
    talk.run(10)
    talk.settle(20)
    assert talk.inspector.schema.stream != first.stream
    assert talk.inspector.next == talk.board.index
    assert talk.inspector.missed == 0
    assert talk.link.counts.sessions == 2
    assert talk.inspector.worst_time < 0.1


def test_a_bridge_that_starts_anew_goes_on_where_the_last_one_was():
    talk = Conversation(4, HOSTILE, rate=100, memory=4096)
    talk.run(10)
    stream, before = talk.inspector.schema.stream, talk.inspector.samples
    talk.inspector.check_values()
    talk.link, talk.assembler = Link(), Assembler()
    heard: list = []
    talk.inspector.take = lambda records, *_: heard.extend(records)
    talk.run(10)
    talk.settle(20)
    schema, *rest = [record for record in heard if isinstance(record, (Schema, Readings))]
    assert schema.stream == stream
    numbers = [number for record in rest for number in range(record.sequence, record.sequence + record.rows)]
    assert numbers == list(range(numbers[0], talk.board.index))
    assert (
        before - 200 < numbers[0] <= before
    )  # what was delivered and not yet confirmed comes again, nothing is left out


def test_a_board_changes_what_it_measures_in_flight_and_nothing_is_mixed():
    talk = Conversation(6, HOSTILE, rate=100, memory=4096)
    heard: list = []
    talk.inspector.take = lambda records, *_: heard.extend(records)
    talk.run(5)
    texts = [b"host-board/2.5 x:V:1 y:A:2 z:W:10", b"host-board/2.5 ramp:m/s2:0.001 noise:Cel:0.01 steps:count:1"]
    changes = []
    for number in range(20):
        talk.board.flush()
        changes.append(talk.board.index)
        assert talk.board.describe(texts[number % 2], 3, 2 + number % 3, 100.0)
        talk.run(0.7)
    talk.settle(20)
    schemas = [index for index, record in enumerate(heard) if isinstance(record, Schema)]
    assert len(schemas) == 21
    next_sample = 0
    for place, schema in enumerate(schemas):
        part = heard[schema : schemas[place + 1] if place < 20 else None]
        scales = (1000, 100, 1) if heard[schema].channels[0].name == "ramp" else (1, 0.5, 0.1)
        for record in part:
            if isinstance(record, Readings):
                assert record.sequence == next_sample
                next_sample += record.rows
                for row, values in enumerate(record.values):
                    whole = talk.board._library.host_value
                    integers = [whole(record.sequence + row, channel) for channel in range(3)]
                    assert values.tolist() == pytest.approx([n / s for n, s in zip(integers, scales, strict=True)])
        assert next_sample == (changes[place] if place < 20 else talk.board.index)


def test_labels_events_and_log_lines_come_in_their_place(caplog):
    talk = Conversation(8, HOSTILE, rate=100, memory=4096)
    heard: list = []
    talk.inspector.take = lambda records, *_: heard.extend(records)
    talk.run(2)
    told = []
    for number in range(20):
        assert talk.board.tell(3, number % 2, f"word {number}")
        told.append(talk.now)
        talk.run(0.1)
    talk.board.tell(4, 2, "a \x07 strange line")
    talk.settle(20)
    words = [record for record in heard if not isinstance(record, (Schema, Readings, LinkState))]
    assert [record.name for record in words] == [f"word {number}" for number in range(20)]
    assert [isinstance(record, Label) for record in words] == [bool(number % 2) for number in range(20)]
    assert [record.time - START for record in words] == pytest.approx(told, abs=0.03)
    assert "a � strange line" in caplog.text
    sequence = [record.sequence for record in heard if isinstance(record, Readings)]
    assert sequence == sorted(sequence)


def test_a_wished_rate_reaches_the_board():
    talk = Conversation(9, HOSTILE, rate=100)
    talk.link.wish_for(25.5)
    talk.run(5)
    assert talk.board.commanded(rate=True) == 25_500


def test_a_board_is_told_the_time():
    talk = Conversation(9, Faults(), rate=100)
    talk.link._unix_time = lambda: 1_700_000_123.9
    talk.run(2)
    assert talk.board.commanded(rate=False) == 1_700_000_123


def test_a_description_of_many_parts_gets_through_a_hostile_line():
    names = " ".join(f"channel-{number:02d}:m/s2:0.001" for number in range(20))
    text = f"large/1 {names}".encode()
    talk = Conversation(10, HOSTILE, rate=20)
    assert talk.board.describe(text, 20, 1, 20.0)
    talk.inspector.take = lambda records, *_: list(records)
    talk.run(20)
    assert len(talk.link.description.channels) == 20


def test_a_clock_that_drifts_is_followed():
    talk = Conversation(12, Faults(delay=0.01), rate=50)
    talk.rate = 50 * 1.002  # the board believes to sample at 50 Hz; its quartz is 2,000 ppm fast
    poll, sample = talk.board.poll, talk.board.sample
    talk.board.poll = lambda ticks: poll(round(ticks * 1.002))
    talk.board.sample = lambda ticks: sample(round(ticks * 1.002))
    talk.run(120)
    assert talk.assembler.clock.drift * 1e6 == pytest.approx(-1996, abs=100)
    assert talk.inspector.worst_time < 0.05
    assert everything_arrived(talk) or talk.board.index - talk.inspector.samples < 20


# -- rules, one by one


def test_samples_flow_only_after_hello_and_welcome():
    link = Link(new_session=lambda: 7)
    assert link.receive(samples(0, 0), 0.0) == []
    (first,) = link.receive(hello(), 0.0)
    (measured,) = link.receive(samples(0, 0), 0.1)
    assert isinstance(first, Started)
    assert first.is_fresh
    assert isinstance(measured, Measured)
    assert encode(Welcome(0, 7)) in link.take_output()


def test_a_repeated_hello_without_samples_is_the_same_session():
    link = started()
    assert link.receive(hello(), 1.0) == []
    assert link.take_output() == encode(Welcome(0, 7))
    assert link.counts.sessions == 1


def test_a_hello_after_samples_is_a_new_run_and_forgets_what_waited():
    link = started()
    link.receive(samples(0, 0) + samples(2, 4), 0.1)  # 1 is missing
    (again,) = link.receive(hello(), 0.2)
    delivered = link.receive(samples(0, 0) + samples(1, 2), 0.3)
    assert again.is_fresh
    assert [each.samples.index for each in delivered] == [0, 2]


def test_frames_that_come_early_wait_and_twice_count_once():
    link = started()
    assert texts(link.receive(event(0, "a"), 0.0)) == ["a"]
    assert texts(link.receive(event(2, "c") + event(3, "d") + event(2, "c"), 0.0)) == []
    output = link.take_output()
    assert texts(link.receive(event(1, "b") + event(0, "a"), 0.0)) == ["b", "c", "d"]
    assert encode(Ack(1)) in output
    assert link.take_output() == encode(Ack(4))
    assert (link.counts.gaps, link.counts.repeated) == (1, 2)


def test_what_waits_is_bounded_by_the_window():
    link = started()
    for sequence in range(1, 256):
        link.receive(event(sequence, "x"), 0.0)
    assert len(link._early) == WINDOW - 1
    assert len(link.take_output()) < 8192


def test_a_missing_frame_is_asked_for_again_but_not_all_the_time():
    link = started()
    link.receive(event(1, "b"), 10.0)
    first = link.take_output()
    link.receive(event(2, "c"), 10.04)
    second = link.take_output()
    link.receive(event(3, "d"), 10.2)
    assert first.count(b"\x16") == 1  # a nak's first byte
    assert second.count(b"\x16") == 0
    assert link.take_output().count(b"\x16") == 1


def test_a_board_that_believes_to_be_confirmed_does_not_block_the_link():
    link = started()
    link.receive(event(0, "a") + event(3, "d"), 0.0)  # 1 and 2 are gone for good: a false ack
    for tenth in range(30):
        link.poll(tenth / 10)
    assert encode(Ask()) in link.take_output()
    delivered = link.receive(hello(session=7, sequence=3), 3.0)
    assert texts(delivered) == ["d"]


def test_another_board_at_the_same_port_is_another_session():
    link = started()
    link.receive(samples(0, 0), 0.1)
    link.reconnect()
    assert link.receive(samples(1, 2), 5.0) == []  # whoever this is
    (new,) = link.receive(hello(session=99, sequence=40), 5.1)
    (measured,) = link.receive(samples(40, 1000), 5.2)
    assert (new.session, new.is_fresh) == (99, False)
    assert measured.samples.index == 1000


def test_samples_of_a_description_to_come_wait_for_it():
    link = started()
    changed = TEXT.replace(b"Cel", b"K")
    assert link.receive(samples(0, 0, generation=2), 1.0) == []
    (measured,) = link.receive(hello(changed, 7, generation=2), 1.1)
    assert measured.description.channels[1].unit == "K"


def test_samples_of_a_description_that_is_gone_are_refused_and_block_nothing():
    link = Link()
    link.receive(hello(session=5, generation=9), 0.0)
    (measured,) = link.receive(samples(0, 0, generation=8) + samples(1, 2, generation=9), 0.1)
    assert measured.samples.index == 2
    assert link.counts.refused == 1


@pytest.mark.parametrize("wrong", [{"size": 6}, {"size": 10}, {"rows": 0}, {"rows": 3}])
def test_samples_that_do_not_fit_the_description_are_refused(wrong):
    link = started()
    assert link.receive(samples(0, 0, **wrong), 0.1) == []
    assert link.counts.refused == 1


@pytest.mark.parametrize(
    ("changes", "later", "between"),
    [({"generation": 2}, 0.0, b""), ({"session": 9}, 0.0, b""), ({}, 1.0, b""), ({}, 0.0, event(0, "x"))],
)
def test_parts_of_two_hellos_are_never_put_together(changes, later, between):
    long = TEXT + b" c:V:1 dddddddddddd:V:1"
    one, other = (hello(long, **each).split(b"\0") for each in ({}, changes))
    assert len(one) == len(other) == 3
    link = Link()
    link.receive(one[0] + b"\0" + between, 0.0)
    link.receive(other[1] + b"\0", later)
    assert not link.is_up
    link.receive(b"\0".join(one), later)
    assert link.is_up


def assembled(*frames: bytes) -> tuple[Assembler, list[Record]]:
    link, assembler = Link(new_session=lambda: 7), Assembler()
    deliveries = [delivery for data in frames for delivery in link.receive(data, 1.0)]
    return assembler, [record for each in deliveries for record in assembler.take(each, START, START)]


def test_an_index_that_goes_back_is_refused():
    assembler, records = assembled(hello(), samples(0, 0), samples(1, 10), samples(2, 4), samples(3, 12))
    assert [record.sequence for record in records if isinstance(record, Readings)] == [0, 10, 12]
    assert [record.missed for record in records if isinstance(record, LinkState)] == [8]
    assert assembler.refused == 1


@pytest.mark.parametrize("back", [5.0, 3600.0])
def test_times_ascend_unless_the_system_clock_is_set_far_back(back):
    talk = Conversation(13, Faults(), rate=100)
    heard: list = []
    talk.inspector.take = lambda records, *_: heard.extend(records)
    talk.run(5)
    take = talk.assembler.take
    talk.assembler.take = lambda delivery, now, offset: take(delivery, now - back, offset - back)
    talk.run(20)
    times = [record.time for record in heard if isinstance(record, Readings)]
    falls = sum(after <= before for before, after in itertools.pairwise(times))
    assert falls == (1 if back > 10 else 0)
    assert talk.assembler.samples > 2400
    assert times[-1] == pytest.approx(START + talk.now - back, abs=0.1 if back > 10 else 6)


def test_samples_of_the_future_are_refused_and_labels_of_long_ago_are_of_now():
    slow = encode(Hello(0, 0, 1, 0, True, 2, 2, 1, 50_000, b"b/1 a:V:1 c:V:1"))
    first = encode(Samples(0, 1, 2, 0, 0, bytes(8)))
    future = encode(Samples(1, 1, 2, 2, 1000, bytes(8)))
    label = encode(Event(2, 2**31 + 5, 1, "walking"))  # 68 years before the first sample
    late = encode(Samples(3, 1, 2, 4, 1, bytes(8)))
    assembler, records = assembled(slow, first, future, label, late)
    assert [record.sequence for record in records if isinstance(record, Readings)] == [0, 4]
    assert [record.missed for record in records if isinstance(record, LinkState)] == [2]
    assert [record for record in records if isinstance(record, Label)] == [Label(START, "walking")]
    assert assembler.refused == 1


def test_garbage_is_counted_and_remembered_no_longer_than_a_frame():
    link = started()
    rng = random.Random(2)
    for _ in range(200):
        link.receive(bytes(rng.randrange(1, 256) for _ in range(5000)), 1.0)
    assert len(link._splitter._rest) <= 253
    assert link.receive(b"\0" + event(0, "after"), 2.0)


def test_output_is_bounded_if_the_port_takes_nothing():
    link = started()
    for number in range(10_000):
        link.receive(event(1 + number % 60, "x"), float(number))
    assert len(link.take_output()) < 5000


# -- why there is no hello


def test_a_silent_line_is_named():
    error = Link().diagnose("/dev/ttyACM0", 115200)
    assert isinstance(error, SilentBoardError)
    assert "power and cable" in str(error)


@pytest.mark.parametrize("ratio", [0.5, 2.0, 12.0])
def test_a_wrong_baud_rate_is_named(ratio):
    link = Link()
    for _ in range(20):
        link.receive(sampled(hello() + b"\0" + hello(), ratio), 1.0)
    error = link.diagnose("/dev/ttyACM0", 9600)
    assert isinstance(error, BaudRateError)
    assert "port.baud" in str(error)
    assert "9600" in str(error)


def sampled(data: bytes, ratio: float) -> bytes:
    """What an UART reads that runs ``ratio`` times as fast as the sender: 8N1, idle line high."""
    bits = [bit for byte in data for bit in (0, *((byte >> n) & 1 for n in range(8)), 1)] + [1] * 40
    found, position = bytearray(), 0.0
    while position < len(bits) - 12 / ratio - 1:
        if bits[int(position)] == 1:
            position += 1 / ratio
            continue
        read = [bits[int(position + (n + 1.5) / ratio)] for n in range(9)]
        if read[8] == 1:
            found.append(sum(bit << n for n, bit in enumerate(read[:8])))
        position += 10 / ratio
    return bytes(found)


def test_at_the_right_baud_rate_the_same_bits_are_a_hello():
    assert sampled(hello(), 1.0) == hello()


def test_another_version_is_named():
    import binascii

    from cobs import cobs

    data = bytes([(VERSION + 1) << 4 | 1, 0]) + b"anything"
    link = Link()
    link.receive(cobs.encode(data + binascii.crc_hqx(data, 0xFFFF).to_bytes(2, "big")) + b"\0", 1.0)
    error = link.diagnose("/dev/ttyACM0", 115200)
    assert isinstance(error, ProtocolVersionError)
    assert f"version {VERSION + 1}" in str(error)
    assert "firmware" in error.remedy


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "learnae_describe"),
        (b"board-without-version a:V:1", "board/version"),
        (b"board/1", "board/version"),
        (b"board/1 a:V:1 a:V:1", "each name once"),
        (b"board/1 a:V:0", "scale"),
        (b"board/1 a:V:nan", "scale"),
        (b"board/1 a:V:1e99", "scale"),
        (b"board/1 a:V:1.23456789012", "scale"),
        (b"board/1 :V:1", "name:unit:scale"),
        (b"board/1 a:V\xff:1", "ASCII"),
        (b"board/1 " + b" ".join(b"c%d:V:1" % n for n in range(33)), "board/version"),
    ],
)
def test_a_board_without_a_usable_hello_is_named(text, words):
    link = Link()
    link.receive(hello(text) if text else event(0, "x"), 1.0)
    error = link.diagnose("/dev/ttyACM0", 115200)
    assert isinstance(error, NoHelloError)
    assert words in str(error) or "does not say what it measures" in str(error)
    assert "learnae_describe" in error.remedy
