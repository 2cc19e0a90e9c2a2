"""The firmware bridge's promises: Python keeps up with any serial port, 115200 baud costs next to nothing, and a
hostile line slows things down but never makes a reading wrong."""

import binascii
import os
import subprocess
import sys
import tempfile
import time
import tty
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median

from cobs import cobs

from bench.harness import AT_LEAST, AT_MOST, Race
from bench.rigs.host_board import HostBoard
from bench.rigs.hostile_line import START, Conversation, Faults
from bench.rigs.processes import cpu_seconds
from firmware_bridge.records import Readings
from firmware_bridge.serial_link.assembler import Assembler
from firmware_bridge.serial_link.frames import FrameSplitter, Samples, encode
from firmware_bridge.serial_link.link import Delivery, Link
from firmware_bridge.socket_api.client import Client

BAUD = 115_200
HOSTILE = Faults(loss=1e-3, flip=1e-3, insertion=1e-3, delay=0.01)
_CHUNK = 345  # bytes: what 115200 baud brings in the 30 ms that the bridge lets them gather


def run(race: Race) -> None:
    """Run all checks."""
    for rows in (4, 30):
        check_decoding(race, rows)
    check_cost(race)
    check_hostile(race)


# -- decoding


def check_decoding(race: Race, rows: int) -> None:
    """Decode a port's bytes to records, on one core."""
    repeats = 3 if race.quick else 9
    stream = recorded(20_000 if race.quick else 400_000, rows)
    with race.step(f"decoding {len(stream):,} bytes of frames of {rows} samples"):
        frames = stream.count(b"\0")
        rates = [len(stream) / 1e6 / core_seconds(stream) for _ in range(repeats)]
    note = f"median of {repeats}; {len(stream) / frames:.0f} bytes a frame, to numbered and timed float64 readings"
    race.figure(f"frames of {rows} samples of 3 channels", median(rates) * 1e6 / (len(stream) / frames), "frames/s")
    race.check(f"decoding, {rows} samples a frame", median(rates), 1.0, AT_LEAST, "MB/s", note)


def recorded(length: int, rows: int) -> bytes:
    """Return what a board sends that is confirmed at once: hello and samples, about ``length`` bytes."""
    board, link = HostBoard(4096, rows, 1000.0), Link(new_session=lambda: 7)
    stream = bytearray()
    while len(stream) < length:
        board.sample(board.index)
        board.poll(board.index)
        piece = board.take()
        link.receive(piece, 0.0)
        board.receive(link.take_output())
        stream += piece
    board.close()
    return bytes(stream)


def core_seconds(stream: bytes) -> float:
    """Return how long a core works on it, whatever else the machine does."""
    begun = time.process_time()
    decode_all(stream)
    return time.process_time() - begun


def decode_all(stream: bytes) -> None:
    """Decode as the bridge does, without a port and without listeners."""
    link, assembler = Link(new_session=lambda: 7), Assembler()
    samples = 0
    for start in range(0, len(stream), _CHUNK):
        for delivery in link.receive(stream[start : start + _CHUNK], start / 11_520):
            for record in assembler.take(delivery, START + start / 11_520, START):
                if isinstance(record, Readings):
                    samples += record.rows
        link.take_output()
    if samples == 0 or link.counts.damaged or link.counts.refused:
        raise AssertionError("the recorded stream was not decoded")


# -- a port at 115200 baud


def check_cost(race: Race) -> None:
    """Run the whole program, with a listener, on a pseudo-terminal that is as busy as 115200 baud can be."""
    seconds = 2.0 if race.quick else 20.0
    with race.step(f"{seconds:.0f} s of 115200 baud"), tempfile.TemporaryDirectory() as directory:
        cost, carried, samples = busy_port(Path(directory), seconds, least=0.0 if race.quick else 0.9)
    race.figure("bytes carried", carried, "B/s")
    race.figure("samples of three channels", samples, "/s")
    note = f"user and system time of firmware-bridge run, {carried / (BAUD / 10):.0%} of what 115200 baud can carry"
    race.check("115200 baud, share of a core", 100 * cost, 3.0, AT_MOST, "%", note)


def busy_port(directory: Path, seconds: float, least: float) -> tuple[float, float, float]:
    """Return share of a core, bytes and samples a second, of a bridge whose board sends as much as it can.

    Of its samples ``least`` must arrive: the cost of an idle bridge would say nothing.
    """
    rows = 8
    size = len(encode_samples(rows))
    rate = 0.95 * BAUD / 10 / size * rows  # leaves room for the answers to pings
    board = HostBoard(4096, rows, rate)
    ours, theirs = os.openpty()
    tty.setraw(theirs)
    os.set_blocking(ours, False)
    with bridge_at(os.ttyname(theirs), directory) as (process, socket):
        client = Client(socket)
        begun = cpu = carried = samples = 0.0
        start = time.monotonic()
        warm = start + 2.0  # imports and first connections are not what runs all day
        while (now := time.monotonic()) < warm + seconds:
            if not begun and now >= warm:
                begun, cpu, carried, samples = now, cpu_seconds(process.pid), 0, 0
            carried += turn(board, ours, (now - start) * rate, round((now - start) * 1000))
            samples += sum(record.rows for record in client.read() if isinstance(record, Readings))
            time.sleep(0.01)
        spent = time.monotonic() - begun
        cost = (cpu_seconds(process.pid) - cpu) / spent
        client.close()
    os.close(ours)
    os.close(theirs)
    board.close()
    if samples < least * rate * spent:
        raise AssertionError(f"only {samples:.0f} of {rate * spent:.0f} samples arrived")
    return cost, carried / spent, samples / spent


def encode_samples(rows: int) -> bytes:
    """Return one frame of ``rows`` samples, with no zero in it."""
    return encode(Samples(1, 1, rows, 0x01010101, 0x01010101, b"\x01" * 2 * HostBoard.CHANNELS * rows))


def turn(board: HostBoard, line: int, due: float, ticks: int) -> int:
    """Let the board sample and talk; returns the bytes that it has sent."""
    with suppress(BlockingIOError):
        board.receive(os.read(line, 4096))
    while board.index < due:
        board.sample(ticks)
    board.poll(ticks)
    sent = 0
    if said := board.take():
        with suppress(BlockingIOError):  # the bridge does not read: as on a wire, it is lost, and sent again
            sent = os.write(line, said)
    return sent


@contextmanager
def bridge_at(port: str, directory: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """Run ``firmware-bridge run``; give its process and its socket."""
    socket = directory / "bridge.sock"
    command = [sys.executable, "-m", "firmware_bridge", "run", "--port", port, "--socket", str(socket)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        yield process, socket
    finally:
        process.terminate()
        process.wait(60)


# -- a hostile line


def check_hostile(race: Race) -> None:
    """Lose, flip and insert 1e-3 a byte, each way: what arrives, how soon it does again, what could pass wrongly."""
    frames = 2_000 if race.quick else 100_000
    with race.step(f"{frames:,} frames over a hostile line"):
        talk = Conversation(1, HOSTILE, rate=600.0)
        doubtful = Doubtful(talk)
        while talk.link.counts.frames < frames:
            talk.run(5)
        talk.settle()
    seen = talk.inspector
    race.figure("hostile line: bytes harmed", talk.up.faulty + talk.down.faulty)
    race.figure("hostile line: frames damaged", 100 * talk.link.counts.damaged / talk.link.counts.frames, "%")
    race.figure("hostile line: samples that arrived", 100 * seen.samples / talk.board.index, "%")
    race.figure("hostile line: samples a second", seen.samples / talk.now)
    race.figure("hostile line: frames that only the CRC refused", doubtful.count)
    race.figure("hostile line: of these, more than three bits wrong", doubtful.chances)
    race.figure("hostile line: wrong frames to expect in 10^6", doubtful.chances / frames * 1e6 / 65536)
    unknown = talk.board.index - seen.accounted
    race.check("hostile line: samples neither right nor told missing", unknown, 0, AT_MOST)
    times = [recovery_seconds(seed) for seed in range(3 if race.quick else 20)]
    race.figure("after 5 s unplugged: first reading, median", 1000 * median(times), "ms")
    race.figure("after 5 s unplugged: first reading, worst", 1000 * max(times), "ms")


class Doubtful:
    """Counts damaged pieces that have the size and type of a samples frame, so that only their CRC gives them away.

    Up to three flipped bits are always seen (Hamming distance 4); ``chances`` are those that differ from every recent
    frame in more, which the CRC lets pass with a probability of 2^-16 each.
    """

    def __init__(self, talk: Conversation) -> None:
        self.count = self.chances = 0
        self._size = len(cobs.decode(encode_samples(4)[:-1]))
        self._sent: deque[int] = deque(maxlen=256)
        self._before, self._after = FrameSplitter(), FrameSplitter()
        self._send, self._receive = talk.up.send, talk.link.receive
        talk.up.send = self.send  # type: ignore[method-assign]
        talk.link.receive = self.receive  # type: ignore[method-assign]

    def send(self, data: bytes, now: float) -> None:
        """Remember the bytes that go onto the line."""
        self._sent.extend(int.from_bytes(cobs.decode(piece)) for piece in self._before.feed(data))
        self._send(data, now)

    def receive(self, data: bytes, now: float) -> list[Delivery]:
        """Judge the bytes that come off it."""
        for piece in self._after.feed(data):
            self._judge(piece)
        return self._receive(data, now)

    def _judge(self, piece: bytes) -> None:
        try:
            body = cobs.decode(piece)
        except cobs.DecodeError:
            return
        if len(body) == self._size and body[0] == 0x12 and binascii.crc_hqx(body, 0xFFFF) != 0:
            self.count += 1
            number = int.from_bytes(body)
            self.chances += min((number ^ sent).bit_count() for sent in self._sent) > 3


def recovery_seconds(seed: int) -> float:
    """Return the virtual time from plugging in again until a sample arrives that was taken afterwards."""
    talk = Conversation(seed, HOSTILE, rate=100.0)
    talk.run(5)
    talk.plug(False)
    talk.run(5)
    begun, first = talk.now, talk.board.index
    talk.plug(True)
    while talk.inspector.accounted < first and talk.now < begun + 60:
        talk.step()
    return talk.now - begun
