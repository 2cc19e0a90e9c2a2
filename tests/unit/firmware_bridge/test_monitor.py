"""What the monitor writes of readings that have no value, or no date that can be used."""

import json
import logging
import math

import numpy as np
import pytest
from rich.console import Console

from firmware_bridge.monitor import Board, _show
from firmware_bridge.records import Channel, Readings, Schema
from firmware_bridge.senml.codec import from_cbor, from_json

SCHEMA = Schema("run", "pump", "", (Channel("ax", "m/s2"), Channel("temp", "Cel")), 10.0)


def readings(time: float, *rows: tuple[float, float]) -> Readings:
    return Readings(0, time, 0.1, np.array(rows))


@pytest.mark.parametrize("shape", ["senml", "senml-cbor"])
def test_readings_before_the_clock_is_set_are_passed_over_with_one_word(shape, capsysbinary, caplog):
    early, late = [readings(600.0 + n, (n, n)) for n in range(3)], readings(1.7e9, (7, 8))
    with caplog.at_level(logging.WARNING):
        _show(iter([SCHEMA, *early, None, late]), shape)
    out = capsysbinary.readouterr().out
    found = from_json(out, 0) if shape == "senml" else from_cbor(out, 0)
    assert [(each.name, each.time, each.value) for each in found] == [("pump:ax", 1.7e9, 7), ("pump:temp", 1.7e9, 8)]
    assert sum("clock is not set" in message for message in caplog.messages) == 1


def test_a_channel_without_a_reading_is_null_left_out_or_none(capsysbinary):
    records = [SCHEMA, readings(1.7e9, (1.0, math.nan)), readings(1.7e9, (math.nan, math.nan))]
    _show(iter(records), "json")
    lines = [json.loads(line, parse_constant=pytest.fail) for line in capsysbinary.readouterr().out.splitlines()]
    assert [line["values"] for line in lines[1:]] == [[[1.0, None]], [[None, None]]]
    _show(iter(records), "senml")
    (pack,) = capsysbinary.readouterr().out.splitlines()
    assert [each["n"] if "n" in each else each["bn"] for each in json.loads(pack)] == ["pump:ax"]
    board, console = Board(), Console(width=120)
    for record in records:
        board.take(record)
    with console.capture() as captured:
        console.print(board.table(120))
    assert captured.get().count("none") == 2
    assert "nan" not in captured.get()
