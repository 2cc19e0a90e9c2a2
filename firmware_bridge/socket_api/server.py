"""The bridge's side of the Unix socket: any number of listeners, none of which can slow the others or the board."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import select
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from firmware_bridge.errors import RecordError
from firmware_bridge.records import MISSED, LinkState, Listen, Record, Splitter, to_bytes
from firmware_bridge.socket_api.backlog import Backlog
from learnae.errors import ConfigurationError, StateError

_log = logging.getLogger(__name__)

_MAX_LISTENERS = 32  # agents, monitors and recorders of one board
_LISTEN_TIMEOUT_SECONDS = 10.0  # for a listener's first record
_CLOSE_TIMEOUT_SECONDS = 1.0  # longer than any listener that still works needs
_LOCK_ATTEMPTS, _LOCK_SECONDS = 100, 0.02  # a bridge that begins to listen has the directory for an instant
_MAX_PATH_BYTES = 107  # sockaddr_un.sun_path without its final zero
_BURST = 64  # records handed to the kernel for one listener before the next one's turn


@dataclass(eq=False)
class Server:
    """Listens at ``path``; ``publish`` remembers a record, ``step`` moves bytes and never waits.

    Raises StateError if another bridge listens there, ConfigurationError if none can.
    """

    path: Path
    mode: int = 0o660
    group: str = ""
    backlog: Backlog = field(default_factory=Backlog)
    now: Callable[[], float] = time.time
    limit: int = _MAX_LISTENERS

    def __post_init__(self) -> None:
        self._listeners: list[_Listener] = []
        self._socket = _listen(self.path, self.mode, self.group)

    @property
    def listeners(self) -> int:
        """Return how many connections have asked for records."""
        return sum(listener.is_listening for listener in self._listeners)

    def publish(self, record: Record) -> None:
        """Let every listener get this record."""
        self.backlog.add(record)

    def readers(self) -> list[socket.socket]:
        """Return what to wait for until something can be read."""
        return [self._socket, *(listener.socket for listener in self._listeners)]

    def writers(self) -> list[socket.socket]:
        """Return what to wait for until more can be written."""
        return [listener.socket for listener in self._listeners if listener.has_more]

    def step(self) -> None:
        """Accept connections, read what they ask for, send what there is room for."""
        self._accept()
        for listener in list(self._listeners):
            try:
                listener.step(self.now())
            except (OSError, RecordError) as error:
                if not isinstance(error, ConnectionError):
                    _log.warning("a listener at %s is let go: %s", self.path, error)
                listener.socket.close()
                self._listeners.remove(listener)

    def close(self) -> None:
        """Let listeners take what waits for them, for a second at most; then let go of all and of the path."""
        end = time.monotonic() + _CLOSE_TIMEOUT_SECONDS
        self.step()
        while (writers := self.writers()) and (left := end - time.monotonic()) > 0:
            select.select([], writers, [], left)
            self.step()
        for listener in self._listeners:
            listener.socket.close()
        self.path.unlink(missing_ok=True)  # while no other bridge can take the path, or it would be that one's
        self._socket.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except BlockingIOError:
                return
            except OSError as error:  # the newcomer is gone again, or there are no file descriptors left
                _log.warning("a newcomer at %s could not be taken in: %s", self.path, error)
                return
            if len(self._listeners) >= self.limit:
                _log.warning("a newcomer at %s is turned away: there are %d listeners", self.path, self.limit)
                connection.close()
                continue
            connection.setblocking(False)
            self._listeners.append(_Listener(connection, self.backlog, self.now()))


class _Listener:
    """One connection, and how far it has read the backlog."""

    def __init__(self, connection: socket.socket, backlog: Backlog, now: float) -> None:
        self.socket = connection
        self._backlog = backlog
        self._since = now
        self._splitter = Splitter()
        self._pending = memoryview(b"")
        self._next = 0
        self._samples = 0  # published before record _next: tells how many were missed when that is forgotten
        self.is_listening = False

    @property
    def has_more(self) -> bool:
        """Return True if something waits to be sent."""
        return bool(self._pending) or (self.is_listening and self._next < self._backlog.next)

    def step(self, now: float) -> None:
        """Read and send; raises OSError or RecordError if this listener is of no more use."""
        self._hear()
        if not self.is_listening and abs(now - self._since) > _LISTEN_TIMEOUT_SECONDS:
            raise RecordError("it never said what it wants to hear")
        for _ in range(_BURST):
            if not self.has_more or not self._send(now):
                return

    def _hear(self) -> None:
        try:
            data = self.socket.recv(4096)
        except BlockingIOError:
            return
        if not data:
            raise ConnectionResetError
        for record in self._splitter.feed(data):
            if not isinstance(record, Listen) or self.is_listening:
                raise RecordError(f"it sent a record of kind {record.kind!r}", "a listener sends one 'listen'")
            self._next = self._backlog.find(record)
            self._samples = self._backlog.samples_before(self._next)
            self._pending = memoryview(self._backlog.greeting(self._next))
            self.is_listening = True
            _log.debug(
                "a listener begins at record %d, after sample %d of %r", self._next, record.sequence, record.stream
            )

    def _send(self, now: float) -> bool:
        """Send, and return True if all of one piece went out."""
        if not self._pending:
            self._pending = memoryview(self._take(now))
        try:
            self._pending = self._pending[self.socket.send(self._pending) :]
        except BlockingIOError:
            return False
        return not self._pending

    def _take(self, now: float) -> bytes:
        backlog, data = self._backlog, b""
        if self._next < backlog.first:
            missed = backlog.samples_before(backlog.first) - self._samples
            self._next = backlog.first
            loss = LinkState(now, MISSED, "this listener was too slow", missed)
            data = backlog.schema_before(self._next) + to_bytes(loss)
        data += backlog.data(self._next)
        self._next += 1
        self._samples = backlog.samples_before(self._next)
        return data


def _listen(path: Path, mode: int, group: str) -> socket.socket:
    """Listen at ``path``; raises StateError if another bridge does, ConfigurationError if none can."""
    if len(os.fsencode(path)) > _MAX_PATH_BYTES:
        raise ConfigurationError(f"{path} is too long for a socket", f"choose one of at most {_MAX_PATH_BYTES} bytes")
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _alone(path):
            _remove_stale(path)
            previous = os.umask(0o777 & ~mode)  # no agent may connect before the mode is right
            try:
                listening.bind(os.fspath(path))
            finally:
                os.umask(previous)
            if group:
                shutil.chown(path, group=group)
            listening.listen()
            listening.setblocking(False)
    except (OSError, LookupError) as error:
        listening.close()
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            raise StateError(f"{path} is in use", "stop the other bridge, or set bridge.socket") from error
        raise ConfigurationError(f"cannot listen at {path}: {error}", "choose another bridge.socket") from error
    except BaseException:
        listening.close()
        raise
    return listening


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Lock out other bridges that begin: to them, a socket that does not listen yet is stale. Raises StateError."""
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        for _ in range(_LOCK_ATTEMPTS):
            try:
                fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(_LOCK_SECONDS)
        else:
            raise StateError(f"another bridge begins to listen at {path}", "stop it, or set bridge.socket")
        yield
    finally:
        os.close(directory)


def _remove_stale(path: Path) -> None:
    """Remove the socket that a killed bridge left behind; raises StateError if a bridge answers."""
    if not path.is_socket():
        return  # whatever else is there, bind says so
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(os.fspath(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return
        except BlockingIOError:
            pass  # it listens, and is too busy to accept another connection
    raise StateError(f"another bridge listens at {path}", "stop it, or set bridge.socket")
