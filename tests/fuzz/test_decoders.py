"""A few seconds of ``make fuzz``: all that once was wrong, and some changed inputs, the same ones each time."""

import itertools
import logging
import random
import tracemalloc

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from nightly import how_many

from fuzz.decoders import DECODERS
from fuzz.mutator import Mutator
from fuzz.runner import CORPUS, MEMORY_BYTES, check, corpus, directory_of, inputs
from learnae.errors import LearnaeError

GENEROUS_SECONDS = 2.0  # of CPU: a busy machine's, under a debugger's hooks
INPUTS = how_many(60, 6000)


@pytest.fixture(autouse=True)
def quiet() -> None:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("name", DECODERS)
def test_nothing_but_our_errors_comes_of_any_bytes(name: str) -> None:
    decoder = DECODERS[name]
    count = len(decoder.seeds()) + len(corpus(name)) + max(5, INPUTS // decoder.work)
    for data in itertools.islice(inputs(name, decoder, seed=0), count):
        fault = check(name, decoder, data, GENEROUS_SECONDS)
        assert fault is None, f"{fault.why}\n{fault.data!r:.400}"


@pytest.mark.parametrize("name", DECODERS)
def test_good_bytes_are_read_within_the_memory_that_is_allowed(name: str) -> None:
    decoder, good = DECODERS[name], 0
    known = [*decoder.seeds(), *corpus(name)]
    tracemalloc.start()
    try:
        for data in known:
            try:
                decoder.decode(data)
                good += 1
            except LearnaeError:
                continue
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert good, "what is never read is not tested"
    assert peak < MEMORY_BYTES


@settings(max_examples=how_many(200, 100_000), derandomize=how_many(1, 0) > 0)
@given(st.sampled_from(sorted(DECODERS)), st.binary(max_size=200))
@example("dag-cbor", b"\xd8\x1c\x80")
def test_nor_of_bytes_that_nothing_good_was_near(name: str, data: bytes) -> None:
    if DECODERS[name].work < 40:
        fault = check(name, DECODERS[name], data, GENEROUS_SECONDS)
        assert fault is None, fault.why


def test_the_same_seed_makes_the_same_inputs_and_most_differ_from_the_good_ones() -> None:
    good = DECODERS["message"].seeds()
    first, second = (
        [mutator.next() for _ in range(500)]
        for mutator in (Mutator(good, random.Random("a"), 1 << 16), Mutator(good, random.Random("a"), 1 << 16))
    )
    assert first == second
    assert len(set(first) - set(good)) > 400


def test_a_fault_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = DECODERS["cid"].__class__(lambda data: data[50], lambda: [b"a"])
    assert "IndexError" in check("x", wrong, b"", 1.0).why
    slow = DECODERS["cid"].__class__(lambda _: sum(range(2_000_000)), lambda: [b"a"])
    assert "it takes" in check("x", slow, b"", 0.001).why


def test_each_corpus_belongs_to_a_decoder_and_is_small() -> None:
    known = {directory_of(name) for name in (*DECODERS, "parquet", "feather")}
    for path in CORPUS.glob("*/*"):
        assert path.parent in known
        assert path.stat().st_size < 10_000
