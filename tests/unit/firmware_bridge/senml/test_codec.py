"""SenML in and out: RFC 8428's own examples, and what breaks its rules."""

import base64
import json
import math
from decimal import Decimal

import cbor2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.errors import SenmlError
from firmware_bridge.records import Channel, Readings, Schema
from firmware_bridge.senml.codec import (
    MAX_BYTES,
    MAX_MEASUREMENTS,
    Measurement,
    from_cbor,
    from_json,
    measurements_of,
    to_cbor,
    to_json,
)

NOW = 1.7e9


def read(*records: dict) -> list[Measurement]:
    return from_json(json.dumps(records), NOW)


# -- examples of the RFC


def test_multiple_measurements_of_section_5_1_3():
    found = read(
        {
            "bn": "urn:dev:ow:10e2073a0108006:",
            "bt": 1.276020076001e9,
            "bu": "A",
            "bver": 5,
            "n": "voltage",
            "u": "V",
            "v": 120.1,
        },
        {"n": "current", "t": -5, "v": 1.2},
        {"n": "current", "t": -4, "v": 1.3},
    )
    assert found == [
        Measurement("urn:dev:ow:10e2073a0108006:voltage", "V", 1276020076.001, 120.1),
        Measurement("urn:dev:ow:10e2073a0108006:current", "A", 1276020071.001, 1.2),
        Measurement("urn:dev:ow:10e2073a0108006:current", "A", 1276020072.001, 1.3),
    ]


def test_times_without_a_date_count_from_now_as_in_section_4_5_3():
    assert [each.time for each in read({"n": "a", "v": 1}, {"n": "a", "t": -30, "v": 1})] == [NOW, NOW - 30]


def test_all_kinds_of_values_of_section_5_1_5():
    found = read(
        {"bn": "d:", "n": "label", "vs": "Machine Room"}, {"n": "open", "vb": False}, {"n": "nfc", "vd": "aGkgCg"}
    )
    assert [each.value for each in found] == ["Machine Room", False, b"hi \n"]


def test_the_cbor_example_of_section_6():
    hexadecimal = (
        "87a721781b75726e3a6465763a6f773a3130653230373361303130383030363a22fb41d303a15b00106223614120050067766f6c746167650161"
        "560 2fb405e066666666666".replace(" ", "")
    )
    whole = (
        hexadecimal + "a3006763757272656e74062402fb3ff3333333333333" + "a3006763757272656e74062302fb3ff4cccccccccccd"
    )
    whole = "83" + whole[2:]
    found = from_cbor(bytes.fromhex(whole), NOW)
    assert found[0] == Measurement("urn:dev:ow:10e2073a0108006:voltage", "V", 1276020076.001, 120.1)
    assert found[2] == Measurement("urn:dev:ow:10e2073a0108006:current", "A", 1276020072.001, 1.3)


def test_base_values_and_sums_are_added():
    found = read({"bn": "m", "bv": 20, "bs": 100, "v": 1.5, "s": 1}, {"v": 2.5}, {"s": 7})
    assert [(each.value, each.sum) for each in found] == [(21.5, 101), (22.5, 100), (None, 107)]


def test_base_fields_may_come_alone_and_change():
    found = read({"bn": "a"}, {"v": 1}, {"bn": "b"}, {"v": 2})
    assert [each.name for each in found] == ["a", "b"]


# -- what breaks the rules


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({"v": 1}, "n"),
        ({"n": "_a", "v": 1}, "letter, digit or slash first"),
        ({"n": "a b", "v": 1}, "letters"),
        ({"n": "a"}, "one of v"),
        ({"n": "a", "v": 1, "vs": "x"}, "one value"),
        ({"n": "a", "v": "warm"}, "no number"),
        ({"n": "a", "v": "1,5"}, "comma"),
        ({"n": "a", "v": [1]}, "no number"),
        ({"n": "a", "u": "K", "v": "21 °C"}, "another unit"),
        ({"n": "a", "bv": "x", "v": 1}, "number"),
        ({"n": "a", "v": 1e301}, "number"),
        ({"n": "a", "vb": 2}, "true or false"),
        ({"n": "a", "vd": "a?"}, "base64url"),
        ({"n": "a", "v": 1, "bver": 11}, "at most 10"),
        ({"n": "a", "v": 1, "must_": 1}, "understood"),
        ({"n": "a", "v": 1, "t": 1e30}, "t"),
        ({"n": "a", "v": 1, "t": -2e9}, "since 1970"),
    ],
)
def test_what_breaks_the_rules_is_refused_by_name(record, words):
    with pytest.raises(SenmlError, match=words):
        read(record)


def test_unknown_fields_are_passed_over():
    assert read({"n": "a", "v": 1, "later": [1]}) == [Measurement("a", "", NOW, 1.0)]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"nonsense",
        b"[NaN]",
        b"[" * 100_000,
        b" " * (MAX_BYTES + 1),
        b"[1]",
        b"\xff",
    ],
)
def test_what_is_no_pack_is_refused(data):
    with pytest.raises(SenmlError):
        from_json(data, NOW)


def test_a_pack_of_too_many_records_is_refused():
    with pytest.raises(SenmlError, match=str(MAX_MEASUREMENTS)):
        from_json(b"[" + b"{}," * MAX_MEASUREMENTS + b"{}]", NOW)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_pack_or_a_named_error(data):
    for reader in (from_json, from_cbor):
        try:
            reader(data, NOW)
        except SenmlError:
            continue


@pytest.mark.parametrize("value", [[{0: "a", 2: cbor2.CBORTag(28, 1)}], {"n": 1}, [{"n": "a", 0: "b"}]])
def test_wrong_cbor_is_refused(value):
    with pytest.raises(SenmlError):
        from_cbor(cbor2.dumps(value), NOW)


# -- every record on its own merits

BAD = [  # records that cost themselves, or their value; of what follows them nothing
    1, {"n": "é", "v": 1}, {"n": "a", "v": 1, "t": "x"}, {"n": "a", "u": 3, "v": 1}, {"n": "a", "t": 1e30, "v": 1},
    {"n": "a"}, {"n": "a", "v": "warm"}, {"n": "a", "v": "1,5"}, {"n": "a", "v": 1, "vs": "x"}, {"n": "a", "vd": "?"},
    {"n": "a", "v": 1e301},
]  # fmt: skip
NONE = [{"n": "a", "v": None}, {"n": "a", "v": "nan"}, {"n": "a", "vb": "unavailable"}, {"n": "a", "s": "-inf"}]
quarters = st.integers(-1000, 1000).map(lambda n: n / 4)
truths = st.lists(
    st.tuples(
        st.sampled_from(["dev:", "dev:b", "/3303/"]),  # base name
        st.sampled_from(["", "0", "temp"]),
        st.sampled_from(["", "V", "Cel"]),
        st.integers(2 * 10**9, 10**10).map(lambda n: n / 4)
        | st.integers(-1000, 1000).map(float),  # of a date, or from now
        st.one_of(quarters, st.booleans(), st.text("ab ", max_size=3), st.binary(max_size=3), st.none()),
        quarters | st.none(),  # sum
    ).filter(lambda row: row[4] is not None or row[5] is not None),
    max_size=6,
)


def split(draw, total: float) -> tuple[float, float]:
    """A base, and what is added to it."""
    base = draw(quarters)
    return base, total - base


@given(st.data(), truths, st.sampled_from(["json", "cbor"]))
def test_bases_resolve_and_a_bad_record_costs_itself(data, rows, shape):
    pack, expected, bad = [], [], 0
    for base_name, name, unit, time, value, total in rows:
        record: dict = {"bn": base_name, "n": name}
        record["bt"], record["t"] = split(data.draw, time)
        record["bu" if data.draw(st.booleans()) else "u"] = unit
        record.setdefault("bu", "")
        if isinstance(value, float):
            record["bv"], record["v"] = split(data.draw, value)
            text = repr(record["v"])
            forms = [
                record["v"],
                text,
                f"{text} {unit}",
                Decimal(text) if shape == "cbor" else f"+{text}".replace("+-", "-"),
            ]
            record["v"] = data.draw(st.sampled_from(forms))
        elif value is not None:
            kind = {bool: "vb", str: "vs", bytes: "vd"}[type(value)]
            record[kind] = (
                base64.urlsafe_b64encode(value).decode().rstrip("=") if kind == "vd" and shape == "json" else value
            )
        record["bs"], record["s"] = split(data.draw, total) if total is not None else (0.0, 0.0)
        if total is None:
            del record["s"]
            record["bs"] = 0
        pack.append({name: each for name, each in record.items() if name != "n" or each})
        moment = time if time >= 2**28 else NOW + time
        expected.append(Measurement(base_name + name, unit, moment, value, 0.0 if total is None else total))
        for wrong in data.draw(st.lists(st.sampled_from(BAD), max_size=2)):
            pack.append(wrong)
            bad += 1
    faults: list = []
    if shape == "json":
        found = from_json(json.dumps(pack), NOW, faults)
    else:
        labels = dict(zip(("bver", "bn", "bt", "bu", "bv", "bs"), range(-1, -7, -1), strict=True))
        labels |= {name: label for label, name in enumerate(("n", "u", "v", "vs", "vb", "s", "t", "ut", "vd"))}
        whole = [{labels[name]: v for name, v in r.items()} if isinstance(r, dict) else r for r in pack]
        found = from_cbor(cbor2.dumps(whole), NOW, faults)
    good = [each for each in found if not isinstance(each.value, float) or not math.isnan(each.value)]
    assert good == expected
    assert len(faults) == bad
    assert [each.is_dated for each in good] == [row[3] >= 2**28 for row in rows]


def test_a_value_that_is_none_now_is_no_fault_and_keeps_its_name():
    faults: list = []
    found = from_json(json.dumps([*NONE, {"n": "b", "v": 1}]), NOW, faults)
    assert not faults
    assert [each.name for each in found] == ["a"] * len(NONE) + ["b"]
    assert [each.number is not None and math.isnan(each.number) for each in found] == [True] * len(NONE) + [False]


@pytest.mark.parametrize("record", [{"n": "a", "v": 1, "must_": 1}, {"bver": 11}, {"bver": "x"}])
def test_what_must_be_understood_costs_the_pack(record):
    with pytest.raises(SenmlError):
        from_json(json.dumps([{"n": "b", "v": 1}, record]), NOW, [])


def test_the_number_of_a_measurement_is_its_value_or_its_sum():
    found = read({"bn": "a", "u": "W", "v": 2, "s": 9}, {"u": "W", "s": 9}, {"vb": True}, {"vs": "2"}, {"vd": "aGk"})
    assert [each.number for each in found] == [2.0, 9.0, 1.0, None, None]
    assert [each.number_unit for each in found[:2]] == ["W", "W s"]


# -- writing


names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9\-:./_]{0,8}", fullmatch=True)
values = st.one_of(st.floats(-1e9, 1e9), st.booleans(), st.text("abc ", max_size=5), st.binary(max_size=5))
written = st.builds(
    Measurement, names, st.sampled_from(["", "V", "m/s2"]), st.integers(2 * 10**9, 10**10).map(lambda n: n / 4), values
)


@given(st.lists(written, max_size=8))
def test_what_is_written_reads_back_as_it_was(measurements):
    assert from_json(to_json(measurements), NOW) == measurements
    assert from_cbor(to_cbor(measurements), NOW) == measurements


def test_a_channel_without_a_reading_is_left_out():
    schema = Schema("s", "pump", "1", (Channel("ax", "m/s2"), Channel("temp", "Cel")), 50.0)
    readings = Readings(0, 1.7e9, 0.02, np.array([[0.5, math.nan]]))
    assert [each.name for each in measurements_of(schema, readings)] == ["pump:ax"]


def test_readings_become_a_small_pack():
    schema = Schema("s", "pump", "1", (Channel("ax", "m/s2"), Channel("temp", "Cel")), 50.0)
    readings = Readings(0, 1.7e9, 0.02, np.array([[0.5, 21.25], [0.75, 21.5]]))
    pack = json.loads(to_json(measurements_of(schema, readings)))
    assert pack == [
        {"bn": "pump:", "bt": 1.7e9, "n": "ax", "u": "m/s2", "v": 0.5},
        {"n": "temp", "u": "Cel", "v": 21.25},
        {"n": "ax", "u": "m/s2", "v": 0.75, "t": 0.02},
        {"n": "temp", "u": "Cel", "v": 21.5, "t": 0.02},
    ]
    assert from_cbor(to_cbor(measurements_of(schema, readings)), 0) == from_json(json.dumps(pack), 0)


@pytest.mark.parametrize(
    "wrong", [Measurement("a b", "", NOW, 1.0), Measurement("a", "", 5.0, 1.0), Measurement("a", "", NOW, float("inf"))]
)
def test_what_senml_cannot_say_is_not_written(wrong):
    with pytest.raises(SenmlError):
        to_json([wrong])


def test_it_needs_no_serial_port():
    import subprocess
    import sys

    program = "import sys, firmware_bridge.senml.codec; print('serial' in sys.modules, 'cobs' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (cbor2.dumps([{0: "a", 2: 1}]) + b"\x00", "other bytes behind it"),
        (b"\x81\xa3\x00\x61a\x02\x01\x02\x05", "Duplicate map key"),
        (cbor2.dumps([{0: "a", "n": "b", 2: 1}]), "by name and by number"),
    ],
)
def test_cbor_that_may_mean_two_things_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(SenmlError, match=words):
        from_cbor(data, NOW, [])


def test_cbor_in_a_tag_and_without_a_value_is_read() -> None:
    pack = cbor2.dumps(cbor2.CBORTag(55799, [{0: "a", 2: 1}, {0: "b", 2: cbor2.undefined}, {0: "c", -77: 1, 2: 3}]))
    faults: list = []
    assert [str(each.number) for each in from_cbor(pack, NOW, faults)] == ["1.0", "nan", "3.0"]
    assert not faults
