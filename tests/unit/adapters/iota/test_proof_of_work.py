"""Curl and its proof of work against pyota's own, which is slow and has been used by everybody."""

import random

import numpy as np
import pytest

from learnae.adapters.iota import pyota
from learnae.adapters.iota.proof_of_work import (
    ALPHABET,
    TRANSACTION_TRYTES,
    curl,
    hash_of,
    search,
    to_trits,
    to_trytes,
    weight,
)
from learnae.errors import EncodingError, TransportError


def random_trytes(seed: int, length: int = TRANSACTION_TRYTES) -> str:
    return "".join(random.Random(seed).choices(ALPHABET.decode(), k=length))


def pyotas_hash(trits: np.ndarray) -> np.ndarray:
    """Curl in plain Python, whatever faster one is installed."""
    pyota.load()
    from iota.crypto.pycurl import Curl

    sponge, found = Curl(), [0] * 243
    sponge.absorb(trits.tolist())
    sponge.squeeze(found)
    return np.array(found)


@pytest.mark.parametrize("trytes", [ALPHABET.decode(), "9", "MMMNNN", random_trytes(1)])
def test_trytes_and_trits_are_the_same_as_pyotas(trytes):
    trits = to_trits(trytes)
    assert trits.tolist() == pyota.load().TryteString(trytes).as_trits()
    assert to_trytes(trits) == trytes


@pytest.mark.parametrize("text", ["a", "A!", "8", "é", " "])
def test_what_are_no_trytes_is_refused(text):
    with pytest.raises(EncodingError):
        to_trits(text)


@pytest.mark.parametrize("blocks", [1, 2, 33])
def test_the_hash_is_pyotas(blocks):
    trits = to_trits(random_trytes(blocks, 81 * blocks))
    assert curl(trits).tolist() == pyotas_hash(trits).tolist()


def test_the_empty_transaction_has_the_hash_that_everybody_knows():
    assert hash_of("9" * TRANSACTION_TRYTES) == "9" * 81


@pytest.mark.parametrize("length", [0, TRANSACTION_TRYTES - 1, TRANSACTION_TRYTES + 1])
def test_only_whole_transactions_have_a_hash(length):
    with pytest.raises(EncodingError):
        hash_of("9" * length)


@pytest.mark.parametrize("seed", range(4))
def test_the_work_is_in_the_nonce_and_pyota_agrees(seed):
    trytes = random_trytes(seed)
    worked = search(trytes, 8)
    assert worked[:-27] == trytes[:-27]
    assert len(worked) == TRANSACTION_TRYTES
    found = pyotas_hash(to_trits(worked))
    assert not found[-8:].any()
    assert weight(hash_of(worked)) >= 8


def test_the_search_goes_on_beyond_one_batch():
    """Four times as many nonces as a batch has are tried on average, so the counter must carry."""
    worked = [search(random_trytes(seed), 8 if seed else 9) for seed in range(6)]
    assert all(weight(hash_of(trytes)) >= 8 for trytes in worked)
    assert len({trytes[-24:] for trytes in worked}) > 1


@pytest.mark.parametrize(
    ("name", "expected"),
    [("9" * 81, 243), ("A" * 81, 2), ("9" * 80 + "C", 1), ("9" * 80 + "E", 0), ("A" + "9" * 80, 242)],
)
def test_weight_counts_zero_trits_at_the_end(name, expected):
    assert weight(name) == expected


def test_work_can_be_stopped():
    asked = []

    def stopped() -> bool:
        asked.append(True)
        return len(asked) > 3

    with pytest.raises(TransportError, match="stopped"):
        search(random_trytes(0), 60, stopped)
    assert len(asked) == 4
