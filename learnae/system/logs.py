"""Log to standard error: priority prefixes under journald (sd-daemon(3)), plain text elsewhere.

``LEARNAE_LOG`` sets levels of named loggers, such as ``LEARNAE_LOG=learnae.adapters.mqtt=debug,learnae.peer=info``.
A logger is called like its module; a package's level holds for all of its modules that have none of their own.
"""

import logging
import os
import sys

from learnae.errors import ConfigurationError
from learnae.overriding import override

_VARIABLE = "LEARNAE_LOG"
_PACKAGES = ("learnae", "agent", "trainer_node", "firmware_bridge")
_PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}
_LEVELS = {logging.getLevelName(level).lower(): level for level in _PRIORITIES}


class _JournalFormatter(logging.Formatter):
    @override
    def format(self, record: logging.LogRecord) -> str:
        prefix = f"<{_PRIORITIES.get(record.levelno, 6)}>"
        return "\n".join(prefix + line for line in super().format(record).splitlines())


def set_up_logging(verbose: bool = False) -> None:
    """Show this project's records from INFO on, all if ``verbose``, and libraries' from WARNING on.

    What libraries log for their own developers would bury it: JAX writes a thousand lines at each start. Called once,
    by a program's command. Raises ConfigurationError for a value of LEARNAE_LOG that sets no level.
    """
    handler = logging.StreamHandler(sys.stderr)
    if "JOURNAL_STREAM" in os.environ:
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
