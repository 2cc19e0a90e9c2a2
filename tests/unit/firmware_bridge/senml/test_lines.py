"""Boards that print SenML."""

import json
import logging
import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.errors import BaudRateError, NoHelloError, SilentBoardError
from firmware_bridge.records import Channel, Event, Label, Readings, Schema, Splitter, to_bytes
from firmware_bridge.senml.lines import SenmlLines

OFFSET = 1.7e9


def line(moment: float, names: str = "ax temp", unit: str = "V", **more) -> bytes:
    records = [{"n": name, "u": unit, "v": moment + place, **more} for place, name in enumerate(names.split())]
    return json.dumps([{"bn": "pump:", "bt": OFFSET + moment, **records[0]}, *records[1:]]).encode() + b"\n"


def hear(board: SenmlLines, *pieces: bytes, now: float = 100.0) -> list:
    return [record for piece in pieces for record in board.hear(piece, now, OFFSET)]


def test_lines_become_a_schema_and_readings_by_their_times():
    schema, *readings = hear(SenmlLines(), line(1.0), line(1.5), line(2.0))
    assert schema == Schema(schema.stream, "pump", "", (Channel("ax", "V"), Channel("temp", "V")), 2.0)
    assert [each.sequence for each in readings] == [0, 1, 2]
    assert [each.time - OFFSET for each in readings] == [1.0, 1.5, 2.0]
    assert [each.values.tolist() for each in readings] == [[[m, m + 1]] for m in (1.0, 1.5, 2.0)]


def test_a_configured_rate_needs_no_second_sample():
    assert [record.kind for record in hear(SenmlLines(10.0), line(1.0))] == ["schema", "readings"]


def test_several_samples_of_a_line_come_in_the_order_of_their_times():
    records = [{"n": "a", "t": -2, "v": 1}, {"n": "a", "t": -1, "v": 2}, {"n": "a", "v": 3}]
    random.Random(1).shuffle(records)
    found = hear(SenmlLines(), json.dumps(records).encode() + b"\n", now=50.0)
    assert found[0].board == "senml"
    assert found[0].rate == pytest.approx(1.0)
    assert [each.values[0, 0] for each in found if isinstance(each, Readings)] == [1, 2, 3]


def test_other_names_or_units_are_another_stream():
    found = hear(SenmlLines(10.0), line(1), line(2), line(3, "ax"), line(4, "ax", "mV"), line(5, "ax", "mV"))
    schemas = [record for record in found if isinstance(record, Schema)]
    assert [len(each.channels) for each in schemas] == [2, 1, 1]
    assert len({each.stream for each in schemas}) == 3
    assert [each.sequence for each in found if isinstance(each, Readings)] == [0, 1, 0, 0, 1]


def test_text_is_a_label_or_an_event():
    found = hear(SenmlLines(), b'[{"bn":"pump:","n":"label","vs":"walking"},{"n":"door","vs":"open"}]\n')
    assert found == [Label(OFFSET + 100, "walking"), Event(OFFSET + 100, "open")]


@pytest.mark.parametrize(
    "bad",
    [
        b"hello\n",
        b'[{"n":"a","v":1},{"n":"b","t":1,"v":2}]\n',
        line(1.0),
        json.dumps([{"n": f"c{number}", "t": 9, "v": 1} for number in range(33)]).encode() + b"\n",
        b'[{"n":"a","t":5,"v":1},{"n":"a","t":5,"v":2}]\n',
    ],
)
def test_a_line_that_is_no_whole_sample_is_refused_and_counted(bad):
    board = SenmlLines(10.0)
    hear(board, line(1.0))
    assert hear(board, bad) == []
    assert board.refused == 1
    assert hear(board, line(2.0))[0].sequence == 1


def test_a_line_is_read_in_any_pieces_and_bounded():
    board = SenmlLines(10.0)
    data = line(1.0) + line(2.0)
    assert len(hear(board, *(data[index : index + 1] for index in range(len(data))))) == 3
    hear(board, *[b"x" * 5000] * 100)
    assert len(board._rest) <= 1 << 14
    assert hear(board, b"\n" + line(3.0))[0].sequence == 2


def test_after_reconnecting_half_a_line_is_passed_over():
    board = SenmlLines(10.0)
    board.reconnect()
    assert [each.kind for each in hear(board, line(1.0)[20:], line(2.0))] == ["schema", "readings"]
    assert board.refused == 0


def test_it_says_why_there_is_nothing():
    assert isinstance(SenmlLines().diagnose("tty", 9600), SilentBoardError)
    board = SenmlLines()
    hear(board, b"garbage without an end")
    assert isinstance(board.diagnose("tty", 9600), BaudRateError)
    hear(board, b"\n")
    assert isinstance(board.diagnose("tty", 9600), NoHelloError)
    hear(board, line(1.0))
    assert board.diagnose("tty", 9600) is None
    assert board.is_alive(105.0)
    assert not board.is_alive(200.0)


def test_what_makes_no_sample_is_said_instead_of_a_baud_rate():
    board = SenmlLines()
    hear(board, line(1.0, "ax"), line(1.1, "temp"), line(1.2, "ax"), line(1.3, "temp"))
    problem = board.diagnose("tty", 9600)
    assert isinstance(problem, NoHelloError)
    assert "print all values of a sample in one line" in str(problem)
    assert board.is_alive(105.0)
    assert board.refused == 3


# -- lines without times: as many as one read brings


def untimed(number: int, name: str = "ax") -> bytes:
    return b'[{"bn":"pump:","n":"%s","v":%d}]\r\n' % (name.encode(), number)


@given(
    st.floats(0.05, 400.0),
    st.lists(st.floats(0.03, 0.4), min_size=1, max_size=60),
    st.booleans(),
)
def test_lines_of_one_read_are_spread_over_the_time_since_the_last(period_rate, pauses, is_configured):
    """A board prints regularly, and reads come when they can: all samples, ascending, at about their times."""
    period = 1 / period_rate
    reads = [100.0]
    while reads[-1] < 100 + 3 + 4 * period:
        reads += [reads[-1] + max(wait, period / 8) for wait in pauses]
    reads = reads[:4000]
    board, found, printed = SenmlLines(period_rate if is_configured else 0.0), [], 0
    for now in reads:
        until = math.floor((now - 100.0) / period) + 1  # a line each period, the first at once
        data = b"".join(untimed(number) for number in range(printed, until))
        printed = max(printed, until)
        found += list(board.hear(data, now, OFFSET)) if data else []
    readings = [each for each in found if isinstance(each, Readings)]
    schema = next(each for each in found if isinstance(each, Schema))
    assert [each.values[0, 0] for each in readings] == list(range(printed))
    assert [each.sequence for each in readings] == list(range(printed))
    assert board.refused == 0
    times = np.array([each.time for each in readings]) - OFFSET
    assert (np.diff(times) > 0).all()
    late = max(pauses) + period + 0.01
    assert np.abs(times - (100 + np.arange(printed) * period)).max() <= 2 * late
    if not is_configured and max(pauses) < 0.1:
        assert schema.rate == pytest.approx(period_rate, rel=0.25)


def test_lines_of_several_samples_that_come_together_keep_their_distances():
    board = SenmlLines()
    data = b'[{"n":"ax","t":-0.02,"v":1},{"n":"ax","v":2}]\n'
    hear(board, data, now=100.0)
    found = hear(board, data * 3, now=100.12)
    assert [each.time - OFFSET for each in found] == pytest.approx([100.02 + 0.02 * n for n in range(6)], abs=1e-6)


def test_lines_after_a_silence_came_just_now():
    board = SenmlLines(10.0)
    hear(board, untimed(0), now=100.0)
    found = hear(board, untimed(1) + untimed(2), now=200.0)
    assert [each.time - OFFSET for each in found] == pytest.approx([199.9, 200.0])


def test_uptimes_are_no_times_of_the_future():
    board = SenmlLines(10.0)
    for now, uptime in ((100.0, 3600.0), (100.1, 3600.1), (101.0, 0.5)):  # the board is reset
        data = json.dumps([{"n": "a", "t": uptime - 0.05, "v": 1}, {"n": "a", "t": uptime, "v": 2}]).encode() + b"\n"
        times = [each.time - OFFSET for each in hear(board, data, now=now) if isinstance(each, Readings)]
        assert times == pytest.approx([now - 0.05, now])


def test_a_label_keeps_its_place_among_samples_whose_rate_is_not_known_yet():
    label = b'[{"bn":"pump:","n":"label","vs":"up"}]\n'
    board, found = SenmlLines(), []
    for number in range(12):
        found += hear(board, untimed(number) + label * (number == 3), now=100 + number / 5)
    kinds = [each.kind for each in found]
    assert kinds == ["schema", *["readings"] * 4, "label", *["readings"] * 8]
    assert found[5].time <= found[6].time


# -- clocks


@pytest.mark.parametrize("back", [3600.0, 56 * 365 * 86_400.0, 11.0])
def test_a_clock_that_is_put_right_begins_another_stream(back):
    board = SenmlLines(10.0)
    moments = [back + 1, back + 1.1, back + 1.2, 1.3, 1.4, 1.5]
    found = hear(board, *map(line, moments))
    assert [each.time - OFFSET for each in found if isinstance(each, Readings)] == pytest.approx(moments)
    assert len({each.stream for each in found if isinstance(each, Schema)}) == 2
    assert board.refused == 0


def test_the_computers_clock_may_be_put_right_too():
    board, found = SenmlLines(10.0), []
    for number in range(10):
        found += board.hear(untimed(number), 100 + number / 10, OFFSET if number >= 5 else OFFSET + 3600)
    readings = [each for each in found if isinstance(each, Readings)]
    assert [each.values[0, 0] for each in readings] == list(range(10))
    assert readings[-1].time == pytest.approx(OFFSET + 100.9)


# -- a value that is no number


@pytest.mark.parametrize(
    "value", ["nan", "NaN", "-nan", "inf", "null", '"unavailable"', '"nan"', '"warm"', '"1,5"', "", "1e999", "[1]"]
)
@pytest.mark.parametrize("is_first", [True, False])
def test_a_value_that_is_no_number_costs_itself_and_is_said_once(value, is_first, caplog):
    board, found = SenmlLines(10.0), []
    with caplog.at_level(logging.WARNING):
        for number in range(6):
            temp = value if is_first or number > 2 else "21.5"
            text = f'[{{"bn":"pump:","bt":{OFFSET + number},"n":"ax","v":{number}}},{{"n":"temp","v":{temp}}}]\n'
            found += hear(board, text.encode())
    schema, *readings = found
    assert [each.name for each in schema.channels] == ["ax", "temp"]
    assert [each.values[0, 0] for each in readings] == list(range(6))
    assert [math.isnan(each.values[0, 1]) for each in readings] == [is_first or number > 2 for number in range(6)]
    assert sum("pump:temp has no number" in text for text in caplog.messages) == 1
    assert board.diagnose("tty", 9600) is None
    (again,) = Splitter().feed(to_bytes(readings[-1]))
    assert math.isnan(again.values[0, 1])


def test_switches_and_sums_are_channels():
    found = hear(SenmlLines(10.0), b'[{"bn":"d:","n":"open","vb":true},{"n":"energy","u":"W","s":9}]\n')
    assert found[0].channels == (Channel("open", ""), Channel("energy", "W s"))
    assert found[1].values.tolist() == [[1.0, 9.0]]


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n", b"\0", b"\n\0"])
def test_lines_end_as_firmware_ends_them_and_come_in_any_pieces(end):
    sent = b"".join(line(moment).rstrip(b"\n") + end for moment in (1.0, 2.0, 3.0, 4.0))
    for size in (1, 7, len(sent)):
        board = SenmlLines(1.0)
        found = hear(board, *(sent[start : start + size] for start in range(0, len(sent), size)))
        assert [each.values.tolist() for each in found[1:]] == [[[m, m + 1]] for m in (1.0, 2.0, 3.0, 4.0)]
        assert not board.refused


@pytest.mark.parametrize("bad", [{"vb": 2}, {"t": -1e12}, {"t": "12:00:1"}, {"vd": "?1"}, {"v": 1, "bt": "1"}])
def test_a_fault_whose_value_changes_is_said_once_and_does_not_show_it(bad, caplog):
    board = SenmlLines(10.0)
    for number in range(9):
        changed = {
            name: f"{value}{number}" if isinstance(value, str) else value - number for name, value in bad.items()
        }
        hear(board, json.dumps([{"n": "a", **changed}]).encode() + b"\n")
    faults = [message for message in caplog.messages if "SenML record" in message]
    assert len(faults) == 1
    assert not [value for value in map(str, bad.values()) if len(value) > 1 and value in faults[0]]


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (b'[{"n":"a","v":1,"must_":1}]\n', "understood"),
        (b'{"n":"a","v":1}\n', "list"),
        (b'[{"n":"a b","v":1}]\n', "letters"),
    ],
)
def test_json_that_is_no_senml_is_not_blamed_on_the_speed(sent, words):
    board = SenmlLines(10.0)
    hear(board, sent, sent)
    assert words in str(board.diagnose("tty", 9600))
    assert "baud" not in str(board.diagnose("tty", 9600))
