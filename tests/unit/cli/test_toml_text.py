"""What commands write as configuration is what reading it gives back."""

import tomllib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from learnae.cli.commands.swarm.join import Value, toml_text
from learnae.errors import ConfigurationError

NAMES = st.from_regex(r"[A-Za-z0-9_-]+", fullmatch=True)
TEXTS = st.text(st.characters(codec="utf-8"))
VALUES = TEXTS | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)


@example("data", {"file": '\x7f\x00\t\n"\\'}, "")
@given(NAMES, st.dictionaries(NAMES, VALUES), TEXTS.filter(str.isprintable))
def test_what_is_written_is_read_back(section: str, values: dict[str, Value], hint: str) -> None:
    assert tomllib.loads(toml_text(section, values, f"# {hint}")) == {section: values}


def test_a_path_that_is_not_utf_8_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="not UTF-8"):
        toml_text("data", {"file": "\udcff.csv"})
