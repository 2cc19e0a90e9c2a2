"""Monitor on a file: ``figures`` in the peer's own directory, a line a point of its curves, which stay here."""

import json
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from learnae.basics import strict_json
from learnae.basics.overriding import override
from learnae.errors import StateError
from learnae.ports import Inference, Monitor
from learnae.system.atomic_files import read_regular, write_atomic, writing

_log = logging.getLogger(__name__)

FIGURES = (
    "steps", "loss", "accuracy", "mae", "r2", "training_loss", "holdout_rows", "peers", "following", "messages",
    "bytes_out", "bytes_in", "epsilon",
)  # fmt: skip
_LEAST_SECONDS = 10.0  # between two points: flash memory wears out
_MOST_SECONDS = 600.0  # also where nothing is published
MOST_BYTES = 1 << 19  # some 2,500 points; then every other one goes
_MOST_VALUE = 1e300
_MOST_TIME = 253_402_300_800_000  # the year 10000, in Unix ms


class Figures(NamedTuple):
    """What a peer was at ``time`` (Unix ms): ``values`` by name, those of FIGURES that were known."""

    time: int
    values: Mapping[str, float]


class FiguresFile(Monitor):
    """Appends a point after own updates, at most every ten seconds, and now and then without one.

    A file that is too long loses every other point: the older ones are, the further they are apart.
    """

    def __init__(self, path: Path, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._monotonic = monotonic
        self._seq: object = None
        self._noted = float("-inf")
        self._failing = False

    @override
    def report(self, status: Mapping[str, Any]) -> None:
        passed = self._monotonic() - self._noted
        has_spoken = status["seq"] != self._seq and passed >= _LEAST_SECONDS
        if has_spoken or passed >= _MOST_SECONDS:
            self._note(status)

    @override
    def infer(self, results: Sequence[Inference]) -> None:
        """Do nothing: figures are of the peer, not of its data."""

    @override
    def close(self, status: Mapping[str, Any]) -> None:
        self._note(status)

    def _note(self, status: Mapping[str, Any]) -> None:
        self._seq, self._noted = status["seq"], self._monotonic()
        privacy = status.get("privacy") or {}
        known = {name: status.get(name, privacy.get(name)) for name in FIGURES}
        point = {"time": status["time"]} | {name: value for name, value in known.items() if value is not None}
        try:
            with writing(self._path):
                self._append(strict_json.dumps(point).encode() + b"\n")
        except StateError as error:  # curves that have a gap keep no peer from training
            if not self._failing:
                _log.warning("%s", error)
            self._failing = True
        else:
            self._failing = False

    def _append(self, line: bytes) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = os.open(self._path, flags, 0o600)
        try:
            size = os.fstat(descriptor).st_size
            os.write(descriptor, line)
        finally:
            os.close(descriptor)
        if size + len(line) > MOST_BYTES:
            lines = read_regular(self._path, 2 * MOST_BYTES, follow=False).splitlines(keepends=True)
            kept = [*lines[:-1:2], *lines[-1:]]  # the first and the last among them
            write_atomic(self._path, b"".join(kept), mode=0o600, durable=False)


def read_figures(path: Path) -> list[Figures]:
    """Read the points in a file, oldest first; nothing where there is none. Lines that are damaged are passed over.

    Raises StateError for a file that may not be read.
    """
    try:
        data = read_regular(path, 2 * MOST_BYTES)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StateError(f"cannot read {path}: {error.strerror}", "run it as the user it belongs to") from error
    points = filter(None, map(_point, data.splitlines()))
    return sorted(points, key=lambda point: point.time)


def _point(line: bytes) -> Figures | None:
    try:
        said = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict) or not _is_number(said.get("time")) or not 0 <= said["time"] < _MOST_TIME:
        return None
    return Figures(int(said["time"]), {name: float(said[name]) for name in FIGURES if _is_number(said.get(name))})


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _MOST_VALUE  # NaN is not
