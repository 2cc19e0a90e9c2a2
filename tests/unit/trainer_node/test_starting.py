"""What follows ``trainer-node start`` is read without the library that reads other verbs, and to the same effect."""

from pathlib import Path

import pytest
import typer

from trainer_node.cli import app
from trainer_node.starting import StartOptions


def test_each_flag_that_help_shows_is_read_and_no_other() -> None:
    shown = {
        name: parameter
        for parameter in typer.main.get_command(app).commands["start"].params  # type: ignore[attr-defined]
        for name in parameter.opts
        if name != "--help"
    }
    for name, parameter in shown.items():
        assert StartOptions.read([name] if parameter.is_flag else [name, "value"]), name
        assert (StartOptions.read([name, "value"]) is None) == parameter.is_flag
    assert {f"--{name}" for name in StartOptions.__dataclass_fields__} == shown.keys()


def test_flags_are_read_as_usual() -> None:
    given = ["--config", "a.toml", "--data=x=1.csv", "--name", "one", "--name=two", "--demo", "--json"]
    wanted = StartOptions(config=Path("a.toml"), data=Path("x=1.csv"), name="two", demo=True, json=True)
    assert StartOptions.read(given) == wanted


@pytest.mark.parametrize(
    "given", [["--help"], ["--nam", "x"], ["x"], ["--name"], ["--name", "--demo"], ["--demo=yes"], ["-v"], [""], ["--"]]
)
def test_anything_else_is_left_to_the_whole_command_line(given: list[str]) -> None:
    assert StartOptions.read(given) is None
