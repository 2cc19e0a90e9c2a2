"""Ctrl-C where an exception would do harm."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import FrameType


@contextmanager
def abrupt() -> Iterator[None]:
    """Ctrl-C ends the process at once, as SIGTERM does: for what begins, and has nothing to save yet.

    KeyboardInterrupt in the middle of the import of an extension module crashes it or is swallowed, and
    elsewhere in a program's first second it is a page of traceback. So entry points are small modules that import the
    rest within this (``learnae.__main__``, ``agent.start``, ``trainer_node.start``). Nothing is lost: nothing has been
    trained yet, and files are only ever replaced whole. A process that ignores SIGINT goes on doing so.
    """
    if not _raises():
        yield
        return
    with _handled_by(signal.SIG_DFL):
        yield


@contextmanager
def held_back() -> Iterator[Callable[[], AbstractContextManager[None]]]:
    """Ctrl-C interrupts only within ``with heard():``, ``heard`` being what this yields; elsewhere it waits for that.

    For what must be whole, such as a drawing, and is made again and again with pauses between. Whoever cannot wait
    presses it a second time.
    """
    if not _raises():
        yield nullcontext
        return
    is_heard = came = False

    def on_signal(number: int, frame: FrameType | None) -> None:
        nonlocal came
        if is_heard or came:
            signal.default_int_handler(number, frame)
        came = True

    @contextmanager
    def heard() -> Iterator[None]:
        nonlocal is_heard
        is_heard = True
        try:
            if came:
                raise KeyboardInterrupt
            yield
        finally:
            is_heard = False

    with _handled_by(on_signal):
        yield heard


def _raises() -> bool:
    """Whether Ctrl-C is a KeyboardInterrupt, and here."""
    here = threading.current_thread() is threading.main_thread()
    return here and signal.getsignal(signal.SIGINT) is signal.default_int_handler


@contextmanager
def _handled_by(handler: Callable[[int, FrameType | None], object] | signal.Handlers) -> Iterator[None]:
    before = signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
