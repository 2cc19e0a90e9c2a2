"""A logging handler that publishes warnings and errors: few, short, and without readings."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import learnae
from learnae.adapters.token_bucket import TokenBucket
from learnae.overriding import override

_LIBRARY = Path(learnae.__file__).parent
_BURST, _SECONDS_EACH = 20.0, 5.0  # so many records at once, then one in so many seconds
_TEXT_CHARACTERS = 500
_VALUES = re.compile(r"'[^']*'|\"[^\"]*\"|[-+]?\d+(?:[.,]\d+)*(?:[eE][-+]?\d+)?")


class RemoteLog(logging.Handler):
    """Hands ``{time, level, text}`` to ``send``; records that come faster are counted, and the next says how many.

    It handles every logger's records. Modules outside the package ``learnae`` handle raw readings, and may quote one in
    a warning: quoted texts and numbers in their records are blanked. The file of the call decides, not the logger's
    name. ``monotonic`` tells seconds.
    """

    def __init__(self, send: Callable[[dict[str, Any]], None], monotonic: Callable[[], float] = time.monotonic) -> None:
        super().__init__(logging.WARNING)
        self._send = send
        self._bucket = TokenBucket(_BURST, 1 / _SECONDS_EACH, monotonic)
        self._held_back = 0
        self._is_busy = False

    @override
    def emit(self, record: logging.LogRecord) -> None:
        """Send a record, unless sending one has caused it."""
        if self._is_busy:
            return
        if not self._bucket.take():
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
        held_back, self._held_back = self._held_back, 0
        said = {"time": int(record.created * 1000), "level": record.levelname.lower(), "text": text[:_TEXT_CHARACTERS]}
        return {**said, "held_back": held_back} if held_back else said
