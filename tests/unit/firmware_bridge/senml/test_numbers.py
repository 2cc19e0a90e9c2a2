"""The one number reader: what is a number, what is none now, and what is refused because it may be several."""

import json
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.senml.numbers import Quantity, load_json, read_number
from learnae.errors import EncodingError

UNITS = [
    "°C",
    "hPa",
    "%",
    "%RH",
    "µg/m3",
    "m/s2",
    "m/s^2",
    "kWh",
    "1/min"[1:],
    "m³",
    "K",
    "V",
    "seconds",
    "\ufffdC",
    "s-1",
]
NOTHING = ["nan", "NaN", "-nan", "+inf", "-Infinity", "nan(0x7ff)", "-nan(ind)", "1.#IND", "-1.#QNAN0", "", " ",
           "--", "null", "None", "undefined", "N/A", "unknown", "Unavailable", "nan °C", "1e999", None,
           math.nan, -math.inf]  # fmt: skip
TEXTS = ["warm", "2026-11-25", "12:30", "12h30", "1d2h", "0x1F", "0b1", "1_000", "1 2", "21.5 22.5", "1.2.3", "5e", "٣",
         "1+1", "5 or 6", "/min", "°C", "9" * 65, "1'000", "10k", "3 M", "1.2G"]  # fmt: skip

numerals = st.from_regex(r"\A[-+]?([0-9]{1,6}(\.[0-9]{0,6})?|\.[0-9]{1,6})([eE][-+]?[0-9]{1,2})?\Z")


def refused(value: object, decimal: str = "") -> str:
    with pytest.raises(EncodingError) as caught:
        read_number(value, decimal)
    return str(caught.value)


@given(numerals, st.sampled_from(["", *UNITS]), st.booleans(), st.booleans())
def test_a_numeral_means_the_same_with_any_unit(numeral: str, unit: str, is_spaced: bool, is_typographic: bool) -> None:
    text = numeral.replace("-", "\u2212", 1) if is_typographic and numeral[0] == "-" else numeral
    assert read_number(f" {text}{' ' * is_spaced if unit else ''}{unit} ") == Quantity(float(numeral), unit)


@given(st.text(max_size=12) | st.text("0123456789.,-+eExmk%°C nafi/_'", max_size=10), st.sampled_from(["", ".", ","]))
def test_any_text_is_the_number_that_it_begins_with_or_none(text: str, decimal: str) -> None:
    try:
        found = read_number(text, decimal)
    except EncodingError:
        return
    if found is None or text.strip().lower() in ("on", "off", "true", "false"):
        return
    assert math.isfinite(found.value)
    digits = text.strip().removesuffix(found.unit).strip()
    assert re.fullmatch(r"[-+\u2212]?[0-9.,]+([eE][-+]?[0-9]+)?", digits)
    assert decimal or "," not in digits
    thousands, point = {"": ("", "."), ".": (",", "."), ",": (".", ",")}[decimal]
    if thousands:
        digits = digits.replace(thousands, "").replace(point, ".")
    assert found.value == float(digits.replace("\u2212", "-"))


@pytest.mark.parametrize("value", NOTHING)
def test_words_for_no_reading_are_no_reading(value: object) -> None:
    assert read_number(value) is None


@pytest.mark.parametrize("value", [*TEXTS, [1], {"a": 1}, b"1"])
def test_what_is_no_number_is_refused(value: object) -> None:
    refused(value)


@pytest.mark.parametrize(
    ("value", "number"), [("ON", 1), ("off", 0), ("True", 1), (True, 1), (False, 0), (10**400, None)]
)
def test_switches_are_numbers(value: object, number: float | None) -> None:
    assert read_number(value) == (None if number is None else Quantity(number))


@given(st.from_regex(r"\A-?[0-9.]{0,5},[0-9.,]{0,5}\Z"), st.sampled_from(["", " °C"]))
def test_a_comma_is_refused_with_the_choices_until_it_is_said_what_it_is(digits: str, unit: str) -> None:
    assert 'source.decimal to "," or "."' in refused(digits + unit)


@pytest.mark.parametrize(
    ("text", "with_comma", "with_point"),
    [
        ("21,5 °C", 21.5, None), ("1,234", 1.234, 1234.0), ("1.234,5", 1234.5, None), ("1,234.5", None, 1234.5),
        ("1.234", 1234.0, 1.234), ("21.5", None, 21.5), ("-7", -7.0, -7.0), ("1,2,3", None, None), ("1e3", None, 1e3),
    ],
)  # fmt: skip
def test_a_comma_is_what_the_configuration_says(text: str, with_comma: float | None, with_point: float | None) -> None:
    for decimal, number in ((",", with_comma), (".", with_point)):
        if number is None:
            refused(text, decimal)
        else:
            found = read_number(text, decimal)
            assert found is not None
            assert found.value == number


WORDS = ["nan", "-nan", "inf", "-Infinity", "NaN", "undefined", "", "1.#IND", "nan(ind)", "0x1F", "21.5C", "?"]


@given(
    st.dictionaries(
        st.text(max_size=4),
        st.tuples(st.just(True), st.sampled_from(WORDS))
        | st.tuples(st.just(False), st.floats(-1e9, 1e9) | st.text(max_size=6) | st.none() | st.booleans()),
        max_size=6,
    )
)
def test_a_bare_word_in_json_costs_its_own_field_only(fields: dict[str, tuple[bool, object]]) -> None:
    written = [
        f"{json.dumps(name)}: {value if is_word else json.dumps(value)}" for name, (is_word, value) in fields.items()
    ]
    found = load_json("{" + ", ".join(written) + "}")
    assert found.keys() == fields.keys()
    for name, (is_word, value) in fields.items():
        assert read_number(found[name]) is None if is_word else found[name] == value


@given(st.dictionaries(st.text(max_size=3), numerals, max_size=4))
def test_numerals_that_json_does_not_know_are_numbers(numbers: dict[str, str]) -> None:
    found = load_json("[{" + ",".join(f"{json.dumps(name)}:{text}" for name, text in numbers.items()) + "}]")[0]
    assert {name: read_number(value) for name, value in found.items()} == {
        name: Quantity(float(text)) for name, text in numbers.items()
    }


def test_a_name_that_is_there_twice_is_no_number() -> None:
    assert "twice" in refused(load_json('{"a": 1, "a": 2}')["a"])


@pytest.mark.parametrize("text", ["{", "[1,", '{"a" 1}', '"\\"' * 30_000, "[" * 60_000, '"' * 59_999, "1 2"])
def test_what_is_no_json_stays_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        load_json(text)
