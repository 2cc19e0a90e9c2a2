"""Codes as pictures: what a terminal shows is read by zbar, whatever its colours."""

import io
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from programs import wait_for
from screens import Screen, decoded

from learnae.cli import qr
from learnae.ipld.cid import DAG_CBOR, Cid
from learnae.membership.codes.invite_code import MAX_CHARACTERS, InviteCode

PEER = "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA"
LONGEST = InviteCode(
    Cid.of(DAG_CBOR, b"manifest"), bytes(range(32)), (f"/ip4/192.0.2.7/udp/4002/p2p/{PEER}",)
).to_text()
WITH_LOGIN = InviteCode(Cid.of(DAG_CBOR, b"manifest"), bytes(32), ("mqtt://h",), ("u" * 64, "w" * 64)).to_text()
PROGRAM = "import sys; from learnae.cli.qr import terminal_picture; print(*terminal_picture(sys.argv[1])); input()"


@pytest.fixture(scope="module")
def screen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Screen]:
    with Screen(tmp_path_factory.mktemp("screen")) as found:
        yield found


@pytest.mark.engine("Xvfb", "xterm", "zbarimg")
@pytest.mark.modules("segno")
@pytest.mark.parametrize("colours", [("black", "white"), ("white", "black"), ("#002b36", "#839496")])
def test_a_window_of_80_x_24_shows_a_code_that_is_read(
    screen: Screen, colours: tuple[str, str], tmp_path: Path
) -> None:
    assert len(LONGEST) == MAX_CHARACTERS
    options = ["-geometry", "80x24", "-bg", colours[0], "-fg", colours[1], "-fa", "DejaVu Sans Mono", "-fs", "10"]
    command = ["xterm", "-u8", *options, "-e", sys.executable, "-c", PROGRAM, LONGEST]
    environment = {**os.environ, "DISPLAY": screen.display, "LC_ALL": "C.UTF-8", "NO_COLOR": "1"}
    terminal = subprocess.Popen(command, env=environment)
    try:
        wait_for(lambda: decoded(screen.picture(), tmp_path / "screen.png") == LONGEST, "a code that zbar reads")
    finally:
        terminal.terminate()
        terminal.wait()


@pytest.mark.engine("zbarimg")
@pytest.mark.modules("segno")
@pytest.mark.parametrize(("text", "columns", "rows"), [(LONGEST, 45, 23), (LONGEST, 49, 25), (WITH_LOGIN, 200, 60)])
def test_the_widest_quiet_zone_that_fits_is_drawn(text: str, columns: int, rows: int, tmp_path: Path) -> None:
    lines = qr.draw(text, columns, rows)
    assert len(lines) <= rows
    assert all(len(re.sub("\x1b[^m]*m", "", line)) <= columns for line in lines)
    assert decoded(_as_picture(lines), tmp_path / "lines.png") == text
    if columns == 45:
        assert not qr.draw(text, columns - 1, rows)
        assert not qr.draw(text, columns, rows - 1)


@pytest.mark.parametrize(
    ("encoding", "size", "variables", "said"),
    [
        ("utf-8", (80, 24), {"TERM": "dumb"}, ""),
        ("utf-8", (80, 24), {"TERM": "vt220"}, ""),
        ("utf-8", (80, 24), {"LC_ALL": "C"}, "LANG=C.UTF-8 shows the code"),
        ("utf-8", (80, 24), {"LANG": "POSIX"}, "LANG=C.UTF-8 shows the code"),
        ("ascii", (80, 24), {}, "LANG=C.UTF-8 shows the code"),
        ("iso8859-1", (80, 24), {}, "LANG=C.UTF-8 shows the code"),
        ("utf-8", (40, 24), {}, "a window of 45 columns and 24 lines shows the code"),
        ("utf-8", (80, 10), {}, "a window of 45 columns and 24 lines shows the code"),
    ],
)
def test_where_no_picture_can_be_shown_the_text_is_enough(
    encoding: str, size: tuple[int, int], variables: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.TextIOWrapper):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("LANG", "C.UTF-8")
    monkeypatch.delenv("LC_ALL", raising=False)
    for key, value in variables.items():
        monkeypatch.setenv(key, value)
    monkeypatch.setattr(shutil, "get_terminal_size", lambda: os.terminal_size(size))
    picture, why = qr.terminal_picture(LONGEST, Terminal(io.BytesIO(), encoding))
    assert not picture
    assert said in why
    assert bool(why) == bool(said)
    assert qr.terminal_picture(LONGEST, io.StringIO()) == ("", "")


def _as_picture(lines: list[str]) -> Image.Image:
    """Draw lines as a terminal does."""
    data = b""
    for line in lines:
        above, below, is_light = bytearray(), bytearray(), False
        for style, letter in re.findall("\x1b\\[([0-9;]+)m|(.)", line):
            if style:
                is_light = style == "38;5;16;48;5;231"
            else:
                below.append(255 * is_light)
                above.append(255 * (is_light != (letter == "▀")))
        data += above + below
    width, height = len(above), 2 * len(lines)
    return Image.frombytes("L", (width, height), data).resize((width * 6, height * 6))
