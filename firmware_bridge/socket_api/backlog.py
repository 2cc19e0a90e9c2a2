"""The backlog: the bridge's newest records, one bounded list that all listeners read at their own pace."""

from collections import deque
from dataclasses import dataclass

from firmware_bridge.records import DOWN, UP, LinkState, Listen, Readings, Record, Schema, to_bytes

MAX_BYTES = 4 << 20  # 70 s of six channels at 1 kHz, hours at 10 Hz


@dataclass(frozen=True, slots=True)
class _Entry:
    data: bytes
    schema: bytes  # the one in force after this record
    stream: str
    end: int  # the sequence after the record's last sample; 0 if it is not readings
    samples: int  # published before this record since the bridge started


class Backlog:
    """Records by number; the oldest go when there are more than ``limit`` bytes."""

    def __init__(self, limit: int = MAX_BYTES) -> None:
        self._limit = limit
        self._entries: deque[_Entry] = deque()
        self._bytes = 0
        self._samples = 0
        self._schema = b""
        self._stream = ""
        self._state = b""  # the newest record on whether the board answers
        self.first = 0  # number of the oldest record that is still here

    @property
    def next(self) -> int:
        """Return the number of the record that will be added next."""
        return self.first + len(self._entries)

    def add(self, record: Record) -> None:
        """Remember ``record``; raises RecordError if it cannot be sent."""
        data = to_bytes(record)
        end, before = 0, self._samples
        if isinstance(record, Schema):
            self._schema, self._stream = data, record.stream
        elif isinstance(record, Readings):
            end = record.sequence + record.rows
            self._samples += record.rows
        elif isinstance(record, LinkState) and record.state in (UP, DOWN):
            self._state = data
        self._entries.append(_Entry(data, self._schema, self._stream, end, before))
        self._bytes += len(data)
        while self._bytes > self._limit and len(self._entries) > 1:
            self._bytes -= len(self._entries.popleft().data)
            self.first += 1

    def data(self, number: int) -> bytes:
        """Return the encoded record of this number."""
        return self._entries[number - self.first].data

    def schema_before(self, number: int) -> bytes:
        """Return the encoded schema in force before the record ``number``; b"" if there is none or it is the record."""
        if number == self.next:
            return self._schema
        entry = self._entries[number - self.first]
        return entry.schema if entry.schema is not entry.data else b""

    def greeting(self, number: int) -> bytes:
        """Return what a listener needs that begins at the record ``number``: the schema, and how the link is."""
        return self.schema_before(number) + (self._state if number == self.next else b"")

    def samples_before(self, number: int) -> int:
        """Return how many samples were published before the record ``number``."""
        return self._samples if number == self.next else self._entries[number - self.first].samples

    def find(self, listen: Listen) -> int:
        """Return the number of the first record that a listener with this position does not have.

        One that knows nothing goes on with the next record, one that knows only what is forgotten with the oldest.
        """
        if not listen.stream:
            return self.next
        number, seen = self.next, False
        for entry in reversed(self._entries):
            known = entry.stream == listen.stream
            if (known and entry.end and entry.end <= listen.sequence) or (seen and not known):
                break  # the stream before is known, too
            seen = known
            number -= 1
        return number
