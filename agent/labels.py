"""Labels: names of classes to numbers, and the label that a person gives with ``learnae-agent label NAME``."""

import json
import logging
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from learnae.errors import ConfigurationError, NotWrittenError
from learnae.system.atomic_files import create_once, read_regular, write_atomic
from learnae.tables.forms import normal_form
from learnae.text import shown

_log = logging.getLogger(__name__)

UNKNOWN = -1  # of readings whose class is not known
FILE = "label"
_TAKEN_SUFFIX = ".taken"  # of the file while it is read
_MAX_BYTES = 4096  # of the file
_MOST_NAMES = 16  # of labels that are no classes
_SHOWN_CHARACTERS = 40  # of one of them
_MAX_SECONDS = 7 * 86_400.0  # that a label may hold by itself


class LabelNames:
    """Numbers of a swarm's classes; a swarm without names has class numbers only.

    Labels that are none of them are counted in ``unknown``, by name in ``unknown_names``, and logged once each.
    """

    def __init__(self, classes: Sequence[str], count: int) -> None:
        self._classes = list(classes)
        self._places = {normal_form(name): place for place, name in enumerate(classes)}
        self._count = count
        self.unknown = 0
        self.unknown_names: dict[str, int] = {}

    def number(self, text: str) -> int:
        """Return the class of that name or number; UNKNOWN, and counted, if there is none."""
        found = self._find(text)
        if found == UNKNOWN and text:
            self._count_unknown(text[:_SHOWN_CHARACTERS])
        return found

    def name(self, number: int) -> str:
        """Return what people call the class."""
        return self._classes[number] if number < len(self._classes) else str(number)

    def check(self, text: str) -> None:
        """Raise ConfigurationError unless it names a class."""
        if self._find(text) == UNKNOWN:
            raise ConfigurationError(f"there is no class {text!r} in this swarm", f"there are {self._known()}")

    def _find(self, text: str) -> int:
        form = normal_form(text)
        if form in self._places:
            return self._places[form]
        if not self._classes and form.isascii() and form.isdecimal() and len(form) < 10 and int(form) < self._count:
            return int(form)
        return UNKNOWN

    def _known(self) -> str:
        return shown(self._classes) or f"numbers below {self._count}"

    def _count_unknown(self, text: str) -> None:
        self.unknown += 1
        if text not in self.unknown_names:
            if len(self.unknown_names) >= _MOST_NAMES:
                return
            _log.warning("label %r is none of %s: readings are unlabelled (counted from now on)", text, self._known())
        self.unknown_names[text] = self.unknown_names.get(text, 0) + 1


def write_label(directory: Path, label: str, seconds: float | None) -> None:
    """Tell the agent of ``directory`` what its readings are from now on, for ``seconds`` or until told otherwise."""
    if seconds is not None and not 0 < seconds <= _MAX_SECONDS:
        raise ConfigurationError(f"a label for {seconds:g} s", f"use more than 0 and at most {_MAX_SECONDS:.0f} s")
    if not directory.is_dir():
        raise ConfigurationError(f"there is no agent at {directory}", "start it first")
    # its directory is closed already, and root may write it for a service of another user
    write_atomic(directory / FILE, json.dumps({"label": label, "seconds": seconds}).encode(), mode=0o644)


class GivenLabel:
    """Reads the label file again and again. One with seconds is taken once and counted by the monotonic clock."""

    def __init__(self, directory: Path, names: LabelNames, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = directory / FILE
        self._names = names
        self._clock = clock
        self._seen: tuple[int, int] | None = None
        self._number = UNKNOWN
        self._until = float("inf")

    def now(self) -> int:
        """Return the class that holds now, or UNKNOWN."""
        self._look()
        if self._clock() >= self._until:
            self._number, self._until = UNKNOWN, float("inf")
        return self._number

    def _look(self) -> None:
        try:
            status = self._path.stat()
        except OSError:
            if self._seen is not None and self._until == float("inf"):
                self._number = UNKNOWN
            self._seen = None
            return
        stamp = (status.st_mtime_ns, status.st_ino)
        if stamp != self._seen:
            self._seen = stamp
            self._take()

    def _take(self) -> None:
        try:
            label, seconds = _read(self._path)
            if seconds is not None:  # a restart must not begin to count again
                label, seconds = self._take_away()
        except FileNotFoundError:
            return
        except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError, NotWrittenError) as error:
            _log.warning("%s is no label: %s; it is ignored", self._path, error)
            return
        self._number = self._names.number(label)
        self._until = float("inf") if seconds is None else self._clock() + min(seconds, _MAX_SECONDS)
        _log.info("readings are labelled %s from now on", label or "with nothing")

    def _take_away(self) -> tuple[str, float | None]:
        """Read the file once more while taking it away: it may have been replaced since it was read."""
        taken = self._path.with_name(FILE + _TAKEN_SUFFIX)
        os.replace(self._path, taken)
        self._seen = None
        label, seconds = _read(taken)
        if seconds is None:  # it holds until another one is given, so it stays, unless that is so already
            create_once(self._path, taken.read_bytes())
        taken.unlink()
        return label, seconds


def _read(path: Path) -> tuple[str, float | None]:
    fields = json.loads(read_regular(path, _MAX_BYTES))
    return str(fields["label"]), None if fields["seconds"] is None else float(fields["seconds"])
