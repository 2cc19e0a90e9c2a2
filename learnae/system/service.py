"""Run the work loop of every role, and handle its signals.

SIGTERM or SIGINT drains: the work at hand ends, state is saved, exit status 0. A second one cuts: exit at once with
status 130; nothing is lost, as files are only ever replaced whole. SIGHUP reloads.
"""

import errno
import io
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import FrameType
from typing import NoReturn

from learnae.errors import ConfigurationError, LearnaeError, NotWrittenError, StateError
from learnae.system.installation import how_to_install
from learnae.system.signals import Pause, handled_by, woken_by_signals

_log = logging.getLogger(__name__)

EXIT_TRY_AGAIN = 75  # EX_TEMPFAIL
EXIT_CONFIGURATION = 78  # EX_CONFIG: systemd does not restart the service
EXIT_CUT = 130
_EXTRAS = {"typer": "trainer", "cobs": "serial", "serial": "serial"}  # modules without which a program cannot begin
_OWN = ("learnae", "agent", "trainer_node", "firmware_bridge")
_DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
_READY = "READY=1"
# of a named file: another thing than belongs there is there, or there is no room; the rest is a defect of ours
_ODD = (errno.EISDIR, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENXIO, errno.EMFILE, errno.ENFILE, *_FULL)
_LINE_CHARACTERS = 4000  # of an error: a value in it may be as long as a file
_LONGEST_SLEEP_SECONDS = 5.0  # the watchdog is fed at least this often


def run_program(program: str, command: Callable[[], int]) -> NoReturn:
    """Run a whole program and exit with its status; what ends it early becomes one line, without a traceback."""
    _prepare_streams()
    try:
        status = _status_of(command)
        sys.stdout.flush()
    except BrokenPipeError:
        _discard_output()  # the reader has ended, such as head
        status = 0
    except KeyboardInterrupt:
        print(file=sys.stderr)  # the shell's prompt begins below the ^C
        status = EXIT_CUT
    except ImportError as error:
        name = error.name or _raised_in(error)
        if name.partition(".")[0] in _OWN:
            raise  # a defect of ours
        how = "is not installed" if isinstance(error, ModuleNotFoundError) else f"cannot be imported: {_line(error)}"
        status = _refuse(program, ConfigurationError(f"{name} {how}", how_to_install(_EXTRAS.get(name, ""))))
    except LearnaeError as error:
        status = _refuse(program, error)
    except MemoryError:
        status = _refuse(program, StateError("there is not enough memory for this", "end other programs, or add some"))
    except OSError as error:
        if error.filename is not None and error.errno in _DENIED:
            remedy = "run it as the user it belongs to"
            status = _refuse(program, StateError(f"{error.filename}: {error.strerror}", remedy))
        elif error.filename is not None and error.errno in _ODD:
            status = _refuse(program, StateError(f"{error.filename}: {error.strerror}", "look at what is there"))
        elif error.filename is None and error.errno in _FULL:
            _discard_output()
            remedy = "free some space where it goes"
            status = _refuse(program, NotWrittenError(f"cannot write: {error.strerror}", remedy))
        else:
            raise
    sys.exit(status)


def _raised_in(error: BaseException) -> str:
    """Name the package whose code has raised ``error``."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return str(trace.tb_frame.f_globals.get("__name__", "")).partition(".")[0] if trace else ""


def _line(error: Exception) -> str:
    """Return the first line of a text that may be a page."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _status_of(command: Callable[[], int]) -> int:
    """Return what ``command`` returns, or exits with, as typer always does."""
    try:
        return command()
    except SystemExit as ended:
        if isinstance(ended.__context__, BrokenPipeError):  # rich and typer make a failure of it
            raise ended.__context__ from None
        if ended.code is None or isinstance(ended.code, int):
            return ended.code or 0
        raise


def _prepare_streams() -> None:
    """Keep a closed stream, or a character that a stream cannot encode, from ending a program."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 - it stays open
        elif isinstance(stream, io.TextIOWrapper) and not (
            stream.errors == "backslashreplace" or (stream.errors == "surrogateescape" and stream.encoding == "utf-8")
        ):
            stream.reconfigure(errors="backslashreplace")


def _discard_output() -> None:
    """Send what is still to be written nowhere: Python would try it once more at the end."""
    if sys.__stdout__ is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno())


def _refuse(program: str, error: LearnaeError) -> int:
    text = "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in str(error))  # also names are one line
    if len(text) > _LINE_CHARACTERS:
        text = f"{text[: _LINE_CHARACTERS // 2]} … {text[-_LINE_CHARACTERS // 2 :]}"
    print(f"{program}: {text}", file=sys.stderr)
    return EXIT_CONFIGURATION if isinstance(error, ConfigurationError) else EXIT_TRY_AGAIN


@dataclass(frozen=True, slots=True)
class Work:
    """What a service does.

    ``step`` works once and returns the seconds until it is due again; ``drain`` saves;
    ``reload`` reads the configuration again; ``summary`` is one line for ``systemctl status``.
    """

    step: Callable[[], float]
    drain: Callable[[], None]
    reload: Callable[[], None]
    summary: Callable[[], str]


class Notifier:
    """Sends states (sd_notify(3)) to ``NOTIFY_SOCKET``; does nothing where systemd did not start this process.

    What does not arrive is passed over, as the next state may: systemd is being replaced, or has too much to read. Only
    ``READY=1`` is said again, without which a start or a reload would never end.
    """

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        address = (os.environ if environment is None else environment).get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) if address else None
        if self._socket is not None:
            self._socket.setblocking(False)  # the work never waits for systemd
        self._is_unready = False

    @property
    def is_heard(self) -> bool:
        """Return True if systemd started this process, and listens."""
        return self._socket is not None

    def send(self, state: str) -> None:
        """Tell systemd ``state``, such as ``READY=1``."""
        has_arrived = self._send(state)
        if not state.startswith("WATCHDOG="):
            self._is_unready = state == _READY and not has_arrived
        elif has_arrived and self._is_unready:
            self._is_unready = not self._send(_READY)

    def _send(self, state: str) -> bool:
        """Return False if it did not arrive."""
        if self._socket is None:
            return True
        try:
            self._socket.sendto(state.encode(), self._address)
        except OSError:
            return False
        return True


class Service:
    """Runs ``work`` until it is told to stop."""

    def __init__(
        self, work: Work, notifier: Notifier | None = None, longest_sleep: float = _LONGEST_SLEEP_SECONDS
    ) -> None:
        self._work = work
        self._longest_sleep = longest_sleep
        self._notifier = notifier or Notifier()
        self._stopping = False
        self._reloading = False

    def run(self) -> int:
        """Run until a signal ends it, put the signal handlers back, and return the exit status."""
        numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        with woken_by_signals() as wait, handled_by(self._on_signal, *numbers):
            self._loop(wait)
        return 0

    def _loop(self, wait: Pause) -> None:
        self._notifier.send(_READY)
        while not self._stopping:
            if self._reloading:
                self._reload()
            pause = self._work.step()
            self._feed_watchdog()
            while pause > 0 and not self._stopping and not self._reloading:
                wait(min(pause, self._longest_sleep))
                pause -= self._longest_sleep
                self._feed_watchdog()
        _log.info("stopping: saving state")
        self._notifier.send("STOPPING=1")
        self._work.drain()

    def _feed_watchdog(self) -> None:  # from this loop only, so that a hung one is noticed
        if self._notifier.is_heard:  # a summary takes its time
            self._notifier.send(f"WATCHDOG=1\nSTATUS={self._work.summary()}")

    def _reload(self) -> None:
        self._reloading = False
        self._notifier.send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            self._work.reload()
            _log.info("configuration read again")
        except LearnaeError as error:  # what runs goes on as it was
            _log.error("configuration not read again: %s", error)
        self._notifier.send(_READY)

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        if number == signal.SIGHUP:
            self._reloading = True
        elif self._stopping:
            raise SystemExit(EXIT_CUT)
        else:
            self._stopping = True
