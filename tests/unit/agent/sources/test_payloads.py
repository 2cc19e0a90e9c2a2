"""What comes over MQTT is hostile until read: numbers, or one kind of error."""

import json

import pytest
from builders import escaped
from hypothesis import given
from hypothesis import strategies as st

from agent.sources.payloads import FORMATS, MAX_BYTES, Channel, as_text
from agent.sources.section import DECIMALS, PAYLOADS, TOPICS
from firmware_bridge.senml import numbers
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
        {"n": "energy", "s": 7},
    ]
).encode()


def read(kind: str, path: str, *payloads: object, decimal: str = "") -> list[float | str | None]:
    """What one channel gets of each message: a number, None, or why not."""
    channel, found = Channel(kind, path, decimal), []
    for payload in payloads:
        data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        try:
            found.append(channel.read(FORMATS[kind].load(data)))
        except EncodingError as error:
            found.append(str(error))
    return found


@pytest.mark.parametrize(
    ("payload", "path", "value"),
    [
        (b"21.5", "", 21.5),
        (b"on", "", 1.0),
        (b'"ON"', "", 1.0),
        (b"21.5 \xc2\xb0C\n", "", 21.5),
        (b"\xef\xbb\xbf7", "", 7.0),
        (b"nan", "", None),
        (b"unavailable", "", None),
        (b"", "", None),
        (b'{"a": {"b": [1, {"c": "2.5"}]}}', "a.b.1.c", 2.5),
        (b'{"a": {"b": [1]}}', "a.b.7", None),
        (b'{"a.b": {"c.d": 4}}', "a.b.c.d", 4.0),
        (b'{"a": 1}', "b", None),
        (b'{"a": null}', "a", None),
        (b'{"a": 1e999}', "a", None),
        (b'{"a": NaN}', "a", None),
        (b'{"a": 21.5, "b": nan, "c": -inf, "d": }', "a", 21.5),
        (b'{"a": 21.5, "b": "\xb0C"}', "a", 21.5),
        (ZIGBEE, "temperature", 19.87),
        (ZIGBEE, "occupancy", 1.0),
    ],
)
def test_json_by_path(payload: bytes, path: str, value: float | None) -> None:
    assert read("json", path, payload) == [value]


@pytest.mark.parametrize(
    ("payload", "path", "words"),
    [
        (b"1,234", "", "source.decimal"),
        (b"warm", "", "no number"),
        (b"1", "a", "TOPIC#"),
        (b'{"a": "1,5"}', "a", "source.decimal"),
        (b'{"a": "warm"}', "a", "no number"),
        (b'{"a": 1, "a": 2}', "a", "twice"),
        (b'{"a": {"b": 1, "c": {"d": "2 V"}, "e": "x"}}', "a", "a.b, a.c.d; name one"),
        (b'{"a": [5, 6]}', "a", "a.0, a.1; name one"),
        (b'{"a.b": 1, "a": {"b": 2}}', "a.b", "twice"),
        (b'{"a": 1', "a", "not JSON"),
    ],
)
def test_what_is_not_certain_is_refused_with_the_choices(payload: bytes, path: str, words: str) -> None:
    (found,) = read("json", path, payload)
    assert isinstance(found, str)
    assert words in found


@given(
    st.dictionaries(st.sampled_from(["temp", "hum", "p.1", "rssi"]), st.integers(-99, 99), min_size=1),
    st.lists(st.lists(st.sampled_from(["temp", "hum", "p.1", "rssi"]), unique=True, max_size=4), max_size=5),
    st.sampled_from(["name", "id", "mac"]),
)
def test_an_item_that_says_its_name_keeps_it_wherever_it_is_in_its_list(
    values: dict[str, int], orders: list[list[str]], word: str
) -> None:
    first = next(iter(values))
    present = [list(values), *([name for name in order if name in values] for order in orders)]
    messages = [{"metrics": [{word: name, "value": values[name]} for name in order]} for order in present]
    channel = Channel("json", "metrics.0.value")
    found = [channel.read(FORMATS["json"].load(json.dumps(each).encode())) for each in messages]
    assert found == [float(values[first]) if first in order else None for order in present]
    assert channel.place == f"metrics.{first}.value"
    assert read("json", channel.place, messages[0]) == [float(values[first])]
    assert "place in a list" in Channel("json", "metrics.0.value", place=channel.place).doubt({})


@pytest.mark.parametrize(
    ("kind", "path", "own", "other", "again"),
    [
        ("json", "t", {"model": "A", "id": 1}, {"model": "A", "id": 2}, {}),
        ("json", "t", {"mac": "A4:C1:38:00:00:01"}, {"mac": "A4:C1:38:00:00:02"}, {"mac": "A4:C1:38:00:00:01"}),
        ("json", "t", {"id": "A4C138000001", "seq": 1}, {"id": "A4C138000002", "seq": 2}, {"seq": 3}),
        ("json", "t", {"type": "temperature"}, {"type": "humidity"}, {"type": "temperature"}),
        ("tasmota", "DS.t", {"Id": "01"}, {"Id": "02"}, {"Id": "01"}),
    ],
)
def test_a_channel_stays_with_the_device_that_was_first(
    kind: str, path: str, own: dict, other: dict, again: dict
) -> None:
    messages: list = [{**owner, "t": value} for owner, value in ((own, 1), (other, 2), (again, 3))]
    if kind == "tasmota":
        messages = [{"DS": each} for each in messages]
    found = read(kind, path, *messages)
    assert found[::2] == [1.0, 3.0]
    assert "several devices on one topic" in str(found[1])
    assert not any(value in str(found[1]) for value in map(str, other.values()) if len(value) > 1)


def test_what_counts_messages_is_no_device() -> None:
    messages = [{"id": f"{number}", "seq": number, "uuid": f"a-{number}", "t": number} for number in range(3)]
    assert read("json", "t", *messages) == [0.0, 1.0, 2.0]


@given(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]), st.integers(0, 9))
def test_text_may_be_of_any_unicode_and_end_as_in_c(encoding: str, zeros: int) -> None:
    end = b"\0" * zeros if encoding.startswith("utf-8") else b""
    assert read("json", "t", '{"t": "21.5 °C"}'.encode(encoding) + end) == [21.5]
    assert read("json", "", "21.5".encode(encoding) + end) == [21.5]
    assert as_text("open".encode(encoding) + end) == "open"


def test_numbers_in_text_have_the_decimals_that_are_configured() -> None:
    assert read("json", "a", {"a": "1.234,5 kWh"}, {"a": 1.5}, decimal=",") == [1234.5, 1.5]


def test_a_channel_stays_in_its_unit() -> None:
    found = read("json", "p", {"p": "850 W"}, {"p": "1.2 kW"}, {"p": 900}, {"p": "0.9 kW"}, {"p": "800 W"})
    assert [found[0], found[2], found[4]] == [850.0, 900.0, 800.0]
    assert "another unit than before; let the device keep to 'W' or to 'kW'" in str(found[1])
    beside = [{"v": 1, "unit": "V"}, {"v": 1, "unit": "mV"}, {"v": 2, "unit": "21.5"}]
    assert read("json", "v", *beside)[::2] == [1.0, 2.0]
    assert "'V' or to 'mV'" in str(read("json", "v", *beside)[1])
    fahrenheit = {"TempUnit": "F", "SI7021": {"Temperature": 70}}
    assert "'C' or to 'F'" in str(read("tasmota", "temperature", TASMOTA, fahrenheit)[1])
    pack = [[{"n": "x", "u": unit, "v": 1}] for unit in ("V", "A", "")]
    assert read("senml", "x", *pack)[::2] == [1.0, 1.0]
    assert "'V' or to 'A'" in str(read("senml", "x", *pack)[1])


PLANTED = "-1.2345678"


@given(
    st.sampled_from(list(FORMATS)),
    st.recursive(
        st.sampled_from([PLANTED, f"{PLANTED} kW", f"{PLANTED} W", f"x {PLANTED}", "1,2345678", -1.2345678, None]),
        lambda inner: (
            st.lists(inner, min_size=1, max_size=3)
            | st.dictionaries(
                st.sampled_from(["a", "b", "a.b", PLANTED, f"x {PLANTED}", "n", "v", "vs"]), inner, max_size=4
            )
        ),
        max_leaves=8,
    ),
)
def test_the_status_leaves_the_machine_and_never_has_a_reading(kind: str, message: object) -> None:
    channel, said = Channel(kind, "a"), []
    for each in (message, [message], {"a": f"{PLANTED} V"}, {"a": message}):
        try:
            content = FORMATS[kind].load(json.dumps(each).encode())
        except EncodingError as error:
            said.append(error.problem)
            continue
        try:
            channel.read(content)
        except EncodingError as error:
            said.append(error.problem)
        said.append(channel.doubt(content))
    assert not [text for text in said if "2345678" in text or "kW" in text]


def test_a_path_that_is_not_there_is_told_with_what_is() -> None:
    channel = Channel("json", "temp")
    content = FORMATS["json"].load(b'{"temperature": 21.5, "air": {"humidity": "40 %", "name": "x"}, "21.75": 1}')
    assert channel.read(content) is None
    assert channel.doubt(content) == "'temp' is not in the messages, which have …, air.humidity, temperature"


def test_a_sensor_that_was_replaced_is_told_and_its_successor_named() -> None:
    channel, successor = Channel("tasmota", "temperature"), {"BME280": {"Temperature": 21.8}}
    said = []
    for message in ({"DS18B20": {"Temperature": 55.9}}, *[successor] * 4):
        content = FORMATS["tasmota"].load(json.dumps(message).encode())
        assert channel.read(content) in (55.9, None)
        said.append(channel.doubt(content))
    assert said[:3] == [""] * 3
    assert said[3] == "'temperature' (DS18B20.Temperature) is not in the messages, which have BME280.Temperature"


# -- Tasmota


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("SI7021.Temperature", 21.4),
        ("si7021.temperature", 21.4),
        ("temperature", 21.4),
        ("Humidity", 40.0),
        ("pressure", None),
    ],
)
def test_tasmota_by_path_or_by_field(path: str, value: float | None) -> None:
    assert read("tasmota", path, TASMOTA) == [value]


def sensors(*present: str, none: tuple[str, ...] = ()) -> dict:
    return {name: {"Id": "01", "Temperature": None if name in none else float(len(name))} for name in present}


names = st.lists(st.sampled_from(["A", "BB", "CCC"]), unique=True, max_size=3)


@given(st.lists(st.tuples(names, names), min_size=1, max_size=6))
def test_a_channel_stays_with_the_sensor_that_was_alone_or_is_refused(messages: list) -> None:
    payloads = [sensors(*present, none=tuple(failed)) for present, failed in messages]
    first = next((present for present, _ in messages if present), [])
    for (present, failed), found in zip(messages, read("tasmota", "temperature", *payloads), strict=True):
        if len(first) == 1:
            (own,) = first
            assert found == (float(len(own)) if own in present and own not in failed else None)
        elif not first or (found is None and not present):
            assert found is None
        else:
            assert "name one of them in source.channels" in str(found)
            assert all(f"{name}.Temperature" in str(found) for name in first)


# -- SenML


@pytest.mark.parametrize(("path", "value"), [("temp", 23.5), ("humidity", 67.0), ("open", 1.0), ("energy", 7.0)])
def test_senml_by_full_name(path: str, value: float) -> None:
    assert read("senml", f"urn:dev:ow:10e2073a01080063:{path}", SENML) == [value]
    assert read("senml", path, SENML) == [None]


@given(st.permutations([(-120, 5.5), (-60, 11.1), (0, 22.4)]), st.sampled_from([0, 1.7e9]))
def test_senml_gives_the_newest_in_any_order(records: list, base: float) -> None:
    pack = [{"bn": "x", "bt": base, "t": time, "v": value} for time, value in records]
    assert read("senml", "x", pack) == [22.4]


def test_senml_of_one_time_is_refused_and_a_newest_that_has_none_is_none() -> None:
    twice = [{"n": "x", "v": 1}, {"n": "x", "v": 2}]
    assert "several values of one time" in str(read("senml", "x", twice))
    assert read("senml", "x", [{"n": "x", "t": -1, "v": 1}, {"n": "x", "v": "nan"}]) == [None]
    assert "no number" in str(read("senml", "x", [{"n": "x", "vs": "23"}]))


def test_senml_sums_and_values_are_not_mixed() -> None:
    value, total, both = [{"n": "x", "v": 1}], [{"n": "x", "s": 8}], [{"n": "x", "v": 2, "s": 9}]
    assert read("senml", "x", value, total, both) == [1.0, None, 2.0]
    assert read("senml", "x", total, value, both) == [8.0, None, 9.0]
    assert read("senml", "x (sum)", both, value, total) == [9.0, None, 8.0]


def test_senml_adds_the_base_value() -> None:
    assert read("senml", "xy", b'[{"bn": "x", "bv": 20, "n": "y", "v": 1.5}]') == [21.5]


def test_senml_may_be_cbor() -> None:
    pack = to_cbor([Measurement("lamp:light", "lx", 1.7e9, 20.5), Measurement("lamp:on", "", 1.7e9, True)])
    assert read("senml", "lamp:light", pack) == [20.5]
    assert read("senml", "lamp:on", pack) == [1.0]
    fraction = bytes.fromhex("81a421646465763a006474656d70016343656c02c4822018e0")
    assert read("senml", "dev:temp", fraction) == [22.4]


@pytest.mark.parametrize(
    "bad", [{"n": "y"}, {"n": "é", "v": 1}, 5, {"n": "y", "v": "warm"}, {"n": "y", "v": 1, "vb": True}]
)
def test_a_bad_record_costs_itself(bad: object) -> None:
    for pack in ([{"n": "x", "v": 1}, bad], [bad, {"n": "x", "v": 1}]):
        assert read("senml", "x", pack) == [1.0]
        assert len(FORMATS["senml"].load(json.dumps(pack).encode()).faults) == 1


@pytest.mark.parametrize(
    "pack", [{"n": "x", "v": 1}, [{"n": "x", "v": 1, "must_": 1}], [{"bver": 11, "n": "x", "v": 1}]]
)
def test_a_pack_that_must_not_be_used_is_refused_as_a_whole(pack: object) -> None:
    (found,) = read("senml", "x", pack)
    assert isinstance(found, str)


# -- whatever comes


@pytest.mark.parametrize("kind", FORMATS)
@given(payload=st.binary(max_size=40) | st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "bn", "n", "v", "bv"]), inner),
    max_leaves=8,
).map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_whatever_comes_is_a_number_nothing_or_one_kind_of_error(kind: str, payload: bytes) -> None:
    def hear(data: bytes) -> None:
        channel, content = Channel(kind, "a.0.v"), FORMATS[kind].load(data)
        channel.read(content)
        channel.doubt(content)

    assert escaped(hear, [payload], EncodingError) == set()


@pytest.mark.parametrize("kind", FORMATS)
def test_what_is_too_large_or_too_deep_is_refused(kind: str) -> None:
    for payload in (b" " * MAX_BYTES + b"1", b"[" * MAX_BYTES, SENML + b" " * MAX_BYTES):
        with pytest.raises(EncodingError):
            FORMATS[kind].load(payload)


def test_labels_are_text_or_json() -> None:
    assert as_text(b"walking\n") == "walking"
    assert as_text(b'"walking"') == "walking"
    for bad in (b"\xff", b"a" * 65, b"a\x07b", b'"open'):
        with pytest.raises(EncodingError):
            as_text(bad)


def test_the_configuration_knows_what_can_be_read_without_the_modules_that_read_it() -> None:
    assert tuple(FORMATS) == PAYLOADS
    assert set(TOPICS) <= set(PAYLOADS)
    assert numbers.DECIMALS == DECIMALS
