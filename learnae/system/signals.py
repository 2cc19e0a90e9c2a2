"""Ctrl-C where an exception would do harm, and waits that no signal misses."""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from types import FrameType
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike


class Pause(Protocol):
    """A wait that a signal ends."""

    def __call__(self, seconds: float, *readable: FileDescriptorLike) -> None:
        """Wait up to ``seconds``, or until one of ``readable`` has something to read."""


@contextmanager
def woken_by_signals() -> Iterator[Pause]:
    """Yield a wait that every handled signal ends, also one that has arrived since the last wait. Main thread only.

    Python runs a handler between two bytecodes: ``time.sleep`` sleeps on when the signal arrives after the last of
    them and before the system call, or in another thread. A byte in a pipe is not missed (signal.set_wakeup_fd).
    """
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    previous = signal.set_wakeup_fd(write_end)

    def wait(seconds: float, *readable: FileDescriptorLike) -> None:
        if read_end in select.select([read_end, *readable], [], [], seconds)[0]:
            os.read(read_end, 4096)

    try:
        yield wait
    finally:
        signal.set_wakeup_fd(previous)
        os.close(read_end)
        os.close(write_end)


@contextmanager
def abrupt() -> Iterator[None]:
    """End the process at once on Ctrl-C, as SIGTERM does: for what begins, and has nothing to save yet.

    KeyboardInterrupt in the middle of the import of an extension module crashes it or is swallowed, and
    elsewhere in a program's first second it is a page of traceback. So entry points are small modules that import the
    rest within this (``learnae.__main__``, ``agent.start``, ``trainer_node.start``). Nothing is lost: nothing has been
    trained yet, and files are only ever replaced whole. A process that ignores SIGINT goes on doing so.
    """
    with handled_by(signal.SIG_DFL, signal.SIGINT) if _raises() else nullcontext():
        yield


@contextmanager
def held_back() -> Iterator[Pause]:
    """Yield a wait; Ctrl-C becomes KeyboardInterrupt only in it, or at the end of the ``with`` block.

    For work that must be whole, such as a drawing, and is done again and again with pauses between. A second Ctrl-C
    that finds the first still waiting interrupts at once, and so does each later one.
    """
    if not _raises():
        yield _wait
        return
    came = False

    def on_signal(number: int, frame: FrameType | None) -> None:
        nonlocal came
        if came:
            came = False
            signal.signal(number, signal.default_int_handler)  # the end of the block may never come to it
            signal.default_int_handler(number, frame)
        came = True

    def interrupt() -> None:
        nonlocal came
        if came:
            came = False
            raise KeyboardInterrupt

    with woken_by_signals() as wait, handled_by(on_signal, signal.SIGINT):

        def pause(seconds: float, *readable: FileDescriptorLike) -> None:
            wait(seconds, *readable)
            interrupt()

        yield pause
    interrupt()  # it arrived after the last pause


def _wait(seconds: float, *readable: FileDescriptorLike) -> None:
    select.select(readable, [], [], seconds)


def _raises() -> bool:
    """Return True where Ctrl-C is a KeyboardInterrupt: in the main thread, unless another handler is set."""
    here = threading.current_thread() is threading.main_thread()
    return here and signal.getsignal(signal.SIGINT) is signal.default_int_handler


@contextmanager
def handled_by(
    handler: Callable[[int, FrameType | None], object] | signal.Handlers, *numbers: signal.Signals
) -> Iterator[None]:
    """Let ``handler`` handle these signals, and put the handlers of before back."""
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)
