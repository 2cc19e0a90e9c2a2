"""The run loop of every role, and what signals do to it.

SIGTERM or SIGINT drains: the work at hand ends, state is saved, exit status 0. A second one cuts:
exit at once with status 130; nothing is lost, as files are only ever replaced whole. SIGHUP
reloads.
"""

from __future__ import annotations

import errno
import io
import logging
import os
import select
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import NoReturn

from learnae.errors import ConfigurationError, LearnaeError, NotWrittenError, StateError
from learnae.system.installation import how_to_install
from learnae.system.sd_notify import Notifier

log = logging.getLogger("learnae")

EXIT_USAGE = 2
EXIT_TRY_AGAIN = 75  # EX_TEMPFAIL
EXIT_CONFIGURATION = 78  # EX_CONFIG: systemd does not restart the service
EXIT_CUT = 130
_EXTRAS = {"typer": "trainer", "cobs": "serial", "serial": "serial"}  # modules without which a program cannot begin
_DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
_LONGEST_SLEEP = 5.0  # seconds: the watchdog is fed and signals are seen at least this often


def run_program(program: str, command: Callable[[], int]) -> NoReturn:
    """Run a whole program and exit with its status; what ends it early ends it without a trace."""
    _prepare_streams()
    try:
        status = _status_of(command)
        sys.stdout.flush()
    except BrokenPipeError:
        _say_no_more()  # whoever read has seen enough, such as head
        status = 0
    except KeyboardInterrupt:
        print(file=sys.stderr)  # the shell's prompt begins below the ^C
        status = EXIT_CUT
    except ModuleNotFoundError as error:
        if error.name not in _EXTRAS:
            raise
        remedy = how_to_install(_EXTRAS[error.name])
        status = _refuse(program, ConfigurationError(f"{error.name} is not installed", remedy))
    except LearnaeError as error:
        status = _refuse(program, error)
    except OSError as error:
        if error.filename is not None and error.errno in _DENIED:
            remedy = "run it as the user it belongs to"
            status = _refuse(program, StateError(f"{error.filename}: {error.strerror}", remedy))
        elif error.filename is None and error.errno in _FULL:
            _say_no_more()
            remedy = "free some space where it goes"
            status = _refuse(program, NotWrittenError(f"cannot write: {error.strerror}", remedy))
        else:
            raise
    sys.exit(status)


def _status_of(command: Callable[[], int]) -> int:
    """What ``command`` returns, or ends with: typer always does that."""
    try:
        return command()
    except SystemExit as ended:
        if isinstance(ended.__context__, BrokenPipeError):  # rich and typer make a failure of it
            raise ended.__context__ from None
        if ended.code is None or isinstance(ended.code, int):
            return ended.code or 0
        raise


def _prepare_streams() -> None:
    """Let nothing that is printed end a program: a stream that is closed, or a character that it has not got."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 - it stays open
        elif isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


def _say_no_more() -> None:
    """What is still to be written goes nowhere: Python would try it once more at the end."""
    if sys.__stdout__ is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno())


def _refuse(program: str, error: LearnaeError) -> int:
    print(f"{program}: {error}", file=sys.stderr)
    return EXIT_CONFIGURATION if isinstance(error, ConfigurationError) else EXIT_TRY_AGAIN


@dataclass(frozen=True, slots=True)
class Work:
    """What a service does.

    ``step`` works once and returns the seconds until it wants to be called again; ``drain`` saves;
    ``reload`` reads the configuration again; ``summary`` is one line for ``systemctl status``.
    """

    step: Callable[[], float]
    drain: Callable[[], None]
    reload: Callable[[], None]
    summary: Callable[[], str]


class Service:
    """Runs ``work`` until it is told to stop."""

    def __init__(self, work: Work, notifier: Notifier | None = None) -> None:
        self._work = work
        self._notifier = notifier or Notifier()
        self._stopping = False
        self._reloading = False

    def run(self) -> int:
        """Blocks; returns the exit status. Signal handlers are put back afterwards."""
        read_end, write_end = os.pipe()
        os.set_blocking(write_end, False)
        signals = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        previous_wakeup = signal.set_wakeup_fd(write_end)
        previous = {number: signal.signal(number, self._on_signal) for number in signals}
        try:
            self._loop(read_end)
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(previous_wakeup)
            os.close(read_end)
            os.close(write_end)
        return 0

    def _loop(self, wake: int) -> None:
        self._notifier.ready()
        while not self._stopping:
            if self._reloading:
                self._reload()
            pause = self._work.step()
            self._notifier.alive(self._work.summary())
            while pause > 0 and not self._stopping and not self._reloading:
                self._sleep(wake, min(pause, _LONGEST_SLEEP))
                pause -= _LONGEST_SLEEP
                self._notifier.alive(self._work.summary())
        log.info("stopping: saving state")
        self._notifier.stopping()
        self._work.drain()

    def _reload(self) -> None:
        self._reloading = False
        self._notifier.reloading()
        try:
            self._work.reload()
            log.info("configuration read again")
        except LearnaeError as error:  # what runs goes on as it was
            log.error("configuration not read again: %s", error)
        self._notifier.ready()

    @staticmethod
    def _sleep(wake: int, seconds: float) -> None:
        ready, _, _ = select.select([wake], [], [], seconds)
        if ready:
            os.read(wake, 4096)

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        if number == signal.SIGHUP:
            self._reloading = True
        elif self._stopping:
            raise SystemExit(EXIT_CUT)
        else:
            self._stopping = True
