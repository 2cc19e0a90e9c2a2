"""Lines of text files of any size and Unicode encoding, read in blocks; a line has a bounded length."""

import codecs
import io
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from learnae.basics.overriding import override
from learnae.errors import DataError

_log = logging.getLogger(__name__)

LONGEST_LINE = 1 << 22  # characters: room for 100,000 columns
BLOCK_BYTES = 1 << 18  # its numbers take four times that, and what the C library keeps grows
_HEAD_BYTES = 4096  # that tell the encoding
_TELLING_BYTES = 16  # at least, where no mark tells it
# UTF-32 begins as UTF-16 does
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
          (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))  # fmt: skip
NOTHING = "\0\x1a"  # what a power cut, and DOS, leave behind the last line


class Lines(Iterator[str]):
    """Physical lines, with their ends. ``number`` is that of the last one, from 1.

    The last line has no end where ``is_cut``: it may be whole, or what a power cut has left of one. Zeros behind it
    are passed over, and said. Raises DataError for text of another encoding, and for a line without end.
    """

    def __init__(self, path: Path, data: IO[bytes], raw: IO[bytes], block_bytes: int = BLOCK_BYTES) -> None:
        self.number = 0
        self.characters = 0  # of the lines that were given one by one
        self.is_cut = False
        self._path = path
        self._data = data
        self._raw = raw
        self._size = max(path.stat().st_size, 1)
        self._block_bytes = block_bytes
        self._head: bytes = data.read(_HEAD_BYTES)
        self.encoding = _encoding(self._head)
        self._decoder = codecs.getincrementaldecoder(self.encoding)()
        self._lines: list[str] = []
        self._rest = ""
        self._read_lines = 0  # for the place of bytes that are no text
        self._ended = False

    @property
    def done(self) -> float:
        """Return the share of the file that has been read."""
        return min(self._raw.tell() / self._size, 1.0)

    @override
    def __next__(self) -> str:
        if not self._lines and not self.fill():
            raise StopIteration
        self.number += 1
        line = self._lines.pop()
        self.characters += len(line)
        return line

    def fill(self, wanted: int = 1) -> bool:
        """Read on until ``wanted`` lines wait, or the end comes; return whether any waits."""
        while len(self._lines) < wanted and not self._ended:
            self._read()
        return bool(self._lines)

    @property
    def waiting(self) -> list[str]:
        """Return the lines that have been read and not been taken."""
        return self._lines[::-1]

    def take(self, count: int) -> None:
        """Take lines that wait."""
        del self._lines[len(self._lines) - count :]
        self.number += count

    @property
    def has_waiting(self) -> bool:
        """Return True if lines have been read that have not been taken."""
        return bool(self._lines)

    def _read(self) -> None:
        data = self._head + self._data.read(self._block_bytes) if self._head else self._data.read(self._block_bytes)
        self._head = b""
        text = self._decode(data)
        lines = io.StringIO(self._rest + text, newline="").readlines()
        self._rest = ""
        if not data:
            self._ended = True
            self._end(lines)
        elif lines and not lines[-1].endswith("\n"):
            # half a line, or one whose second character of CR LF is still to come
            self._rest = lines.pop()
            kept = self._rest.rstrip(NOTHING)
            self._rest = kept + self._rest[len(kept) :][:1]  # a file may end in any number of zeros
        for index, line in enumerate((*lines, self._rest), self.number + len(self._lines) + 1):
            if len(line) > LONGEST_LINE:
                raise DataError(
                    f"{self._path}, line {index} has more than {LONGEST_LINE} characters", "give one row a line"
                )
        self._lines = lines[::-1] + self._lines

    def _end(self, lines: list[str]) -> None:
        if not lines or lines[-1].endswith(("\n", "\r")):
            return
        last = lines.pop()
        kept = last.rstrip(NOTHING)
        if kept != last:
            _log.warning("%s ends in zeros, as after a power cut: they are passed over", self._path)
        if kept.strip():
            lines.append(kept)
            self.is_cut = True

    def _decode(self, data: bytes) -> str:
        try:
            text = self._decoder.decode(data)
        except UnicodeDecodeError as error:
            line = self._read_lines + error.object[: error.start].count(b"\n") + 1
            found = error.object[error.start : error.start + 1].hex()
            raise DataError(
                f"cannot read {self._path}: line {line} has the byte 0x{found}, which is no {self.encoding}",
                "save it as UTF-8: iconv -f latin1 -t utf-8, or in a spreadsheet 'CSV UTF-8'",
            ) from error
        self._read_lines += text.count("\n")
        return text


def _encoding(head: bytes) -> str:
    for mark, name in _MARKS:
        if head.startswith(mark):
            return name
    text = head.rstrip(b"\0")
    even, odd = text[::2], text[1::2]
    if len(text) >= _TELLING_BYTES and odd.count(0) > 0.4 * len(odd) and not even.count(0):
        return "utf-16-le"
    if len(text) >= _TELLING_BYTES and even.count(0) > 0.4 * len(even) and not odd.count(0):
        return "utf-16-be"
    return "utf-8"
