"""What one field says, whatever the format of its file: a number, a label."""

import unicodedata

import numpy as np

_LONGEST_INTEGER = 1e15  # beyond, floats do not have every whole number


def number(text: str) -> float:
    """Return the number in a field; NaN if it is none: 1_000 is Python, and none."""
    try:
        return float("nan") if "_" in text else float(text)
    except ValueError:
        return float("nan")


def is_number(text: str) -> bool:
    """Return True for a number, also nan, which a row of numbers may well have and which is no name for a column."""
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text


def normal_form(text: str) -> str:
    """Return the one form of a label: NFC, without spaces around, whole numbers without point.

    >>> [normal_form(text) for text in (" run ", "1.0", "1e0", "0.5")]
    ['run', '1', '1', '0.5']
    """
    text = unicodedata.normalize("NFC", text.strip())
    value = number(text)
    return str(int(value)) if value == np.floor(value) and abs(value) < _LONGEST_INTEGER else text
