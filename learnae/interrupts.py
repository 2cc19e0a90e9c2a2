"""Ctrl-C where an exception would do harm."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def abrupt() -> Iterator[None]:
    """Ctrl-C ends the process at once, as SIGTERM does: for what begins, and has nothing to save yet.

    KeyboardInterrupt in the middle of the import of an extension module crashes it or is swallowed, and
    elsewhere in a program's first second it is a page of traceback. A process that ignores SIGINT goes on doing so.
    """
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
