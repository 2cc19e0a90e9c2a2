"""Log to standard error: priority prefixes under journald (sd-daemon(3)), plain text elsewhere.

``LEARNAE_LOG`` sets levels of named loggers, such as ``LEARNAE_LOG=learnae.adapters.mqtt=debug,learnae.peer=info``.
A logger is called like its module; a package's level holds for all of its modules that have none of their own.

A program in the background writes to a file that ``LEARNAE_LOG_FILE`` names: at ``MOST_BYTES`` it becomes ``OLDER`` and
another one begins, so that years of it take no more than twice that.
"""

import logging
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from learnae.basics.overriding import override
from learnae.errors import ConfigurationError

FILE_VARIABLE = "LEARNAE_LOG_FILE"  # of the process that begins it; its own children have other outputs
MOST_BYTES = 4 << 20
OLDER = ".1"  # after the name of the file that was full
_VARIABLE = "LEARNAE_LOG"
_PACKAGES = ("learnae", "agent", "trainer_node", "firmware_bridge")
_STANDARD_OUTPUT, _STANDARD_ERROR = 1, 2
_PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}
_LEVELS = {logging.getLevelName(level).lower(): level for level in _PRIORITIES}


class _JournalFormatter(logging.Formatter):
    @override
    def format(self, record: logging.LogRecord) -> str:
        prefix = f"<{_PRIORITIES.get(record.levelno, 6)}>"
        return "\n".join(prefix + line for line in super().format(record).splitlines())


class _FileHandler(logging.StreamHandler[TextIO]):
    """Writes to standard error, which is the file ``path``, as is standard output."""

    def __init__(self, path: Path) -> None:
        super().__init__(sys.stderr)
        self._path = path

    @override
    def emit(self, record: logging.LogRecord) -> None:
        super().emit(record)
        with suppress(OSError):  # it goes on in the file that it has
            if os.fstat(_STANDARD_ERROR).st_size >= MOST_BYTES:
                self._begin_another()

    def _begin_another(self) -> None:
        make_room(self._path)
        file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            for descriptor in (_STANDARD_OUTPUT, _STANDARD_ERROR):
                os.dup2(file, descriptor)
        finally:
            os.close(file)


def make_room(path: Path) -> None:
    """Make a log file that is full the older one, in place of the last; raises OSError."""
    with suppress(FileNotFoundError):
        if path.stat().st_size >= MOST_BYTES:
            os.replace(path, path.with_name(path.name + OLDER))


def set_up_logging(verbose: bool = False) -> None:
    """Show this project's records from INFO on, all if ``verbose``, and libraries' from WARNING on.

    What libraries log for their own developers would bury it: JAX writes a thousand lines at each start. Called once,
    by a program's command. Raises ConfigurationError for a value of LEARNAE_LOG that sets no level.
    """
    file = os.environ.pop(FILE_VARIABLE, "")
    handler = _FileHandler(Path(file)) if file else logging.StreamHandler(sys.stderr)
    if file:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s", "%Y-%m-%d %H:%M:%S"))
    elif "JOURNAL_STREAM" in os.environ:
        handler.setFormatter(_JournalFormatter("%(message)s"))
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for name in _PACKAGES:
        logging.getLogger(name).setLevel(logging.DEBUG if verbose else logging.INFO)
    for part in filter(str.strip, os.environ.get(_VARIABLE, "").split(",")):
        _set_level(part.strip())


def _set_level(part: str) -> None:
    name, _, level = (word.strip() for word in part.partition("="))
    if not all(map(str.isidentifier, name.split("."))) or level.lower() not in _LEVELS:
        remedy = f"write LOGGER=LEVEL, such as learnae.peer=debug; levels are {', '.join(_LEVELS)}"
        raise ConfigurationError(f"{_VARIABLE} holds {part[:60]!r}", remedy)
    logging.getLogger(name).setLevel(_LEVELS[level.lower()])
