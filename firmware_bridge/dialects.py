"""What a board may speak: Learnae's own protocol, or lines of SenML from firmware that knows nothing of Learnae."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from firmware_bridge.errors import LinkError, ProtocolVersionError
from firmware_bridge.records import Record
from firmware_bridge.serial_link.assembler import Assembler
from firmware_bridge.serial_link.link import Link
from learnae.text import counted

_SILENCE = 3.0  # seconds: three pings without an answer


class Dialect(Protocol):
    """One board's language. ``now`` is a clock that never goes back, ``now + offset`` Unix time."""

    def hear(self, data: bytes, now: float, offset: float) -> Iterator[Record]:
        """The records that bytes from the port make."""

    def answer(self, now: float) -> bytes:
        """What is to be sent to the board. Called at least every 0.1 s."""

    def reconnect(self) -> None:
        """The port was opened anew."""

    def is_alive(self, now: float) -> bool:
        """Whether the board at the port has lately said something that makes sense."""

    def is_waiting(self) -> bool:
        """Whether what comes should be read at once, as its time of arrival matters."""

    def wish_for(self, rate: float) -> None:
        """The rate in Hz that somebody would like; 0 for the board's own."""

    def diagnose(self, name: str, baud: int) -> LinkError | ProtocolVersionError | None:
        """Why the board at the port ``name`` makes no readings; None if it has made some."""

    def summary(self) -> str:
        """One line for people."""


class Native:
    """Learnae's protocol: a Link that delivers, an Assembler that makes records of it."""

    def __init__(self, rate: float = 0.0) -> None:
        self.link = Link(rate)
        self.assembler = Assembler()

    def hear(self, data: bytes, now: float, offset: float) -> Iterator[Record]:
        """See Dialect."""
        for delivery in self.link.receive(data, now):
            yield from self.assembler.take(delivery, now + offset, offset)

    def answer(self, now: float) -> bytes:
        """See Dialect."""
        self.link.poll(now)
        return self.link.take_output()

    def reconnect(self) -> None:
        """See Dialect."""
        self.link.reconnect()

    def is_alive(self, now: float) -> bool:
        """See Dialect."""
        return self.link.is_up and now - self.link.heard < _SILENCE

    def is_waiting(self) -> bool:
        """See Dialect."""
        return self.link.awaits_ticks

    def wish_for(self, rate: float) -> None:
        """See Dialect."""
        self.link.wish_for(rate)

    def diagnose(self, name: str, baud: int) -> LinkError | ProtocolVersionError | None:
        """See Dialect."""
        return self.link.diagnose(name, baud)

    def summary(self) -> str:
        """See Dialect."""
        description, assembler = self.link.description, self.assembler
        drift = assembler.clock.drift * 1e6 if assembler.clock else 0
        return (
            f"{description.board if description else 'board'}: {counted(assembler.samples, 'sample')}, "
            f"{assembler.missed} missed, {counted(self.link.counts.damaged, 'damaged frame')}, {drift:+.0f} ppm"
        )
