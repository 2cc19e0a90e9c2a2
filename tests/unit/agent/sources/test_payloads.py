"""What comes over MQTT is hostile until read: numbers, or one kind of error."""

import json

import pytest
from builders import escaped
from hypothesis import given
from hypothesis import strategies as st

from agent.sources.payloads import FORMATS, MAX_BYTES, as_text, from_json, from_senml, from_tasmota
from firmware_bridge.senml.codec import Measurement, to_cbor
from learnae.errors import EncodingError

TASMOTA = json.dumps(
    {"Time": "2026-11-25T01:02:03", "SI7021": {"Temperature": 21.4, "Humidity": 40}, "TempUnit": "C"}
).encode()
ZIGBEE = json.dumps(
    {"temperature": 19.87, "humidity": 51.2, "linkquality": 120, "occupancy": True, "update": {"state": "idle"}}
).encode()
SENML = json.dumps(
    [
        {"bn": "urn:dev:ow:10e2073a01080063:", "bt": 1.276020076e9, "n": "temp", "u": "Cel", "v": 23.1},
        {"n": "humidity", "u": "%RH", "v": 67},
        {"n": "temp", "t": 1, "v": 23.5},
        {"n": "open", "vb": True},
        {"n": "name", "vs": "23"},
    ]
).encode()


@pytest.mark.parametrize(
    ("payload", "path", "value"),
    [
        (b"21.5", "", 21.5),
        (b"on", "", None),
        (b'"ON"', "", 1.0),
        (b'{"a": {"b": [1, {"c": "2.5"}]}}', "a.b.1.c", 2.5),
        (b'{"a": {"b": [1]}}', "a.b.7", None),
        (b'{"a": 1}', "b", None),
        (b'{"a": null}', "a", None),
        (b'{"a": 1e999}', "a", None),
        (b'{"a": NaN}', "a", None),
        (ZIGBEE, "temperature", 19.87),
        (ZIGBEE, "occupancy", 1.0),
        (ZIGBEE, "update", None),
    ],
)
def test_json_by_path(payload: bytes, path: str, value: float | None) -> None:
    if payload == b"on":
        with pytest.raises(EncodingError):
            from_json(payload, path)
        return
    assert from_json(payload, path) == value


@pytest.mark.parametrize(
    ("path", "value"),
    [("SI7021.Temperature", 21.4), ("temperature", 21.4), ("Humidity", 40.0), ("pressure", None), ("tempunit", None)],
)
def test_tasmota_by_path_or_by_field(path: str, value: float | None) -> None:
    assert from_tasmota(TASMOTA, path) == value


@pytest.mark.parametrize(("path", "value"), [("temp", 23.5), ("humidity", 67.0), ("open", 1.0), ("name", None)])
def test_senml_by_full_name_last_value(path: str, value: float | None) -> None:
    assert from_senml(SENML, f"urn:dev:ow:10e2073a01080063:{path}") == value
    assert from_senml(SENML, path) is None


def test_senml_adds_the_base_value() -> None:
    assert from_senml(b'[{"bn": "x", "bv": 20, "n": "y", "v": 1.5}]', "xy") == 21.5


def test_senml_may_be_cbor() -> None:
    pack = to_cbor([Measurement("lamp:light", "lx", 1.7e9, 20.5), Measurement("lamp:on", "", 1.7e9, True)])
    assert from_senml(pack, "lamp:light") == 20.5
    assert from_senml(pack, "lamp:on") == 1.0


@pytest.mark.parametrize(
    "pack",
    [
        {"n": "x", "v": 1},
        [{"n": "x", "v": "1"}],
        [{"n": "x", "v": 1e999}],
        [{"n": "x", "v": 1, "vb": True}],
        [{"n": "x", "v": 1, "must_": 1}],
        [{"bver": 11, "n": "x", "v": 1}],
        [{"n": "x", "v": 1}, {"n": "y"}],
        [{"n": "", "v": 1}],
    ],
)
def test_a_pack_that_breaks_the_rfc_is_refused_as_a_whole(pack: object) -> None:
    with pytest.raises(EncodingError):
        from_senml(json.dumps(pack).encode(), "x")


@pytest.mark.parametrize("name", FORMATS)
@given(payload=st.binary(max_size=40) | st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "bn", "n", "v", "bv"]), inner),
    max_leaves=8,
).map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_whatever_comes_is_a_number_nothing_or_one_kind_of_error(name: str, payload: bytes) -> None:
    assert escaped(lambda data: FORMATS[name](data, "a.0.v"), [payload], EncodingError) == set()


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_too_large_or_too_deep_is_refused(name: str) -> None:
    for payload in (b" " * MAX_BYTES + b"1", b"[" * MAX_BYTES, SENML + b" " * MAX_BYTES):
        with pytest.raises(EncodingError):
            FORMATS[name](payload, "a")


def test_labels_are_text_or_json() -> None:
    assert as_text(b"walking\n") == "walking"
    assert as_text(b'"walking"') == "walking"
    for bad in (b"\xff", b"a" * 65, b"a\x07b", b'"open'):
        with pytest.raises(EncodingError):
            as_text(bad)
