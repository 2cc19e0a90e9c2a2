"""The bridge's work: what listeners and boards hear, and in which order."""

from __future__ import annotations

import os
import time

import pytest
from boards_protocol import hello, samples

from firmware_bridge.bridge import Bridge
from firmware_bridge.client import Client
from firmware_bridge.dialects import Native
from firmware_bridge.errors import PortMissingError
from firmware_bridge.frames import Ack, encode
from firmware_bridge.records import LinkState, Readings
from firmware_bridge.server import Server


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
    bridge.step()
    os.write(wire.theirs, samples(0, 0))
    bridge.step()

    assert wire.at_ack == [2]


def test_up_and_down_are_said_once_and_the_port_is_opened_again(place, caplog):
    bridge, wire, ports = place
    bridge.step()
    os.write(wire.theirs, hello())
    bridge.step()
    assert "waiting" not in bridge.summary()
    wire.is_unplugged = True
    for _ in range(4):
        bridge.step()
    assert "not there" in bridge.summary()
    wire.is_unplugged = False
    ports.append(wire)
    end = time.monotonic() + 20
    while bridge.problem is not None and time.monotonic() < end:
        os.write(wire.theirs, hello(session=bridge.dialect.link.session))
        bridge.step()
    bridge.step()

    states = [record.state for record in wire.heard + wire.listener.read() if isinstance(record, LinkState)]
    assert states == ["up", "down", "up"]
    assert caplog.text.count("is not there") == 1
