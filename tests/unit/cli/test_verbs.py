"""Verbs under headings: each once, those without one at the end, and a page that begins with what the verb is for."""

import argparse
import re

import pytest

from learnae.cli.main import _parser
from learnae.cli.verbs import add_verbs


@pytest.mark.parametrize("columns", ["60", "100"])
def test_each_verb_is_listed_once_and_its_page_says_what_it_is_for(
    columns: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    parser = _parser()
    (verbs,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    text = parser.format_help()
    for name, page in verbs.choices.items():
        assert len(re.findall(rf"^    {name} ", text, re.MULTILINE)) == 1, name
        assert page.description, name
    assert re.findall(r"^  (\w[\w ]*):$", text, re.MULTILINE)[0] == "start here"


def test_what_no_heading_has_comes_last() -> None:
    parser = argparse.ArgumentParser("it")
    verbs = add_verbs(parser, groups={"look": ("peers", "gone")})
    for name in ("other", "peers"):
        verbs.add_parser(name, help=f"the {name}")
    said = parser.format_help().partition("verbs:")[2].split()
    assert said == ["look:", "peers", "the", "peers", "more:", "other", "the", "other"]
