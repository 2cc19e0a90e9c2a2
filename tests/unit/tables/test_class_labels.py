"""Labels in tables: one class has one form, whatever a format makes of it; what is no class is said."""

import importlib
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learnae.errors import DataError
from learnae.tables.labels import Classes
from learnae.tables.numbers import Numbers
from learnae.tables.table import Where

COUNT = 4
PLACE = Where(Path("data.csv"), "line", range(2, 1000), "label")
NAMES = st.lists(st.sampled_from(["idle", "läuft", "x y", "true", "0", "1", "2", "3", "4", "10"]), min_size=COUNT,
                 max_size=COUNT, unique=True)  # fmt: skip


def in_every_form(label: str) -> list[Any]:
    """What formats make of one label."""
    forms: list[Any] = [np.array([text]) for text in (label, unicodedata.normalize("NFD", label))]
    forms += [[label], [f" {label} "], [unicodedata.normalize("NFD", label)]]
    if label.isdecimal():
        forms += [[f"{label}.0"], [f"{label}e0"], [f"+{label}"], np.array([int(label)]), np.array([float(label)])]
        forms += [np.array([int(label)], np.uint8), np.array([f"{label}.0"])]
    if label in ("0", "1"):
        forms += [[str(label == "1")], [str(label == "1").upper()], np.array([label == "1"])]
    return forms


def read(labels: Classes, form: Any) -> float:
    read_from = labels.of_array if isinstance(form, np.ndarray) else labels.of_texts
    return float(read_from(form, PLACE)[0])


@given(NAMES, st.data())
def test_a_label_is_one_class_in_every_form(names: list[str], data: st.DataObject) -> None:
    label = data.draw(st.sampled_from([*names, "0", "1", "2", "3"]))
    if "true" in names and label in ("0", "1"):
        return  # True is a name there
    are_numbers = any(name.isdecimal() for name in names)
    expected = float("nan")
    if label in names:
        expected = names.index(label)
    elif not are_numbers:
        expected = int(label)
    for form in in_every_form(label):
        np.testing.assert_equal(read(Classes(names, COUNT), form), expected, f"{form!r}")


@pytest.mark.parametrize("text", ["True", "TRUE", "true"])
def test_booleans_are_names_where_the_swarm_has_them(text: str) -> None:
    labels = Classes(("false", "true"), 2)
    assert read(labels, [text]) == read(labels, np.array([True])) == 1
    assert read(labels, ["False"]) == read(labels, np.array([False])) == 0
    assert read(Classes(("TRUE", "FALSE"), 2), [text]) == 0


@pytest.mark.parametrize("form", [list, np.array, lambda labels: np.array(labels, str)])
@pytest.mark.parametrize("names", [(), ("idle", "run", "stall", "off")])
def test_classes_numbered_from_one_are_refused_with_the_choices(form: Any, names: tuple[str, ...]) -> None:
    labels = Classes(names, COUNT)
    given_labels = [1, 2, 3, 4, 4, -1]
    values = form(given_labels)
    labels.of_array(values, PLACE) if isinstance(values, np.ndarray) else labels.of_texts(list(map(str, values)), PLACE)
    choice = "write the names: idle, run" if names else "name the classes by these numbers"
    words = rf"the labels 1 \(1\), 2 \(1\), 3 \(1\), 4 \(2\): numbered from 1, .* subtract one, or {choice}"
    with pytest.raises(DataError, match=words):
        labels.check("data.csv")


@pytest.mark.parametrize(
    ("names", "texts"),
    [
        ((), ["0", "1", "2", "3", "4"]),  # a mistake among good ones
        ((), ["1", "2", "3"]),  # perhaps all that this peer has
        ((), ["1", "4", "7"]),
        (("1", "2", "3", "4"), ["1", "2", "3", "4"]),
    ],
)
def test_others_are_not_taken_for_it(names: tuple[str, ...], texts: list[str]) -> None:
    labels = Classes(names, COUNT)
    labels.of_texts(texts, PLACE)
    labels.check("data.csv")


def test_unknown_labels_are_shown_with_their_counts() -> None:
    labels = Classes(("idle", "run"), 2)
    labels.of_texts(["stal", "", "idle", "NA", "stal", "0.99999999", "2"], PLACE)
    labels.of_array(np.array(["stal", "run"]), PLACE)
    assert labels.complaint == "labels that are no class: 'stal' (3), '0.99999999' (1), '2' (1)"


def test_names_of_one_form_are_no_two_classes() -> None:
    with pytest.raises(DataError, match="two of the swarm's classes have one name"):
        Classes(("1", "1.0"), 2)


@pytest.mark.modules("pyarrow")
def test_every_type_of_arrow_is_read_alike(tmp_path: Path) -> None:
    opening, arrow = (importlib.import_module(name) for name in ("learnae.tables.opening", "pyarrow"))
    numbers = [1, 0, None, 1]
    texts = arrow.array([None if number is None else str(number) for number in numbers])
    columns = {
        "int": arrow.array(numbers),
        "float": arrow.array(numbers, arrow.float32()),
        "bool": arrow.array([None if number is None else bool(number) for number in numbers]),
        "text": texts,
        "large": texts.cast(arrow.large_string()),
        "categories": texts.dictionary_encode(),
        "counted": arrow.array(numbers).dictionary_encode(),
        "decimal": arrow.array(numbers).cast(arrow.decimal128(21, 2)),
    }
    table = arrow.table(columns)
    importlib.import_module("pyarrow.parquet").write_table(table, tmp_path / "data.parquet")
    importlib.import_module("pyarrow.feather").write_feather(table, str(tmp_path / "data.feather"))
    for name in ("data.parquet", "data.feather"):
        read_from = opening.open_table(tmp_path / name)
        for names in ((), ("0", "1")):
            wanted = [(column, Classes(names, 2)) for column in columns]
            got = np.concatenate([piece.values for piece in read_from.pieces(wanted)])
            np.testing.assert_array_equal(got, np.repeat([[1], [0], [np.nan], [1]], len(columns), axis=1))
        numeric = [(column, Numbers()) for column in columns if column not in ("text", "large", "categories")]
        got = np.concatenate([piece.values for piece in read_from.pieces(numeric)])
        np.testing.assert_array_equal(got, np.repeat([[1], [0], [np.nan], [1]], len(numeric), axis=1))
