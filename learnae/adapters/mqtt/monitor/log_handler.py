"""A logging handler that lets warnings and errors be read far away: few, short, and without readings."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import learnae
from learnae.adapters.token_bucket import TokenBucket

_LIBRARY = Path(learnae.__file__).parent
_BURST, _SECONDS_EACH = 20.0, 5.0  # so many at once, then one in so many seconds
_MOST_CHARACTERS = 500
_VALUES = re.compile(r"'[^']*'|\"[^\"]*\"|[-+]?\d+(?:[.,]\d+)*(?:[eE][-+]?\d+)?")


class RemoteLog(logging.Handler):
    """Hands ``{time, level, text}`` to ``send``; what comes faster is counted, and the next one says how many.

    Parts outside the library handle raw readings, and may quote one when they complain of it: what their records
    quote and count is blanked.
    """

    def __init__(self, send: Callable[[dict[str, Any]], None]) -> None:
        super().__init__(logging.WARNING)
        self._send = send
        self._allowance = TokenBucket(_BURST, 1 / _SECONDS_EACH)
        self._held_back = 0
        self._is_busy = False

    def emit(self, record: logging.LogRecord) -> None:
        """See logging.Handler; a record that comes of sending one is not sent."""
        if self._is_busy:
            return
        if not self._allowance.take():
            self._held_back += 1
            return
        self._is_busy = True
        try:
            self._send(self._fields(record))
        finally:
            self._is_busy = False

    def _fields(self, record: logging.LogRecord) -> dict[str, Any]:
        text = record.getMessage()
        if not Path(record.pathname).is_relative_to(_LIBRARY):
            text = _VALUES.sub("…", text)
        fields = {
            "time": int(record.created * 1000),
            "level": record.levelname.lower(),
            "text": text[:_MOST_CHARACTERS],
        }
        held_back, self._held_back = self._held_back, 0
        return {**fields, "held_back": held_back} if held_back else fields
