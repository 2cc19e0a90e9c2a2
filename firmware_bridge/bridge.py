"""The bridge's work: keep the port open, move bytes, publish records and the link's state to listeners."""

import logging
import select
import time
from collections.abc import Callable

from firmware_bridge.dialects import Dialect
from firmware_bridge.errors import SilentBoardError
from firmware_bridge.records import DOWN, MAX_TEXT, UP, LinkState
from firmware_bridge.serial_link.port import SerialPort
from firmware_bridge.socket_api.server import Server
from learnae.errors import LearnaeError, TransportError
from learnae.system.backoff import Backoff

_log = logging.getLogger(__name__)

_STEP_SECONDS = 0.25  # that one step works: signals and the watchdog are served in between
_GATHER_SECONDS = 0.03  # that bytes are left to gather: waking for each costs more than decoding it
_POLL_SECONDS = 0.1  # between two looks at the link's timers
_HELLO_SECONDS = 5.0  # from opening the port until a board should have said hello: it may start (Arduino: 2 s)
_CLOCK_GAP_SECONDS, _CLOCK_ATTEMPTS = 1e-4, 10  # between two clocks read one after the other; else again
# between attempts to open the port: a replugged board is back at once
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.2, 2.0


def clocks(
    monotonic: Callable[[], float] = time.monotonic, unix_time: Callable[[], float] = time.time
) -> tuple[float, float]:
    """Read the monotonic clock, and what to add to it for Unix time; exact although a process may be held up."""
    best = (float("inf"), 0.0)
    for _ in range(_CLOCK_ATTEMPTS):
        before, unix, after = monotonic(), unix_time(), monotonic()
        best = min(best, (after - before, unix - (before + after) / 2))
        if best[0] < _CLOCK_GAP_SECONDS:
            break
    return after, best[1]


class Bridge:
    """One board and its listeners. ``open_port`` raises LearnaeError as long as there is none."""

    def __init__(self, open_port: Callable[[], SerialPort], baud: int, dialect: Dialect, server: Server) -> None:
        self.dialect = dialect
        self.problem: LearnaeError | None = None  # why there are no readings
        self._open_port = open_port
        self._baud = baud
        self._server = server
        self._port: SerialPort | None = None
        self._opened = 0.0
        self._next_attempt = 0.0
        self._backoff = Backoff(_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS)
        self._is_up = False

    def step(self) -> float:
        """Work for a quarter of a second, and return the seconds to wait; see learnae.system.service.Work."""
        end = time.monotonic() + _STEP_SECONDS
        while (left := end - time.monotonic()) > 0:
            self._wait(min(left, _POLL_SECONDS))
            self._guarded(self._hear)
            self._server.step()  # before the board hears that its samples have arrived: they outlive this process then
            self._guarded(self._answer)
        return 0

    def drain(self) -> None:
        """Tell listeners that the bridge ends, and let go of port and socket."""
        self._server.publish(LinkState(time.time(), DOWN, "the bridge was stopped"))
        self._server.close()
        if self._port is not None:
            self._port.close()

    def summary(self) -> str:
        """Return one line for ``systemctl status``."""
        if not self._is_up:
            return f"no readings: {self.problem or 'waiting for the board'}"
        return f"{self.dialect.summary()}, {self._server.listeners} listeners"

    def _wait(self, seconds: float) -> None:
        port = [] if self._port is None else [self._port.fileno()]
        readers = port + [each.fileno() for each in self._server.readers()]
        writers = [each.fileno() for each in self._server.writers()]
        if self._port is not None and self._port.has_waiting:
            writers += port
        ready, _, _ = select.select(readers, writers, [], seconds)
        if port and port[0] in ready and not self.dialect.is_waiting():
            time.sleep(_GATHER_SECONDS)

    def _guarded(self, work: Callable[[float], None]) -> None:
        now = time.monotonic()
        try:
            work(now)
        except LearnaeError as error:
            self._lose(error, now)

    def _hear(self, now: float) -> None:
        if self._port is None:
            self._open(now)
            return
        data = self._port.read()
        now, offset = clocks()  # after it was read: an answer cannot have come later than this
        for record in self.dialect.hear(data, now, offset) if data else ():
            self._server.publish(record)
        self._judge(self._port, now)

    def _answer(self, now: float) -> None:
        if self._port is not None:
            self._port.write(self.dialect.answer(now))

    def _open(self, now: float) -> None:
        if now < self._next_attempt:
            return
        self._port = self._open_port()
        self._opened = now
        self._backoff.succeeded()
        self.dialect.reconnect()
        _log.info("%s is open at %d baud", self._port.device, self._baud)

    def _judge(self, port: SerialPort, now: float) -> None:
        """Publish when the board begins or ceases to answer."""
        if self.dialect.is_alive(now):
            self.problem = None
            if not self._is_up:
                self._is_up = True
                self._server.publish(LinkState(time.time(), UP))
                _log.info("the board at %s answers", port.device)
        elif now - self._opened > _HELLO_SECONDS:
            error = self.dialect.diagnose(port.device, self._baud) or SilentBoardError(
                f"the board at {port.device} has stopped answering", "check power and cable, or reset it"
            )
            self._tell(error)

    def _lose(self, error: LearnaeError, now: float) -> None:
        if self._port is not None:
            self._port.close()
            self._port = None
        self._next_attempt = now + self._backoff.failed()
        self._tell(error)

    def _tell(self, error: LearnaeError) -> None:
        """Publish why there are no readings, once as long as the reason is of the same kind."""
        is_news = self._is_up or type(error) is not type(self.problem)
        self._is_up, self.problem = False, error
        if is_news:
            _log.log(logging.WARNING if isinstance(error, TransportError) else logging.ERROR, "%s", error)
            reason = "".join(char if char.isprintable() else " " for char in str(error)[:MAX_TEXT])
            self._server.publish(LinkState(time.time(), DOWN, reason))
