"""Packs that the library ``senml`` of PyPI reads, too, mean the same here. Nightly.

It implements draft-ietf-core-senml-02. RFC 8428 differs, and is kept to here: base fields may come in any record and
hold until the next (section 4.1), there is a base sum (section 4.1), small times count from now (section 4.5.3), and
octets are base64url (section 4.3). The packs of this test have base fields in their first record, none of the rest.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nightly import how_many
from programs import clean_environment, succeed

from firmware_bridge.senml.codec import from_json

pytestmark = pytest.mark.skipif(how_many(1, 0) > 0, reason="takes too long for every change: make nightly")

NOW = 1.7e9
PACKAGES = ("senml==0.1.0", "attrs==25.3.0")  # CBOR, which it wants more for, is only written by it
READER = """
import json, sys
from senml import SenMLDocument
for line in sys.stdin:
    document = SenMLDocument.from_json(json.loads(line))
    absolute = [each.to_absolute(document.base) for each in document.measurements]
    print(json.dumps([[each.name, each.unit or "", each.time, each.value, each.sum] for each in absolute]), flush=True)
"""

NUMBERS = st.floats(-1e9, 1e9) | st.integers(-(2**40), 2**40)
BASES = st.fixed_dictionaries(
    {"bn": st.sampled_from(["urn:dev:ow:10e2073a01080063:", "a", "a/"]), "bt": st.floats(1e9, 1.6e9)},
    optional={"bu": st.sampled_from(["V", "Cel"]), "bv": NUMBERS, "bver": st.integers(1, 10)},
)
MORE = {
    "n": st.from_regex(r"\A[A-Za-z0-9\-:./_]{1,8}\Z"),
    "u": st.sampled_from(["A", "%RH"]),
    "t": st.floats(-1e6, 1e6),
    "s": NUMBERS,
}
TEXT = st.text(st.characters(codec="ascii", categories=["L", "N", "P"]), max_size=8)
VALUES = st.one_of(
    st.fixed_dictionaries({name: kind}, optional={key: value for key, value in MORE.items() if key != name})
    for name, kind in (("v", NUMBERS), ("vs", TEXT), ("vb", st.booleans()), ("s", NUMBERS))
)
PACKS = st.builds(lambda base, first, rest: [{**base, **first}, *rest], BASES, VALUES, st.lists(VALUES, max_size=4))


@pytest.fixture(scope="module")
def other() -> Iterator["subprocess.Popen[str]"]:
    """The other reader: packs on its standard input, a line each, are resolved on its output."""
    place = Path(__file__).parents[4] / "build" / "senml-0.1.0"
    if not (place / "senml").is_dir():
        succeed(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", place, *PACKAGES)
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    environment = clean_environment(PYTHONPATH=str(place))
    with subprocess.Popen([sys.executable, "-c", READER], env=environment, **pipes) as process:
        yield process


@settings(max_examples=5000, deadline=None)
@given(pack=PACKS)
def test_both_read_the_same(other: "subprocess.Popen[str]", pack: list[dict[str, Any]]) -> None:
    assert other.stdin is not None
    assert other.stdout is not None
    print(json.dumps(pack), file=other.stdin, flush=True)
    found = json.loads(other.stdout.readline())
    ours = [[each.name, each.unit, each.time, each.value, each.sum] for each in from_json(json.dumps(pack), NOW)]
    assert ours == found
    assert [[type(value) is bool for value in row] for row in ours] == [
        [type(value) is bool for value in row] for row in found
    ]
