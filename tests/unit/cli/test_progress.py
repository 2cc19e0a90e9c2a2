"""Progress is for eyes at a terminal: elsewhere, and for machines, there is none."""

import io
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from learnae.cli import progress as bars
from learnae.cli.progress import keep_quiet, progress, reading


class Terminal(io.StringIO):
    """Standard error that is a terminal, or is none."""

    is_one = True

    def isatty(self) -> bool:
        return self.is_one


@pytest.fixture(autouse=True)
def quiet_again() -> Iterator[None]:
    yield
    keep_quiet(False)


def at_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    found = Terminal()
    monkeypatch.setattr(sys, "stderr", found)
    monkeypatch.setattr(bars, "_PATIENCE_SECONDS", 0.0)
    monkeypatch.setenv("TERM", "xterm")
    return found


@dataclass
class Piece:
    """A part of a file."""

    done: float


def until_shown(terminal: Terminal) -> None:
    until = time.monotonic() + 30
    while not terminal.getvalue() and time.monotonic() < until:
        time.sleep(0.001)


def test_a_terminal_shows_it_as_it_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = at_terminal(monkeypatch)
    with progress("checking [red]blocks[/x]\x1b[2J") as done:
        done(0.25)
        until_shown(terminal)
        done(0.5)
        with progress("inside"):
            pass
    said = terminal.getvalue()
    assert "checking [red]blocks[/x]" in said
    assert "\x1b[2J" not in said
    assert "%" in said
    assert "inside" not in said


def test_pieces_go_through_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    at_terminal(monkeypatch)
    pieces = [Piece(0.5), Piece(1.0)]
    assert list(reading("rows.csv", pieces)) == pieces
    assert list(reading("rows.csv", iter(()))) == []


@pytest.mark.parametrize("why", ["no terminal", "for machines", "a terminal that cannot move"])
def test_else_nothing_is_shown(why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = at_terminal(monkeypatch)
    terminal.is_one = why != "no terminal"
    keep_quiet(why == "for machines")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb" if "move" in why else "xterm")
    with progress("checking blocks") as done:
        done(0.5)
        time.sleep(0.02)
    assert terminal.getvalue() == ""


def test_what_fails_within_is_raised_and_the_bar_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = at_terminal(monkeypatch)

    def fail() -> None:
        with progress("checking blocks"):
            until_shown(terminal)
            raise ValueError("it")

    with pytest.raises(ValueError, match="it"):
        fail()
    assert terminal.getvalue().endswith(("\x1b[2K", "\x1b[?25h", "\r"))
