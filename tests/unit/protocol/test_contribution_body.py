"""The body of a statement of contributions at its bounds, and beyond."""

from typing import Any

import pytest
from builders import NOW, Author

from learnae.errors import MessageError
from learnae.protocol.bodies import AUTHOR_BYTES, MOST_RATED, MOST_USEFULNESS, Contributions, parse_body
from learnae.protocol.limits import Limits

NAMES = tuple(number.to_bytes(AUTHOR_BYTES, "big") for number in range(MOST_RATED + 1))


@pytest.mark.parametrize("count", [1, MOST_RATED])
def test_what_is_within_bounds_is_read_as_it_was_written(count: int) -> None:
    body = Contributions(NAMES[:count], tuple(MOST_USEFULNESS * (-1) ** place for place in range(count)))
    message = Author(1).say(body=body.to_fields(), time=NOW)
    assert message.body == body
    assert len(message.data) < 1100


@pytest.mark.parametrize(
    "changes",
    [
        {"peers": b""},
        {"peers": bytes(AUTHOR_BYTES - 1)},
        {"peers": b"".join(NAMES), "usefulness": bytes(2 * len(NAMES))},
        {"peers": NAMES[1] + NAMES[0], "usefulness": bytes(4)},
        {"peers": NAMES[0] + NAMES[0], "usefulness": bytes(4)},
        {"peers": [NAMES[0]]},
        {"usefulness": b""},
        {"usefulness": bytes(4)},
        {"usefulness": (MOST_USEFULNESS + 1).to_bytes(2, "little")},
        {"usefulness": (-MOST_USEFULNESS - 1).to_bytes(2, "little", signed=True)},
        {"usefulness": 100},
        {"usefulness": None},
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_is_beyond_is_refused_and_named(changes: dict[str, Any]) -> None:
    with pytest.raises(MessageError, match=f"body.({'|'.join(changes)}) is"):
        parse_body({**Contributions(NAMES[:1], (100,)).to_fields(), **changes}, Limits())
