"""Monitor on a file: ``status.json`` in the peer's state directory, and a line in the log."""

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from learnae.basics import strict_json
from learnae.basics.headline import headline
from learnae.basics.overriding import override
from learnae.errors import StateError
from learnae.ports import Inference, Monitor
from learnae.system.atomic_files import write_atomic
from learnae.text import counted

_log = logging.getLogger(__name__)

_FILE_SECONDS = 0.5  # between two writes: flash memory wears out, and people read no faster
_LOG_SECONDS = 30.0  # between two lines of the log


class StatusFile(Monitor):
    """Replaces a file with the status at most twice a second, and logs a line every half minute."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._written = self._logged = float("-inf")
        self._counted: Mapping[str, int] = {}
        self._failing = False  # the last time; logged once
        self._unwritable = False
        self._listening = False

    @override
    def report(self, status: Mapping[str, Any]) -> None:
        self._log_new_errors(status)
        self._log_unwritable(status)
        self._log_listening(status)
        now = time.monotonic()
        if now - self._logged >= _LOG_SECONDS:
            self._logged = now
            _log.info(summary(status))
        if now - self._written >= _FILE_SECONDS:
            self._written = now
            self._write(status)

    @override
    def infer(self, results: Sequence[Inference]) -> None:
        """Do nothing: the status shows the peer, not its data."""

    @override
    def close(self, status: Mapping[str, Any]) -> None:
        """Write now, whatever was written last."""
        self._write(status)

    def _write(self, status: Mapping[str, Any]) -> None:
        try:
            write_atomic(self._path, strict_json.dumps(status, indent=1).encode(), durable=False)
        except StateError as error:  # a status that cannot be shown keeps no peer from training
            if not self._failing:
                _log.warning("%s", error)
            self._failing = True
        else:
            self._failing = False

    def _log_new_errors(self, status: Mapping[str, Any]) -> None:
        counts: Mapping[str, int] = status["problems"]
        for name in counts:
            if name not in self._counted:
                _log.warning("%s: %s (counted in status from now on)", name, status["last_problems"].get(name))
        self._counted = counts

    def _log_unwritable(self, status: Mapping[str, Any]) -> None:
        """Log once at the beginning and once at the end."""
        found = status["unwritable"]
        if found and not self._unwritable:
            _log.warning("publishing nothing until the disk takes it: %s", found["error"])
        elif self._unwritable and not found:
            _log.warning("the disk takes it again: publishing")
        self._unwritable = bool(found)

    def _log_listening(self, status: Mapping[str, Any]) -> None:
        """Log once at the beginning and once at the end."""
        listening = status["listening"] is not None
        if listening != self._listening:
            _log.info("new here, or back: hearing others before publishing" if listening else "publishing")
        self._listening = listening


def summary(status: Mapping[str, Any]) -> str:
    """Return one line for people: the headline, and what has been done."""
    return (
        f"{status['name']}: {headline(status).text}; {counted(status['steps'], 'step')}, "
        f"{counted(status['peers'], 'peer')}, {counted(status['messages'], 'message')}, "
        f"{counted(status['bytes_out'], 'byte')} out, {status['bytes_in']} in"
    )
