"""No command ends with a traceback, whatever it is given; nor hangs, nor fails without a word."""

from pathlib import Path

import pytest
from nightly import how_many
from wrong_calls import ROOT_NAME, Template, calls, make, spoil

CALLS = how_many(150, 2000)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Template:
    return Template(tmp_path_factory.mktemp("wrong") / ROOT_NAME)


def test_no_wrong_call_is_a_traceback(template: Template, tmp_path: Path) -> None:
    wrong = {}
    for number in range(CALLS):
        with template.copy(tmp_path / ROOT_NAME) as programs:
            spoil(programs, number)
            _, error = make(programs, call := calls(number))
        if error:
            wrong[number] = f"{call}: {error}"
    assert not wrong, "\n".join(f"call {number}: {error}" for number, error in wrong.items())
