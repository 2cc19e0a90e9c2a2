"""Every bound at its edge: as docs/protocol.md says, taken there and refused one beyond."""

import dataclasses
import re
from pathlib import Path

import cbor2
import numpy as np
import pytest
from builders import NOW, Author, new_tangle, offer

from learnae.errors import EncodingError, FrameError, FutureError, LimitError
from learnae.ipld import cid, dagcbor
from learnae.membership import key_epochs, ledger, policy, records, sealing
from learnae.peer.masking import heard
from learnae.protocol import announcements, bodies, chain, identity, messages, sum_bodies
from learnae.protocol.bodies import Metrics
from learnae.protocol.limits import Limits
from learnae.protocol.neighbourhood import attention, interest
from learnae.weights import frames
from learnae.weights.codecs import codec_named

PAGE = (Path(__file__).parents[3] / "docs" / "protocol.md").read_text()
BOUNDS = {name: float(value) for name, value in re.findall(r"^\| `([a-z_]+\.\w+)` \| (\d+) \|", PAGE, re.M)}
MODULES = (announcements, bodies, chain, cid, dagcbor, frames, identity, messages)
MODULES += (attention, heard, interest, key_epochs, ledger, policy, records, sealing, sum_bodies)
PARTS = {module.__name__.rpartition(".")[2]: module for module in MODULES}


def test_the_page_has_every_limit() -> None:
    assert {name for name in BOUNDS if name.startswith("limits.")} == {
        f"limits.{field.name}" for field in dataclasses.fields(Limits)
    }


@pytest.mark.parametrize("name", BOUNDS)
def test_a_bound_is_what_the_page_says(name: str) -> None:
    part, attribute = name.split(".")
    assert getattr(PARTS.get(part, Limits()), attribute) == BOUNDS[name]


@pytest.mark.parametrize("value", [-(2**63), 2**63 - 1])
def test_integers_of_64_bits_are_the_last_that_are_encoded(value: int) -> None:
    assert dagcbor.decode(dagcbor.encode(value)) == value
    beyond = value + (1 if value > 0 else -1)
    with pytest.raises(EncodingError, match="64 bits"):
        dagcbor.encode(beyond)
    with pytest.raises(EncodingError, match="64 bits"):
        dagcbor.decode(cbor2.dumps(beyond))


@pytest.mark.parametrize("wrap", [lambda inner: [inner], lambda inner: {"a": inner}], ids=["list", "map"])
def test_nesting_is_taken_as_deep_as_said_and_no_deeper(wrap) -> None:
    value: object = 0
    for _ in range(dagcbor.MAX_DEPTH):
        value = wrap(value)
    assert dagcbor.decode(dagcbor.encode(value)) == value
    with pytest.raises(EncodingError, match="nested deeper than 32"):
        dagcbor.encode(wrap(value))
    with pytest.raises(EncodingError, match="nested deeper than 32"):
        dagcbor.decode(cbor2.dumps(wrap(value)))


@pytest.mark.parametrize("tag", [28, 29, 25, 256])
def test_no_tag_of_shared_values_is_followed(tag: int) -> None:
    with pytest.raises(EncodingError) as refused:
        dagcbor.decode(cbor2.dumps(cbor2.CBORTag(tag, 0)))
    error: BaseException | None = refused.value
    while error is not None and "reference to a shared value" not in str(error):
        error = error.__cause__
    assert error is not None  # by its number, before it could multiply anything


def test_a_loss_is_cut_on_both_sides_and_never_no_number() -> None:
    cut = [Metrics(loss, None, 1).bounded() for loss in (-1e300, -2.0, 3.0, 1e300)]
    assert [metrics.loss for metrics in cut if metrics] == [-1e15, -2.0, 3.0, 1e15]
    assert Metrics(float("nan"), None, 1).bounded() is None
    assert Metrics(1.0, None, 1, 1e300, -1e300).bounded() == Metrics(1.0, None, 1, 1e15, -1e15)
    assert Metrics(1.0, None, 1, float("nan"), float("nan")).bounded() == Metrics(1.0, None, 1)


def test_codecs_hold_their_ranges() -> None:
    assert codec_named("f16").decode(codec_named("f16").encode(np.float32([1e9, -1e9])), 2).tolist() == [65504, -65504]
    assert [codec_named("q8").size(count) for count in (1, 256, 257)] == [5, 260, 265]


def test_the_largest_weight_is_taken_and_no_larger_one() -> None:
    policy = frames.FramePolicy()
    for sign in (1, -1):
        frames.encode_frame(np.float32([sign * frames.MAX_MAGNITUDE]), None, None, policy)
        with pytest.raises(FrameError):
            frames.encode_frame(np.float32([sign * frames.MAX_MAGNITUDE * 1.001]), None, None, policy)


def test_a_date_is_taken_up_to_the_skew_and_the_error_says_how_far_ahead() -> None:
    limits, tangle = Limits(), new_tangle()
    tangle.attach(Author(1).say(time=NOW + limits.skew), NOW)
    with pytest.raises(FutureError, match=r"is dated 301 s ahead"):
        tangle.attach(Author(2).say(time=NOW + limits.skew + 1000), NOW)


def test_the_rate_is_taken_at_its_limit_and_the_error_says_how_fast() -> None:
    limits, author = Limits(), Author(1)
    first, second, third = author.chain(3, step=limits.interval)
    assert len(offer(new_tangle(), first, second, third).attached) == 3
    hasty = author.say(time=third.time + limits.interval - 1)
    tangle = new_tangle()
    offer(tangle, first, second, third)
    with pytest.raises(LimitError, match=r"^\w{8} speaks every 19 ms"):
        tangle.attach(hasty, NOW)
