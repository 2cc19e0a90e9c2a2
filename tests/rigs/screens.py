"""A terminal window on a screen that exists in memory alone, and what a camera would see of it."""

from __future__ import annotations

import os
import struct
import subprocess
from pathlib import Path

from PIL import Image


class Screen:
    """An X server (Xvfb) with its picture in a file of ``directory``."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / "Xvfb_screen0"
        read, write = os.pipe()
        command = ["Xvfb", "-displayfd", str(write), "-screen", "0", "1000x800x24", "-nolisten", "tcp"]
        self._server = subprocess.Popen([*command, "-fbdir", str(directory)], pass_fds=[write])
        os.close(write)
        with os.fdopen(read) as display:
            self.display = f":{display.readline().strip()}"

    def __enter__(self) -> Screen:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.terminate()
        self._server.wait()

    def picture(self) -> Image.Image:
        """Return what is on the screen now (XWD file format, version 7)."""
        data = self._file.read_bytes()
        header = struct.unpack(">25I", data[:100])
        size, width, height, stride, colours = header[0], header[4], header[5], header[12], header[19]
        return Image.frombytes("RGB", (width, height), data[size + colours * 12 :], "raw", "BGRX", stride)


def decoded(picture: Image.Image, file: Path) -> str:
    """Return what zbar reads in a picture, by way of ``file``; empty for nothing."""
    picture.save(file)
    found = subprocess.run(["zbarimg", "--quiet", "--raw", file], check=False, capture_output=True, text=True)
    return found.stdout.strip()
