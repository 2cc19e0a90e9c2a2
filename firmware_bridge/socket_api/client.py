"""The agent's side of the bridge's Unix socket: ``Client(path).read()`` and never a wait."""

import errno
import logging
import os
import random
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from firmware_bridge import records
from firmware_bridge.errors import BridgeMissingError, RecordError
from firmware_bridge.records import LinkState, Listen, Readings, Record, Schema, Splitter
from learnae.errors import LearnaeError
from learnae.system.backoff import Backoff
from learnae.system.permissions import why_denied

_log = logging.getLogger(__name__)

_FIRST_PAUSE_SECONDS = 0.1  # before the first new attempt: a restarted bridge is back by then
_LONGEST_PAUSE_SECONDS = 5.0
_JITTER = (0.5, 1.0)  # of a pause: the agents of a machine do not come back all at once
_READ_BYTES = 1 << 18  # taken in by one read(): what is left waits in the kernel and in the bridge's backlog
_CHUNK_BYTES = 1 << 16


@dataclass(eq=False)
class Client:
    """Hears one bridge. Reconnects by itself, with back-off, and goes on where it was.

    ``after`` is an earlier ``position``, kept with the readings: what the bridge still remembers since
    then is read first. Samples that arrive twice (a bridge was restarted) are returned once.
    """

    path: Path
    after: Listen = Listen()
    clock: Callable[[], float] = time.monotonic
    rng: random.Random = field(default_factory=random.Random)

    def __post_init__(self) -> None:
        self._position = self.after
        self._socket: socket.socket | None = None
        self._splitter = Splitter()
        self._schema: Schema | None = None
        self._reported = 0  # samples that the bridge has called missing since the last readings
        self._backoff = Backoff(_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS)
        self._retry = float("-inf")
        self.problem: LearnaeError | None = None  # why nothing arrives, or None

    @property
    def position(self) -> Listen:
        """Return where a later client has to go on."""
        return self._position

    @property
    def is_connected(self) -> bool:
        """Return True if a bridge is there."""
        return self._socket is not None

    def read(self) -> list[Record]:
        """Return the records since the last call, at most about 256 KiB; a ``LinkState`` says when the bridge goes."""
        heard: list[Record] = []
        try:
            if self._socket is not None or self._connect():
                self._receive(heard)
        except (OSError, RecordError) as error:
            problem = self._explain(error)
            if self.problem is None:
                heard.append(LinkState(time.time(), records.DOWN, str(problem)[: records.MAX_TEXT]))
            self.close()
            self.problem = problem
            self._retry = self.clock() + self._backoff.failed() * self.rng.uniform(*_JITTER)
        return heard

    def fileno(self) -> int:
        """Return the file descriptor, for select(2); -1 while there is no bridge."""
        return -1 if self._socket is None else self._socket.fileno()

    def close(self) -> None:
        """Let go of the connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _connect(self) -> bool:
        if self.clock() < self._retry:
            return False
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.setblocking(False)
        self._splitter, self._schema = Splitter(), None
        self._socket.connect(os.fspath(self.path))
        self._socket.send(records.to_bytes(self._position))
        self.problem = None
        _log.debug("connected to %s, after sample %d of %r", self.path, self._position.sequence, self._position.stream)
        return True

    def _receive(self, heard: list[Record]) -> None:
        assert self._socket is not None
        taken = 0
        while taken < _READ_BYTES:
            try:
                data = self._socket.recv(_CHUNK_BYTES)
            except BlockingIOError:
                return
            if not data:
                raise ConnectionResetError(errno.ECONNRESET, "the bridge has closed the connection")
            taken += len(data)
            self._backoff.succeeded()
            for record in self._splitter.feed(data):
                heard.extend(self._accept(record))

    def _accept(self, record: Record | Listen) -> Iterator[Record]:
        if isinstance(record, Listen):
            raise RecordError("the bridge sent a 'listen'", "the socket's other end is no bridge")
        if isinstance(record, Schema):
            self._schema = record
        elif isinstance(record, LinkState):
            self._reported += record.missed
        elif isinstance(record, Readings):
            yield from self._accept_readings(record)
            return
        yield record

    def _accept_readings(self, readings: Readings) -> Iterator[Record]:
        if self._schema is None or readings.values.shape[1] != len(self._schema.channels):
            raise RecordError("readings that do not fit their schema", "the socket's other end is no bridge")
        stream, ahead = self._schema.stream, 0
        if stream == self._position.stream:
            ahead = readings.sequence - self._position.sequence
        if ahead + readings.rows <= 0:
            return  # all of it is known
        if ahead > self._reported:
            yield LinkState(readings.time, records.MISSED, "lost while no bridge was there", ahead - self._reported)
        self._reported = 0
        self._position = Listen(stream, readings.sequence + readings.rows)
        yield readings.after(-ahead) if ahead < 0 else readings

    def _explain(self, error: Exception) -> LearnaeError:
        if isinstance(error, RecordError):
            return error
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        if isinstance(error, PermissionError):
            who, remedy = why_denied(self.path)
            return BridgeMissingError(f"no bridge at {self.path}: {reason}: {who}", remedy)
        remedy = "start it (firmware-bridge run), or set the socket's path"
        return BridgeMissingError(f"no bridge at {self.path}: {reason}", remedy)
