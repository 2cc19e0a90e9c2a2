"""What people read: tables that show what others say of themselves, and nothing more."""

import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from rich.table import Table

from learnae.cli import output
from learnae.cli.output import fitting, human_bytes, human_time, peer_table, print_fields, table
from learnae.runtime.observer import PeerView
from learnae.text import counted

VIEW = PeerView(
    peer="abcdefgh" + "2" * 44,
    name="pump",
    shown="pump",
    role="agent",
    version="0.1.0",
    seq=4,
    steps=12_345,
    samples=678,
    summary=False,
    loss=0.25,
    accuracy=0.5,
    mae=None,
    r2=None,
    epsilon=None,
    delta=None,
    heard=10_000,
    bytes_out=2048,
    bytes_in=0,
    banned=False,
)


@pytest.fixture(autouse=True)
def width(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    def resize(columns: int) -> None:
        monkeypatch.setattr(output.console, "width", columns)

    resize(200)
    return resize


def drawn(result: Table) -> str:
    with output.console.capture() as capture:
        output.console.print(result)
    return capture.get()


def shown(view: PeerView, now: int = 13_000) -> str:
    return drawn(peer_table("title", [view], now))


def test_a_private_peer_shows_what_is_spent_and_no_rows() -> None:
    said = shown(replace(VIEW, epsilon=3.991, delta=1e-5, loss=None, accuracy=None))
    assert "4.00" in said
    assert "private" in said
    assert "678" not in said
    assert "epsilon" not in shown(VIEW)


def test_a_peer_is_shown_with_its_figures() -> None:
    said = shown(VIEW)
    for word in ("pump", "abcdefgh", "agent", "12,345", "678", "0.250", "0.500", "3 s ago", "2.0 KiB", "0 B"):
        assert word in said


def test_a_regression_shows_what_it_explains_and_a_small_loss_all_its_digits() -> None:
    said = shown(replace(VIEW, loss=0.000123, accuracy=None, mae=0.0271, r2=0.875))
    assert re.search(r"R² .*MAE", said)
    assert "accuracy" not in said
    for word in ("0.000123", "0.0271", "0.875"):
        assert word in said


@pytest.mark.parametrize("columns", [60, 80, 100, 120])
def test_a_narrow_terminal_shows_fewer_columns_whole(width: Callable[[int], None], columns: int) -> None:
    width(columns)
    said = shown(VIEW)
    assert "…" not in said
    assert max(map(len, said.splitlines())) <= columns
    for word in ("pump", "12,345", "0.250", "0.500"):
        assert word in said
    assert ("abcdefgh" in said) == (columns >= 100)


@pytest.mark.parametrize("columns", [20, 40, 60, 100])
@pytest.mark.parametrize("name", ["ann", "a-name-that-is-much-longer-than-a-narrow-terminal-has-room-for", "水" * 40])
def test_the_piece_of_a_key_is_never_what_is_cut_off(width: Callable[[int], None], columns: int, name: str) -> None:
    width(columns)
    shown = (f"{name}#abcdefgh", f"{name}#ijklmnop")
    said = drawn(peer_table("title", [replace(VIEW, shown=shown[0]), replace(VIEW, shown=shown[1], banned=True)], 0))
    assert "#abcdefgh" in said
    assert "#ijklmnop" in said
    assert said.count(name[0]) >= 2
    assert "(banned)" in said or columns < 60


def test_nobody_is_an_answer() -> None:
    assert "no peer has spoken yet: start one" in drawn(peer_table("title", [], 0))


def test_what_fits_nowhere_is_shown_at_its_smallest(width: Callable[[int], None]) -> None:
    width(10)
    wide, small = (table("", [name], [["x" * 20]]) for name in ("wide", "small"))
    assert fitting([wide, small]) is small


def test_what_is_wrapped_is_all_there(width: Callable[[int], None]) -> None:
    width(40)
    said = drawn(table("", ["remedy"], [[" ".join(map(str, range(30)))]], wrap=True))
    assert re.findall(r"\d+", said) == [str(number) for number in range(30)]


def test_what_a_peer_has_not_said_is_a_dash_and_a_ban_is_seen() -> None:
    assert len(re.findall(r" - ", shown(replace(VIEW, loss=None, accuracy=None)))) == 2
    assert "pump (banned)" in shown(replace(VIEW, banned=True))


def test_a_peer_that_only_sends_summaries_is_seen() -> None:
    said = shown(replace(VIEW, summary=True))
    assert "summary" in said
    assert "~678" in said
    assert "summary" not in shown(VIEW)


def test_a_peer_whose_clock_is_ahead_was_heard_just_now() -> None:
    assert "0 s ago" in shown(VIEW, now=0)


@pytest.mark.parametrize("name", ["[/x]", "[bold]loud[/bold]", "[link=http://example.org]me[/link]"])
def test_a_peers_name_is_shown_as_it_is(name: str) -> None:
    assert name in shown(replace(VIEW, shown=name))


@pytest.mark.parametrize(
    ("count", "expected"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1 << 20, "1.0 MiB"), (1 << 40, "1024.0 GiB")],
)
def test_sizes_have_units(count: int, expected: str) -> None:
    assert human_bytes(count) == expected


def test_times_are_local() -> None:
    assert re.fullmatch(r"2023-11-1[45] \d\d:\d\d:20", human_time(1_700_000_000_000))


def test_fields_are_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    print_fields({"a": 1, "long": "x"})
    assert capsys.readouterr().out == "a     1\nlong  x\n"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (counted(0, "peer"), "0 peers"),
        (counted(1, "peer"), "1 peer"),
        (counted(2, "peer"), "2 peers"),
        (counted(1, "of weights", "of weights"), "1 of weights"),
        (counted(2, "block that is", "blocks that are"), "2 blocks that are"),
    ],
)
def test_one_is_singular_and_all_others_are_plural(said: str, shown: str) -> None:
    assert said == shown
