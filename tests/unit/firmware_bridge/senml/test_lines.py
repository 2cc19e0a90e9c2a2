"""Boards that print SenML."""

import json
import random

import pytest

from firmware_bridge.errors import BaudRateError, NoHelloError, SilentBoardError
from firmware_bridge.records import Channel, Event, Label, Readings, Schema
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
