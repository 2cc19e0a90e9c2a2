"""Bodies of masked sums at their bounds, and beyond."""

from typing import Any

import pytest
from builders import NOW, Author, identity

from learnae.errors import MessageError
from learnae.protocol.bodies import parse_body
from learnae.protocol.limits import Limits
from learnae.protocol.sum_bodies import MOST_VALUES, MaskedVector, MaskOpen, MaskReady, SumBody


def keys(count: int) -> tuple[bytes, ...]:
    return tuple(sorted(identity(number).author for number in range(count)))


def vector(members: int = 5, values: int = 1) -> MaskedVector:
    return MaskedVector(keys(members), keys(members)[::-1], bytes(4 * values))


@pytest.mark.parametrize(
    "body",
    [
        MaskReady(bytes(32), 1),
        MaskReady(bytes(32), MOST_VALUES, keys(16)),
        vector(),
        vector(16, MOST_VALUES),
        MaskOpen(bytes(32), bytes(32)),
    ],
    ids=repr,
)
def test_what_is_within_bounds_is_read_as_it_was_written(body: SumBody) -> None:
    message = Author(1).say(body=body.to_fields(), time=NOW)
    assert message.body == body
    assert len(message.data) < Limits().message_bytes


@pytest.mark.parametrize(
    ("body", "changes"),
    [
        (MaskReady(bytes(32), 1), {"values": 0}),
        (MaskReady(bytes(32), 1), {"values": MOST_VALUES + 1}),
        (MaskReady(bytes(32), 1), {"key": bytes(31)}),
        (MaskReady(bytes(32), 1), {"bound": b"".join(keys(4))}),
        (MaskReady(bytes(32), 1), {"bound": b"".join(keys(5)[::-1])}),
        (MaskReady(bytes(32), 1), {"bound": None}),
        (vector(), {"authors": b"".join(keys(4)), "keys": b"".join(keys(4))}),
        (vector(), {"authors": b"".join(keys(17)), "keys": b"".join(keys(17))}),
        (vector(), {"authors": b"".join(keys(5)[::-1])}),
        (vector(), {"authors": b"".join((*keys(4), keys(4)[-1]))}),
        (vector(), {"authors": b"".join(keys(5)) + b"1"}),
        (vector(), {"authors": b""}),
        (vector(), {"keys": b"".join(keys(6))}),
        (vector(), {"keys": bytes(5 * 32)}),
        (vector(), {"vector": b""}),
        (vector(), {"vector": bytes(5)}),
        (vector(), {"vector": bytes(4 * MOST_VALUES + 4)}),
        (vector(), {"vector": [1, 2]}),
        (MaskOpen(bytes(32), bytes(32)), {"seed": bytes(33)}),
        (MaskOpen(bytes(32), bytes(32)), {"name": "sum"}),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_is_beyond_is_refused_and_named(body: SumBody, changes: dict[str, Any]) -> None:
    with pytest.raises(MessageError, match=f"body.({'|'.join(changes)}) is"):
        parse_body({**body.to_fields(), **changes}, Limits())
