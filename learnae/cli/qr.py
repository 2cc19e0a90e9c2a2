"""A code as a picture on a terminal, for phones: two modules of a QR code in each character."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TextIO

from learnae.runtime.admission.inviting import qr_modules
from learnae.system.installation import how_to_install, is_installed

_QUIET = (4, 3, 2)  # modules around it: the standard's, or as many as fit; readers need two
# by whether the lower half of a character is dark; colours are of the cube of 256, which themes leave as it is
_STYLES = ("\x1b[38;5;16;48;5;231m", "\x1b[38;5;231;48;5;16m")
_END = "\x1b[0m"
_UPPER_HALF = "▀"
_WITHOUT_COLOURS = ("dumb", "vt")  # of terminals


def terminal_picture(text: str, stream: TextIO | None = None) -> tuple[str, str]:
    """Return ``text`` (digits and capitals) as lines for the terminal at ``stream``, or none and why not.

    Black on white whatever the terminal's colours are, also under NO_COLOR: readers read nothing else. What is no
    terminal gets no picture, and no reason either.
    """
    stream = stream or sys.stdout
    if not stream.isatty() or os.environ.get("TERM", "").startswith(_WITHOUT_COLOURS):
        return "", ""
    if not _has_blocks(stream):
        return "", "LANG=C.UTF-8 shows the code as a picture, if the terminal has such characters"
    if not is_installed("segno"):
        return "", f"to see the code as a picture: {how_to_install('trainer')}"
    size = shutil.get_terminal_size()
    lines = draw(text, size.columns, size.lines - 1)
    if not lines:
        width, height = _size(qr_modules(text), _QUIET[-1])
        return "", f"a window of {width} columns and {height + 1} lines shows the code as a picture"
    return "\n".join(lines), ""


def _has_blocks(stream: TextIO) -> bool:
    """Return True unless the locale lacks them; Python itself takes the locale C for one with UTF-8 (PEP 538, 540)."""
    if (os.environ.get("LC_ALL") or os.environ.get("LANG")) in ("C", "POSIX"):
        return False
    try:
        _UPPER_HALF.encode(stream.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def draw(text: str, columns: int, rows: int) -> list[str]:
    """Return the lines of a QR code of at most ``columns`` and ``rows``, none if it does not fit."""
    modules = qr_modules(text)
    quiet = next((each for each in _QUIET if _fits(_size(modules, each), columns, rows)), None)
    if quiet is None:
        return []
    light = [False] * (len(modules) + 2 * quiet)
    around = [False] * quiet
    grid = [*[light] * quiet, *([*around, *row, *around] for row in modules), *[light] * (quiet + 1)]
    return [_line(above, below) for above, below in zip(grid[0 : len(light) : 2], grid[1::2], strict=False)]


def _line(above: list[bool], below: list[bool]) -> str:
    """Return a line in which what can be is background: letters leave seams between lines in many fonts."""
    line, style = "", ""
    for top, bottom in zip(above, below, strict=True):
        line += _STYLES[bottom] if _STYLES[bottom] != style else ""
        line += " " if top == bottom else _UPPER_HALF
        style = _STYLES[bottom]
    return line + _END


def _size(modules: list[list[bool]], quiet: int) -> tuple[int, int]:
    width = len(modules) + 2 * quiet
    return width, (width + 1) // 2


def _fits(size: tuple[int, int], columns: int, rows: int) -> bool:
    return size[0] <= columns and size[1] <= rows
