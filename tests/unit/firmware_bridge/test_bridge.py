"""The bridge's work: what listeners and boards hear, and in which order."""

import os
import time

import pytest
from boards_protocol import hello, samples
from programs import wait_for

from firmware_bridge.bridge import Bridge, clocks
from firmware_bridge.dialects import Native
from firmware_bridge.errors import PortMissingError
from firmware_bridge.records import LinkState, Readings
from firmware_bridge.serial_link.frames import Ack, encode
from firmware_bridge.socket_api.client import Client
from firmware_bridge.socket_api.server import Server


class Wire:
    """A port over pipes that remembers what was written, and what could be heard by then."""

    device = "/dev/test"
    has_waiting = False

    def __init__(self, listener: Client) -> None:
        self.ours, self.theirs = os.pipe()
        os.set_blocking(self.ours, False)
        self.listener = listener
        self.heard: list = []
        self.at_ack: list[int] = []
        self.is_unplugged = False

    def fileno(self) -> int:
        return self.ours

    def read(self) -> bytes:
        if self.is_unplugged:
            raise PortMissingError("/dev/test is not there", "plug the board in")
        try:
            return os.read(self.ours, 4096)
        except BlockingIOError:
            return b""

    def write(self, data: bytes) -> None:
        self.heard += self.listener.read()
        if encode(Ack(1)) in data:
            self.at_ack.append(sum(each.rows for each in self.heard if isinstance(each, Readings)))

    def close(self) -> None:
        pass


@pytest.fixture
def place(tmp_path):
    server = Server(tmp_path / "s")
    client = Client(tmp_path / "s")
    client.read()
    wire = Wire(client)
    ports: list = [wire]

    def open_port():
        if not ports:
            raise PortMissingError("/dev/test is not there", "plug the board in")
        return ports.pop()

    bridge = Bridge(open_port, 115200, Native(), server)
    yield bridge, wire, ports
    bridge.drain()
    os.close(wire.ours)
    os.close(wire.theirs)


def test_listeners_have_samples_before_the_board_hears_that_they_arrived(place):
    bridge, wire, _ = place
    bridge.step()
    os.write(wire.theirs, hello())
    wait_for(lambda: bridge.step() or bridge.dialect.is_up, "the hello")
    os.write(wire.theirs, samples(0, 0))
    wait_for(lambda: bridge.step() or wire.at_ack, "the confirmation")
    assert wire.at_ack == [2]


def test_what_comes_while_the_port_is_being_read_is_not_dated_before_it(place, monkeypatch):
    bridge, wire, _ = place
    bridge.step()
    read, hear, dated = wire.read, bridge.dialect.hear, []

    def slowly() -> bytes:
        time.sleep(0.05)  # the process is held up, and the board answers in the meantime
        data = read()
        dated.append(time.monotonic())
        return data

    def heard(data: bytes, now: float, offset: float):
        dated.append(now)
        return hear(data, now, offset)

    monkeypatch.setattr(wire, "read", slowly)
    monkeypatch.setattr(bridge.dialect, "hear", heard)
    os.write(wire.theirs, hello())
    wait_for(lambda: bridge.step() or bridge.dialect.is_up, "the hello")
    was_read, was_heard = dated[:2]
    assert was_heard >= was_read


def test_a_process_that_is_held_up_between_two_clocks_looks_again():
    monotonic = iter([10.0, 10.5, 11.0, 11.25, *[12.0] * 99])
    unix = iter([1000.5, 1001.25, 1002.0])
    assert clocks(monotonic.__next__, unix.__next__) == (12.0, 990.0)


def test_a_process_that_is_always_held_up_takes_the_best():
    monotonic = iter([value for turn in range(10) for value in (turn, turn + (0.25 if turn == 3 else 0.5))])
    unix = iter([1000.0 + turn + (0.125 if turn == 3 else 0.5) for turn in range(10)])
    assert clocks(monotonic.__next__, unix.__next__) == (9.5, 1000.0)


def test_up_and_down_are_said_once_and_the_port_is_opened_again(place, caplog):
    bridge, wire, ports = place
    bridge.step()
    os.write(wire.theirs, hello())
    wait_for(lambda: bridge.step() or (bridge.problem is None and "samples" in bridge.summary()), "the board")
    wire.is_unplugged = True
    wait_for(lambda: bridge.step() or "not there" in bridge.summary(), "the loss")
    for _ in range(3):
        bridge.step()
    wire.is_unplugged = False
    ports.append(wire)

    def plugged() -> bool:
        os.write(wire.theirs, hello(session=bridge.dialect.session))
        bridge.step()
        return bridge.problem is None

    wait_for(plugged, "the board again")
    bridge.step()
    states = [record.state for record in wire.heard + wire.listener.read() if isinstance(record, LinkState)]
    assert states == ["up", "down", "up"]
    assert caplog.text.count("is not there") == 1
