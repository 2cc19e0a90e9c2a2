"""The firmware library in this process, as it runs on a board, in a time that the caller makes up.

What is built is kept in build/native under the name of its sources' hash, so that it is built once.
"""

import ctypes
import hashlib
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).parents[2]
LIBRARY = ROOT / "firmware_bridge" / "firmware" / "src"
_UNSIGNED = ctypes.c_uint32


def build(name: str, command: Sequence[object], sources: Sequence[Path]) -> Path:
    """Run ``command -o FILE`` unless it was run on these sources before; return the file."""
    digest = hashlib.sha256(repr([str(word) for word in command]).encode())
    for source in [*sources, LIBRARY / "learnae.c", LIBRARY / "learnae.h"]:
        digest.update(source.read_bytes())
    target = ROOT / "build" / "native" / f"{name}-{digest.hexdigest()[:16]}"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        half = target.with_suffix(f".{os.getpid()}")
        words = [*map(str, command), "-o", str(half)]
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
        if done.returncode != 0:
            raise AssertionError(f"{' '.join(words)}: {done.stderr}")
        half.rename(target)
    return target


class HostBoard:
    """Three channels whose samples follow from their number; ``memory`` bytes for what is not confirmed."""

    CHANNELS = 3
    SCALES = (1000, 100, 1)  # value = integer / scale

    def __init__(self, memory: int = 512, rows: int = 4, rate: float = 100.0) -> None:
        self._library = load_library()
        self._board = self._library.host_new(memory, rows, round(rate * 1000))
        self._buffer = ctypes.create_string_buffer(1 << 16)

    def close(self) -> None:
        """Free it."""
        self._library.host_free(self._board)

    def describe(self, text: bytes, channels: int, rows: int, rate: float) -> bool:
        """Call learnae_describe; ``text`` must live as long as the board."""
        return bool(self._library.host_describe(self._board, text, channels, rows, round(rate * 1000)))

    def sample(self, ticks: int) -> bool:
        """Take the next sample."""
        return bool(self._library.host_sample(self._board, ticks & 0xFFFFFFFF))

    def flush(self) -> None:
        """Call learnae_flush."""
        self._library.host_flush(self._board)

    def tell(self, frame_type: int, kind: int, text: str) -> bool:
        """Call learnae_tell."""
        return bool(self._library.host_tell(self._board, frame_type, kind, text.encode()))

    def poll(self, ticks: int) -> None:
        """Call learnae_poll."""
        self._library.host_poll(self._board, ticks & 0xFFFFFFFF)

    def receive(self, data: bytes) -> None:
        """Take bytes from the bridge."""
        self._library.host_receive(self._board, data, len(data))

    def take(self) -> bytes:
        """Return the bytes that the board has sent since the last call."""
        count = self._library.host_take(self._board, self._buffer, len(self._buffer))
        if self._library.host_lost(self._board):
            raise AssertionError("the board has sent more than was taken out")
        return self._buffer.raw[:count]

    @property
    def index(self) -> int:
        """Return how many samples were taken, dropped ones counted."""
        return int(self._library.host_index(self._board))

    @property
    def session(self) -> int:
        """Return the session as the bridge has named it."""
        return int(self._library.host_session(self._board))

    @property
    def frames(self) -> int:
        """Return how many frames wait to be confirmed."""
        return int(self._library.host_frames(self._board))

    def commanded(self, rate: bool) -> int:
        """Return the last set-rate (mHz) or time (Unix seconds) that came."""
        return int(self._library.host_commanded(self._board, rate))


def expected_values(index: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return what samples of these numbers must read as (rows, channels): host_value of host_board.c, scaled."""
    number = index.astype(np.uint64)
    mixed = (number * 2654435761 % (1 << 32)) ^ (number >> 7)
    integers = [number % 65536, mixed >> 16, number // 256 % 256]
    shifted = [integers[0].astype(np.float64) - 32768, integers[1].astype(np.float64) - 32768, integers[2]]
    return np.stack([column / scale for column, scale in zip(shifted, HostBoard.SCALES, strict=True)], axis=1)


def load_library() -> ctypes.CDLL:
    """Build and load host_board.c with the firmware library."""
    source = Path(__file__).with_name("host_board.c")
    command = ["gcc", "-std=c99", "-O2", "-shared", "-fPIC", f"-I{LIBRARY}", source, LIBRARY / "learnae.c"]
    library = ctypes.CDLL(str(build("host_board", command, [source])))
    library.host_new.restype = ctypes.c_void_p
    library.host_new.argtypes = [ctypes.c_uint16, ctypes.c_uint8, _UNSIGNED]
    text, byte, flag = ctypes.c_char_p, ctypes.c_uint8, ctypes.c_bool
    others: dict[str, tuple[Any, list[Any]]] = {
        "free": (None, []),
        "describe": (flag, [text, byte, byte, _UNSIGNED]),
        "sample": (flag, [_UNSIGNED]),
        "flush": (None, []),
        "tell": (flag, [byte, byte, text]),
        "poll": (None, [_UNSIGNED]),
        "receive": (None, [text, _UNSIGNED]),
        "take": (_UNSIGNED, [text, _UNSIGNED]),
        "lost": (_UNSIGNED, []),
        "index": (_UNSIGNED, []),
        "session": (_UNSIGNED, []),
        "frames": (_UNSIGNED, []),
        "commanded": (_UNSIGNED, [flag]),
    }
    for name, (result, arguments) in others.items():
        function = getattr(library, f"host_{name}")
        function.restype, function.argtypes = result, [ctypes.c_void_p, *arguments]
    return library
