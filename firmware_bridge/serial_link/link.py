"""The reliable link to one board, without I/O: bytes in, frames out, each once and in order; bytes to send back.

The board keeps every frame until it is confirmed and sends it again when asked (nak) or when nothing is heard; here,
frames that arrive early wait in a window (selective repeat, as in X.25 and MIN 2.0). A run of the board is a *session*:
the board starts without one, the bridge names it, and only then samples flow; so nothing of two runs can be mixed up.
"""

import logging
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

from firmware_bridge import errors
from firmware_bridge.errors import ProtocolVersionError, SerialFrameError
from firmware_bridge.serial_link import frames
from firmware_bridge.serial_link.description import MAX_PARTS, Description
from firmware_bridge.serial_link.frames import Event, Frame, FrameSplitter, Hello, Log, Samples
from learnae.basics.bounded_dict import BoundedDict
from learnae.text import counted

_log = logging.getLogger(__name__)

WINDOW = 64  # frames: what a board may have under way; early frames wait here, later ones are refused
_ASK_SECONDS = 0.25  # between two asks: a hello of four parts takes 20 ms at 115200 baud
_PART_TIMEOUT_SECONDS = 0.5  # until the next part of a hello is late: 220 ms at 2400 baud, and the port's buffers
_MIN_NAK_SECONDS = 0.05  # before the same frame is asked for again; and two round trips
_MAX_NAK_SECONDS = 1.0
_MAX_NAKS = 8  # at once: what a board sends again in one go must leave room for what is new
_PING_SECONDS = 1.0  # between two pings: quartz drifts by 0.1 ms in that time, ceramic resonators by 5 ms
_TIME_SECONDS = 3600.0  # between two times: for boards that show the time, or name files by it
_STUCK_SECONDS = 2.0  # without the next frame, while later ones are here: the board may believe it was confirmed
_MAX_DESCRIPTIONS = 4  # kept of a session
_MAX_OUTPUT = 4096  # bytes waiting to be sent: more is dropped, all of it is repeated
_RATE_ATTEMPTS = 3  # a board that cannot sample at a rate is not asked for ever


@dataclass(frozen=True, slots=True)
class Started:
    """What follows is of this ``session``; ``is_fresh`` if no bridge has heard this run of the board before."""

    session: int
    is_fresh: bool
    description: Description


@dataclass(frozen=True, slots=True)
class Measured:
    """Samples and the description that they are of."""

    description: Description
    samples: Samples


@dataclass(frozen=True, slots=True)
class Ticked:
    """The board's clock showed ``ticks`` between ``sent`` and ``received``, seconds of the link's clock."""

    ticks: int
    sent: float
    received: float


Delivery = Started | Measured | Ticked | Event | Log


@dataclass(slots=True)
class Counts:
    """What the link has seen since it was made."""

    bytes: int = 0
    frames: int = 0
    damaged: int = 0  # pieces between zeros that are no frames
    gaps: int = 0  # frames that were missing when a later one arrived
    repeated: int = 0  # frames that arrived again
    refused: int = 0  # frames with a right CRC that do not fit what the board has announced
    sessions: int = 0


class Link:
    """Talks to one board. ``now`` is any clock in seconds that never goes back."""

    def __init__(
        self,
        rate: float = 0,
        new_session: Callable[[], int] = lambda: secrets.randbits(32) or 1,
        unix_time: Callable[[], float] = time.time,
    ) -> None:
        self.counts = Counts()
        self.description: Description | None = None  # the newest
        self.session = 0
        self.problem: ProtocolVersionError | SerialFrameError | None = None  # why no hello was understood
        self.heard = float("-inf")  # when a frame last arrived
        self._rate = rate
        self._rate_attempts = 0
        self._new_session = new_session
        self._unix_time = unix_time
        self._splitter = FrameSplitter()
        self._output = bytearray()
        self._nak_pause = _MIN_NAK_SECONDS
        self._now = float("-inf")
        self._forget()

    def _forget(self) -> None:
        """Forget all that is known of the session."""
        self._descriptions = BoundedDict[int, Description](_MAX_DESCRIPTIONS)
        self._newest = 0  # generation
        self._parts: list[Hello] = []
        self._part_arrived = float("-inf")
        self._expected = 0
        self._early: dict[int, Samples | Event | Log] = {}
        self._naks: dict[int, float] = {}
        self._is_confirmed = False  # that the board at the port is the one of this session
        self._is_pristine = False  # the session is fresh, and nothing of it has arrived
        self._ack_due = False
        self._stuck_since = float("-inf")
        self._asked = self._pinged = self._told_time = float("-inf")
        self._pings: dict[int, float] = {}
        self._token = 0

    def reconnect(self) -> None:
        """Forget what is half received, as the port was opened anew; the session may go on."""
        self._splitter = FrameSplitter()
        self._output.clear()
        self._parts.clear()
        self._pings.clear()
        self._naks.clear()
        self._is_confirmed = False
        self._asked = self._pinged = float("-inf")

    @property
    def is_up(self) -> bool:
        """Return True if the board at the port has said what it measures and has a session."""
        return self._is_confirmed

    def is_waiting(self) -> bool:
        """Return True while a ping is under way, so that what arrives should be read at once."""
        return bool(self._pings)

    def wish_for(self, rate: float) -> None:
        """Ask the board for this ``rate`` in Hz; 0 leaves it as it is."""
        self._rate, self._rate_attempts = rate, 0

    def take_output(self) -> bytes:
        """Return what is to be written to the port now, once."""
        data = bytes(self._output)
        self._output.clear()
        return data

    def receive(self, data: bytes, now: float) -> list[Delivery]:
        """Take in ``data`` from the port, and return what it delivers."""
        self.counts.bytes += len(data)
        self._now = now
        deliveries: list[Delivery] = []
        for piece in self._splitter.feed(data):
            try:
                frame = frames.decode(piece)
            except SerialFrameError:
                self.counts.damaged += 1
                continue
            except ProtocolVersionError as error:
                self.problem = error
                continue
            self.counts.frames += 1
            self.heard = now
            if frame is not None:
                deliveries.extend(self._take(frame))
        if self._expected in self._early:  # its description is on its way, or was lost
            self._ask(self._nak_pause)
        elif self._early:
            self._ask_for_missing()
        if self._ack_due:
            self._ack_due = False
            self._send(frames.Ack(self._expected))
        return deliveries

    def poll(self, now: float) -> None:
        """Ask, ping, and request a rate, if it is time. Call at least every 0.1 s."""
        self._now = now
        if now - self._pinged >= (_PING_SECONDS if self.is_up else _ASK_SECONDS):
            self._ping()
            self._request_rate()
        if self.is_up and now - self._told_time >= _TIME_SECONDS:
            self._told_time = now
            self._send(frames.Time(0, int(self._unix_time()) & 0xFFFFFFFF))
        is_stuck = bool(self._early) and now - self._stuck_since >= _STUCK_SECONDS
        if not self.is_up or is_stuck:
            self._ask()

    def diagnose(self, name: str, baud: int) -> errors.LinkError | ProtocolVersionError | None:
        """Return why ``name`` is not up, as far as can be told from what arrived; None if it is."""
        if self.is_up:
            return None
        if isinstance(self.problem, ProtocolVersionError):
            return self.problem
        if self.counts.frames:
            reason = f": {self.problem.problem}" if self.problem else ""
            return errors.NoHelloError(
                f"the board at {name} does not say what it measures{reason}",
                "call learnae_describe in its firmware, and connect its receiving pin, too",
            )
        if self.counts.bytes:
            return errors.BaudRateError(
                f"{counted(self.counts.bytes, 'byte')} from {name} at {baud} baud, and no frame among them",
                "set port.baud to the firmware's, and use a firmware that speaks Learnae's protocol",
            )
        return errors.SilentBoardError(
            f"nothing comes from {name}",
            "check power and cable, and that its firmware runs; it says hello every second",
        )

    # -- receiving

    def _take(self, frame: Frame) -> Iterator[Delivery]:
        if isinstance(frame, Hello):
            yield from self._on_hello(frame)
            return
        self._parts.clear()  # the parts of a hello arrive in one go
        if isinstance(frame, (Samples, Event, Log)):
            if self.is_up:
                yield from self._on_sequenced(frame)
        elif isinstance(frame, frames.Time) and frame.sequence in self._pings:
            sent = self._pings.pop(frame.sequence)
            pause = min(max(2 * (self._now - sent), _MIN_NAK_SECONDS), _MAX_NAK_SECONDS)
            self._nak_pause += 0.25 * (pause - self._nak_pause)  # smoothed as in RFC 6298
            yield Ticked(frame.value, sent, self._now)

    def _on_hello(self, hello: Hello) -> Iterator[Delivery]:
        is_late = self._now - self._part_arrived > _PART_TIMEOUT_SECONDS
        if hello.part != len(self._parts) or (self._parts and (is_late or not _same_head(hello, self._parts[0]))):
            self._parts.clear()
        if hello.part != len(self._parts) or hello.part >= MAX_PARTS:
            return
        self._parts.append(hello)
        self._part_arrived = self._now
        if not hello.is_last:
            return
        text = b"".join(part.text for part in self._parts)
        self._parts.clear()
        try:
            description = Description.from_hello(hello, text)
        except SerialFrameError as error:
            self.problem = error
            return
        self.problem = None
        yield from self._on_description(hello, description)

    def _on_description(self, hello: Hello, description: Description) -> Iterator[Delivery]:
        if hello.session == 0:
            if not self._is_pristine:
                yield self._start(self._new_session(), 0, description, is_fresh=True)
            self._send(frames.Welcome(self._expected, self.session))
        elif hello.session != self.session:
            yield self._start(hello.session, hello.sequence, description, is_fresh=False)
        else:
            self._skip_to(hello.sequence)
        self._is_confirmed = True
        self._descriptions.pop(hello.generation, None)
        self._descriptions[hello.generation] = description  # at the end: the oldest go first
        self._newest, self.description = hello.generation, description
        yield from self._deliver()  # what waited for this description

    def _start(self, session: int, expected: int, description: Description, is_fresh: bool) -> Started:
        token = self._token
        self._forget()
        self._token = token  # an answer to the old run's pings must not be taken for one of the new
        self._ping()  # before the welcome: so the board's clock is known when its samples come
        self.session, self._expected, self._is_pristine = session, expected, is_fresh
        self._rate_attempts = 0
        self.counts.sessions += 1
        _log.debug("session %08x of %s, at frame %d", session, description.board, expected)
        return Started(session, is_fresh, description)

    def _skip_to(self, oldest: int) -> None:
        """Go on at ``oldest`` if the board has nothing before it any more: a bridge has confirmed what is gone."""
        if (self._expected - oldest) & 0xFF > WINDOW:
            self._early = {each: frame for each, frame in self._early.items() if (each - oldest) & 0xFF < WINDOW}
            self._expected, self._stuck_since = oldest, self._now

    def _on_sequenced(self, frame: Samples | Event | Log) -> Iterator[Delivery]:
        self._is_pristine, self._ack_due = False, True
        ahead = (frame.sequence - self._expected) & 0xFF
        if ahead >= WINDOW or frame.sequence in self._early:
            self.counts.repeated += 1
            return
        if not self._early:
            self._stuck_since = self._now
            self.counts.gaps += ahead > 0
        self._early[frame.sequence] = frame
        yield from self._deliver()

    def _deliver(self) -> Iterator[Delivery]:
        """Yield everything that is next and whose description is known."""
        while (frame := self._early.get(self._expected)) is not None:
            delivery: Delivery | None
            if not isinstance(frame, Samples):
                delivery = frame
            elif (description := self._descriptions.get(frame.generation)) is not None:
                delivery = Measured(description, frame) if description.fits(frame) else None
            elif (frame.generation - self._newest) & 0xFF < 0x80:
                return  # of a description to come
            else:
                delivery = None  # of a description that is lost
            del self._early[self._expected]
            self._naks.pop(self._expected, None)
            self._expected = (self._expected + 1) & 0xFF
            self._ack_due, self._stuck_since = True, self._now
            if delivery is None:
                self.counts.refused += 1
            else:
                yield delivery

    # -- sending

    def _ask_for_missing(self) -> None:
        furthest = max((sequence - self._expected) & 0xFF for sequence in self._early)
        missing = ((self._expected + ahead) & 0xFF for ahead in range(furthest))
        overdue = (each for each in missing if each not in self._early and self._is_overdue(each))
        for sequence in islice(overdue, _MAX_NAKS):
            self._naks[sequence] = self._now
            self._send(frames.Nak(sequence))

    def _request_rate(self) -> None:
        if self._rate and self.description and self._rate_attempts < _RATE_ATTEMPTS:
            if abs(self.description.rate - self._rate) <= 0.01 * self._rate:
                return
            self._rate_attempts += 1
            self._send(frames.SetRate(0, round(self._rate * 1000)))

    def _is_overdue(self, sequence: int) -> bool:
        return self._now - self._naks.get(sequence, float("-inf")) >= self._nak_pause

    def _ask(self, pause: float = _ASK_SECONDS) -> None:
        is_coming = bool(self._parts) and self._now - self._part_arrived < _PART_TIMEOUT_SECONDS
        if self._now - self._asked >= pause and not is_coming:
            self._asked = self._now
            self._send(frames.Ask())

    def _ping(self) -> None:
        self._token = (self._token + 1) & 0xFF
        self._pinged = self._now
        self._pings = {self._token: self._now}  # an answer to an earlier one is too late to be of use
        self._send(frames.Ping(self._token))

    def _send(self, frame: Frame) -> None:
        if len(self._output) < _MAX_OUTPUT:
            self._output += frames.encode(frame)


def _same_head(one: Hello, other: Hello) -> bool:
    mine = (one.sequence, one.session, one.generation, one.width, one.rows, one.ticks, one.rate)
    return mine == (other.sequence, other.session, other.generation, other.width, other.rows, other.ticks, other.rate)
