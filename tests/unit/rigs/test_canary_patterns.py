"""The search for planted readings finds each of them, and no number that peers rightly publish."""

import json

import numpy as np
import pytest
from canary import FORMATS, leaks_in, patterns, private_readings

from learnae.ipld import dagcbor

READINGS = private_readings(11, 300)
PLANTED = patterns(READINGS[::50])


@pytest.mark.parametrize("form", ["<f8", ">f8"])
def test_a_single_reading_is_found_as_float64(form: str) -> None:
    for value in READINGS[::50].ravel():
        assert list(leaks_in(b"noise" + np.array([value], form).tobytes() + b"noise", PLANTED))


def test_a_single_reading_is_found_in_a_message_and_in_text() -> None:
    for value in map(float, READINGS[::50].ravel()):
        assert list(leaks_in(dagcbor.encode({"loss": value}), PLANTED))
        for text in (json.dumps({"x": value}), f"{value:.6f}", f"{value:.7f}", str(np.float32(value))):
            assert list(leaks_in(text.encode(), PLANTED)), text


@pytest.mark.parametrize("form", FORMATS)
def test_neighbours_are_found_in_every_format(form: str) -> None:
    for row in READINGS[::50]:
        array = row.astype(form)
        assert list(leaks_in(b"noise" + array.tobytes()[array.itemsize :], PLANTED))


def test_numbers_that_may_be_published_are_no_readings() -> None:
    """Losses in float32, probabilities and times as decimals; of the old planted ones, thousands would be found."""
    every = np.abs(READINGS[::50]).astype(np.float64).ravel()
    legitimate = [dagcbor.encode({"loss": float(value)}) for value in every]
    legitimate += [json.dumps({"score": float(value), "time": 1.7e9 + float(value)}).encode() for value in every]
    means = np.rint(READINGS[::50].astype(np.float64) * 1024).ravel() / 1024
    legitimate.append(dagcbor.encode({"mean": means.tolist()}))
    assert [found for data in legitimate for found in leaks_in(data, PLANTED)] == []
