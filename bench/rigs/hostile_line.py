"""A board and a bridge with a hostile serial line between them, in virtual time and seeded: runs can be repeated."""

import math
import random
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from bench.rigs.host_board import HostBoard, expected_values
from firmware_bridge.records import MISSED, LinkState, Readings, Record, Schema
from firmware_bridge.serial_link.assembler import Assembler
from firmware_bridge.serial_link.link import Link

START = 1_700_000_000.0  # Unix seconds at virtual time 0
_STEP = 0.005  # seconds of virtual time between two looks at everything


@dataclass(frozen=True, slots=True)
class Faults:
    """Chances a byte; at most ``delay`` s; ``piecemeal`` hands bytes over one at a time."""

    loss: float = 0.0
    flip: float = 0.0  # of one bit
    insertion: float = 0.0  # of a strange one behind it
    delay: float = 0.0
    piecemeal: bool = False


class HostileLine:
    """One direction. FIFO, as wires are; ``speed`` in bytes a second."""

    def __init__(self, faults: Faults, rng: random.Random, speed: float) -> None:
        self.is_plugged = True
        self.faulty = 0  # bytes harmed
        self._faults = faults
        self._rng = rng
        self._speed = speed
        self._chance = faults.loss + faults.flip + faults.insertion
        self._until_fault = self._draw()
        self._queue: deque[tuple[float, bytes]] = deque()
        self._free = 0.0  # when the wire is free again
        self._last = 0.0  # when the last byte arrives

    def send(self, data: bytes, now: float) -> None:
        """Put bytes on the line."""
        if not data:
            return
        self._free = max(self._free, now) + len(data) / self._speed
        self._last = max(self._last, self._free + self._rng.uniform(0, self._faults.delay))
        if self.is_plugged:
            self._queue.append((self._last, self._harm(data)))

    def receive(self, now: float) -> list[bytes]:
        """Return the bytes that have arrived."""
        arrived = []
        while self._queue and self._queue[0][0] <= now:
            arrived.append(self._queue.popleft()[1])
        data = b"".join(arrived)
        if self._faults.piecemeal:
            return [data[index : index + 1] for index in range(len(data))]
        return [data] if data else []

    def _draw(self) -> int:
        """Draw how many bytes stay whole before the next fault: geometric."""
        if self._chance == 0:
            return 1 << 62
        return int(math.log(1 - self._rng.random()) / math.log(1 - self._chance))

    def _harm(self, data: bytes) -> bytes:
        harmed = bytearray()
        position = 0
        while len(data) - position > self._until_fault:
            hit = position + self._until_fault
            harmed += data[position:hit]
            harmed += self._fault(data[hit])
            position = hit + 1
            self.faulty += 1
            self._until_fault = self._draw()
        self._until_fault -= len(data) - position
        return bytes(harmed + data[position:])

    def _fault(self, byte: int) -> bytes:
        kind = self._rng.random() * self._chance
        if kind < self._faults.loss:
            return b""
        if kind < self._faults.loss + self._faults.flip:
            return bytes([byte ^ 1 << self._rng.randrange(8)])
        return bytes([byte, self._rng.randrange(256)])


class Inspector:
    """Checks every record against what the board must have measured; raises AssertionError at the first wrong one."""

    def __init__(self) -> None:
        self.samples = self.missed = 0
        self.worst_time = 0.0  # seconds between when a sample was taken and what its reading says
        self.schema: Schema | None = None
        self.unheard = 0  # samples that the board dropped before the link was there
        self.next: int | None = None  # number of the sample that must come next
        self._waiting: list[Readings] = []

    @property
    def accounted(self) -> int:
        """Return how many samples have come or are known to be lost."""
        return self.samples + self.missed + self.unheard

    def take(self, records: Iterable[Record], rate: float, begun: float) -> None:
        """Check records; ``rate`` is the board's true one, and ``begun`` when it started."""
        for record in records:
            if isinstance(record, Schema):
                self.schema, self.next = record, None
            elif isinstance(record, LinkState) and record.state == MISSED:
                self.missed += record.missed
                self.next = (self.next or 0) + record.missed
            elif isinstance(record, Readings):
                self._check_order(record, rate, begun)
        if len(self._waiting) >= 500:
            self.check_values()

    def _check_order(self, readings: Readings, rate: float, begun: float) -> None:
        if self.next is None:
            self.unheard += readings.sequence
        elif readings.sequence != self.next:
            raise AssertionError(f"sample {readings.sequence} came where {self.next} is next")
        self.next = readings.sequence + readings.rows
        self.samples += readings.rows
        self._waiting.append(readings)
        taken = START + begun + readings.sequence / rate
        self.worst_time = max(self.worst_time, abs(readings.time - taken))

    def check_values(self) -> None:
        """Compare all waiting values with what they must be."""
        if not self._waiting:
            return
        values = np.concatenate([readings.values for readings in self._waiting])
        index = np.concatenate([each.sequence + np.arange(each.rows) for each in self._waiting])
        wrong = np.flatnonzero((values != expected_values(index)).any(axis=1))
        self._waiting.clear()
        if len(wrong):
            raise AssertionError(f"sample {index[wrong[0]]} reads {values[wrong[0]]}")


class Conversation:
    """A board that takes a sample every 1/``rate`` s, a hostile line each way, and the bridge's link."""

    def __init__(
        self, seed: int, faults: Faults, rate: float = 400.0, rows: int = 4, memory: int = 1024, baud: int = 115_200
    ) -> None:
        rng = random.Random(seed)
        self.rate = rate
        self._memory, self._rows = memory, rows
        self.board = HostBoard(memory, rows, rate)
        self.begun = 0.0  # when the board was started
        self.link = Link(new_session=lambda: rng.randrange(1, 1 << 32))
        self.assembler = Assembler()
        self.inspector = Inspector()
        self.up, self.down = (HostileLine(faults, rng, baud / 10) for _ in range(2))
        self.now = 0.0
        self._is_sampling = True

    def run(self, seconds: float) -> None:
        """Let virtual time pass; raises AssertionError at the first wrong reading."""
        end = self.now + seconds
        while self.now < end:
            self.step()
        self.inspector.check_values()

    def step(self) -> None:
        """Let five milliseconds pass."""
        self.now += _STEP
        for piece in self.down.receive(self.now):
            self.board.receive(piece)
        alive = self.now - self.begun
        while self._is_sampling and self.board.index < alive * self.rate:
            self.board.sample(round(self.board.index / self.rate * 1000))
        self.board.poll(round(alive * 1000))
        self.up.send(self.board.take(), self.now)
        for piece in self.up.receive(self.now):
            for delivery in self.link.receive(piece, self.now):
                self.inspector.take(self.assembler.take(delivery, self.now + START, START), self.rate, self.begun)
        self.link.poll(self.now)
        self.down.send(self.link.take_output(), self.now)

    def reset_board(self) -> None:
        """Start the board anew, as its watchdog does: its memory and its clock are gone."""
        self.board.close()
        self.board = HostBoard(self._memory, self._rows, self.rate)
        self.begun = self.now

    def plug(self, is_plugged: bool) -> None:
        """Connect or disconnect both directions; the bridge notices, as the port goes and comes."""
        self.up.is_plugged = self.down.is_plugged = is_plugged
        if is_plugged:
            self.link.reconnect()

    def _drain(self, seconds: float) -> None:
        end = self.now + seconds
        self.board.flush()
        while self.now < end and self.board.frames:
            self.step()

    def settle(self, seconds: float = 5.0) -> None:
        """Let everything arrive, then one more sample, which tells whether any before it was dropped."""
        self._is_sampling = False
        self._drain(seconds)
        self.board.sample(round(self.board.index / self.rate * 1000))
        self._drain(seconds)
        self.inspector.check_values()
