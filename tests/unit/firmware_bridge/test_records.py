"""Records: they read back as they were; what is wrong, too large or of a later version is met by rule."""

import struct

import numpy as np
import pytest
from boards_protocol import SCHEMA, readings
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.errors import RecordError
from firmware_bridge.records import MAX_BYTES, Event, Label, LinkState, Listen, Splitter, from_bytes, to_bytes
from learnae.ipld import dagcbor


@pytest.mark.parametrize(
    "record",
    [
        SCHEMA,
        Label(12.5, "walking"),
        Label(12.5, ""),
        Event(0.0, "door"),
        LinkState(1.0, "missed", "too slow", 7),
        Listen("pump-1", 40),
    ],
)
def test_a_record_reads_back_as_it_was(record):
    data = to_bytes(record)
    assert struct.unpack(">I", data[:4])[0] == len(data) - 4
    assert from_bytes(data[4:]) == record


def test_readings_read_back_as_they_were_column_by_column():
    sent = readings(100, 3)
    got = from_bytes(to_bytes(sent)[4:])
    np.testing.assert_array_equal(got.values, sent.values)
    assert (got.sequence, got.time, got.step, got.rows) == (100, sent.time, sent.step, 3)
    np.testing.assert_allclose(got.times, sent.time + np.arange(3) / 50)
    column = dagcbor.decode(to_bytes(sent)[4:])["values"][:24]
    assert struct.unpack("<3d", column) == (100.25, 101.25, 102.25)


def test_readings_can_be_cut_at_the_front():
    cut = readings(10, 5).after(2)
    assert (cut.sequence, cut.rows) == (12, 3)
    np.testing.assert_allclose(cut.times, readings(10, 5).times[2:])
    np.testing.assert_array_equal(cut.values, readings(10, 5).values[2:])


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"kind": 5}, "kind"),
        ({"rows": 0}, "rows"),
        ({"rows": 4}, "values"),
        ({"values": b""}, "values"),
        ({"values": "text"}, "values"),
        ({"values": struct.pack("<10d", *[float("inf")] * 10)}, "values"),
        ({"values": bytes(8 * 5 * 33)}, "values"),
        ({"time": -1.0}, "time"),
        ({"time": 1e300}, "time"),
        ({"step": -0.1}, "step"),
        ({"sequence": -1}, "sequence"),
        ({"sequence": 2**60}, "sequence"),
    ],
)
def test_wrong_readings_are_refused_by_name(changes, names):
    fields = {"kind": "readings", **readings(0).to_fields(), **changes}
    with pytest.raises(RecordError, match=names):
        from_bytes(dagcbor.encode(fields))


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"names": ["a"], "units": []}, "names"),
        ({"names": [], "units": []}, "names"),
        ({"names": ["a", "a"]}, "names"),
        ({"names": [str(number) for number in range(33)]}, "names"),
        ({"rate": 0.0}, "rate"),
        ({"rate": 1e9}, "rate"),
        ({"stream": "x" * 65}, "stream"),
        ({"board": "a\nb"}, "board"),
    ],
)
def test_a_wrong_schema_is_refused_by_name(changes, names):
    with pytest.raises(RecordError, match=names):
        from_bytes(dagcbor.encode({"kind": "schema", **SCHEMA.to_fields(), **changes}))


def test_unknown_kinds_and_fields_of_a_later_version_are_passed_over():
    assert from_bytes(dagcbor.encode({"kind": "picture", "data": b"1"})) is None
    assert from_bytes(dagcbor.encode({"kind": "label", **Label(1.0, "a").to_fields(), "more": 1})) == Label(1.0, "a")


def test_a_record_too_large_is_not_sent():
    with pytest.raises(RecordError, match="at most"):
        to_bytes(readings(0, MAX_BYTES // 16))


@given(st.binary(max_size=300))
def test_any_bytes_are_records_or_a_named_error(data):
    splitter = Splitter()
    try:
        splitter.feed(data)
    except RecordError:
        return
    assert len(splitter._buffer) <= MAX_BYTES + 4


def test_a_stream_is_cut_wherever_it_is_read():
    data = to_bytes(SCHEMA) + to_bytes(Label(1.0, "a"))
    splitter = Splitter()
    found = [record for byte in data for record in splitter.feed(bytes([byte]))]
    assert found == [SCHEMA, Label(1.0, "a")]
