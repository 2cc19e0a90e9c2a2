"""Dialects: Learnae's own protocol, or lines of SenML from firmware that knows nothing of Learnae."""

from collections.abc import Iterator
from typing import Protocol

from firmware_bridge.errors import LinkError, ProtocolVersionError
from firmware_bridge.records import Record
from firmware_bridge.serial_link.assembler import Assembler
from firmware_bridge.serial_link.link import Link
from learnae.basics.overriding import override
from learnae.text import counted

_SILENCE_SECONDS = 3.0  # three pings without an answer


class Dialect(Protocol):
    """One board's language. ``now`` is a clock that never goes back, ``now + offset`` Unix time."""

    def hear(self, data: bytes, now: float, offset: float) -> Iterator[Record]:
        """Yield the records that bytes from the port make."""

    def answer(self, now: float) -> bytes:
        """Return what is to be sent to the board. Called at least every 0.1 s."""

    def reconnect(self) -> None:
        """Note that the port was opened anew."""

    def is_alive(self, now: float) -> bool:
        """Return True if the board at the port has lately sent something that makes sense."""

    def is_waiting(self) -> bool:
        """Return True if bytes should be read at once, as their time of arrival matters."""

    def wish_for(self, rate: float) -> None:
        """Ask the board for a rate in Hz; 0 for its own."""

    def diagnose(self, name: str, baud: int) -> LinkError | ProtocolVersionError | None:
        """Return why the board at the port ``name`` makes no readings; None if it has made some."""

    def summary(self) -> str:
        """Return one line for people."""


class Native(Link, Dialect):
    """Learnae's protocol: a Link that delivers, and an Assembler that makes records of it."""

    def __init__(self, rate: float = 0.0) -> None:
        super().__init__(rate)
        self.assembler = Assembler()

    @override
    def hear(self, data: bytes, now: float, offset: float) -> Iterator[Record]:
        for delivery in self.receive(data, now):
            yield from self.assembler.take(delivery, now + offset, offset)

    @override
    def answer(self, now: float) -> bytes:
        self.poll(now)
        return self.take_output()

    @override
    def is_alive(self, now: float) -> bool:
        return self.is_up and now - self.heard < _SILENCE_SECONDS

    @override
    def summary(self) -> str:
        description, assembler = self.description, self.assembler
        drift = assembler.clock.drift * 1e6 if assembler.clock else 0
        return (
            f"{description.board if description else 'board'}: {counted(assembler.samples, 'sample')}, "
            f"{assembler.missed} missed, {counted(self.counts.damaged, 'damaged frame')}, {drift:+.0f} ppm"
        )
