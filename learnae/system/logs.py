"""Logging to standard error: priority prefixes under journald (sd-daemon(3)), plain text elsewhere."""

from __future__ import annotations

import logging
import os
import sys

_OURS = ("learnae", "agent", "trainer_node", "firmware_bridge")
_PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}


class _JournalFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        prefix = f"<{_PRIORITIES.get(record.levelno, 6)}>"
        return "\n".join(prefix + line for line in super().format(record).splitlines())


def set_up_logging(verbose: bool = False) -> None:
    """Call once, from ``main``: from INFO on, all of our own if ``verbose``. Libraries are heard from warnings on.

    What they say to their own developers would bury it: JAX writes a thousand lines at each start.
    """
    handler = logging.StreamHandler(sys.stderr)
    if "JOURNAL_STREAM" in os.environ:
        handler.setFormatter(_JournalFormatter("%(message)s"))
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for name in _OURS:
        logging.getLogger(name).setLevel(logging.DEBUG if verbose else logging.INFO)
