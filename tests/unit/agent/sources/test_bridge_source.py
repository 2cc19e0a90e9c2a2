"""An agent hears a firmware bridge over a real socket: schema, readings, labels, resets, and boards of another kind."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from programs import wait_for

from agent.labels import LabelNames
from agent.sources.bridge import BridgeSource
from firmware_bridge.records import Channel, Label, LinkState, Readings, Record, Schema
from firmware_bridge.socket_api.server import Server
from learnae.errors import DataError
from learnae.ports import Samples

NAMES = LabelNames(("idle", "busy"), 2)
RATE = 50.0


def schema(rate: float = RATE, names: str = "t ay ax") -> Schema:
    return Schema("run-1", "pump", "1.0", tuple(Channel(name, "") for name in names.split()), rate)


def readings(sequence: int, rows: int = 5, rate: float = RATE) -> Readings:
    numbers = np.arange(sequence, sequence + rows, dtype=np.float64)
    values = numbers[:, None] + np.array([1000.0, 0.5, 0.25])
    return Readings(sequence, 1.7e9 + sequence / rate, 1 / rate, values)


class Bridge:
    """A server that is moved by a thread, as the bridge does it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stop = threading.Event()
        self.server = Server(path)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(0.002):
            self.server.step()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self.server.close()


@pytest.fixture
def bridge(tmp_path: Path) -> Iterator[Bridge]:
    running = Bridge(tmp_path / "bridge.sock")
    yield running
    running.close()


def hear(bridge: Bridge, source: BridgeSource, *records: Record, until: int) -> Samples:
    """Publish and read until so many readings have come."""
    parts: list[Samples] = []
    wait_for(lambda: (parts.append(source.read()), bridge.server.listeners)[1], "the listener")
    for record in records:
        bridge.server.publish(record)
    wait_for(lambda: parts.append(source.read()) or sum(len(part.time) for part in parts) >= until, "readings")
    return Samples.joined(parts)


def source_of(bridge: Bridge, names: tuple[str, ...] = ("ax", "ay"), rate: float = RATE) -> BridgeSource:
    return BridgeSource(bridge.path, names, rate, 0.0, NAMES.number)


def test_readings_are_the_swarms_channels_in_its_order(bridge: Bridge) -> None:
    source = source_of(bridge)
    samples = hear(bridge, source, schema(), readings(0), readings(5), until=10)
    assert samples.values[:, 0].tolist() == [number + 0.25 for number in range(10)]
    assert samples.values[:, 1].tolist() == [number + 0.5 for number in range(10)]
    assert np.allclose(np.diff(samples.time), 1 / RATE)
    assert set(samples.label) == {-1}
    assert source.state() == "pump at 50 Hz"
    source.close()


def test_a_boards_labels_hold_until_the_next(bridge: Bridge) -> None:
    records = (
        schema(), Label(1.7e9, "busy"), readings(0), Label(1.7e9, "nobody knows"), readings(5), Label(1.7e9, "idle"),
        readings(10), Label(1.7e9, ""), readings(15),
    )  # fmt: skip
    samples = hear(bridge, source_of(bridge), *records, until=20)
    assert samples.label.tolist() == [1] * 5 + [-1] * 5 + [0] * 5 + [-1] * 5


def test_a_board_of_another_rate_is_resampled(bridge: Bridge) -> None:
    source = source_of(bridge, rate=10.0)
    samples = hear(bridge, source, schema(rate=100.0), *(readings(n, 50, 100.0) for n in range(0, 300, 50)), until=28)
    assert np.allclose(np.diff(samples.time), 0.1)
    assert np.allclose(samples.values[:, 0], (samples.time - 1.7e9) * 100 + 0.25, atol=1.1)


def test_a_channel_without_readings_costs_only_those_who_use_it(bridge: Bridge) -> None:
    failing = readings(5)
    failing.values[[1, 2, 4], 2] = np.nan  # ax
    both, other = source_of(bridge), source_of(bridge, ("ay",))
    wait_for(lambda: (both.read(), other.read(), bridge.server.listeners == 2)[2], "the listeners")
    samples = hear(bridge, both, schema(), readings(0), failing, until=7)
    assert samples.values[:, 0].tolist() == [0.25, 1.25, 2.25, 3.25, 4.25, 5.25, 8.25]
    assert both.state() == "pump at 50 Hz; no reading of ax"
    wait_for(lambda: len(other.read().time) == 10, "the other channel's readings")
    both.close()
    other.close()


def test_what_was_missed_and_how_the_link_is_are_told(bridge: Bridge) -> None:
    source = source_of(bridge)
    hear(bridge, source, schema(), LinkState(1.0, "missed", "too slow", 7), readings(7), until=5)
    assert source.state() == "missed: too slow; 7 samples missed"


def test_a_board_without_the_swarms_channels_is_named(bridge: Bridge) -> None:
    source = source_of(bridge, ("ax", "wz"))
    with pytest.raises(DataError, match=r"pump has no channel wz.*it has t, ay, ax"):
        hear(bridge, source, schema(), until=1)


def test_without_a_bridge_nothing_comes_and_the_state_says_why(tmp_path: Path) -> None:
    source = BridgeSource(tmp_path / "absent.sock", ("ax",), RATE, 0.0, NAMES.number)
    assert len(source.read().time) == 0
    assert "no bridge at" in source.state()
    source.close()


# -- restarts: a new source goes on at the position of the one before


def reopened(bridge: Bridge, source: BridgeSource, rate: float = RATE) -> BridgeSource:
    position = source.position
    source.close()
    wait_for(lambda: bridge.server.listeners == 0, "the listener to be gone")
    return BridgeSource(bridge.path, ("ax", "ay"), rate, 0.0, NAMES.number, position)


def test_what_comes_meanwhile_is_heard_once_with_its_label(bridge: Bridge) -> None:
    source = source_of(bridge)
    hear(bridge, source, schema(), Label(1.7e9, "busy"), readings(0), until=5)
    source = reopened(bridge, source)
    for record in (readings(5), Label(1.7e9, "idle"), readings(10)):
        bridge.server.publish(record)
    samples = hear(bridge, source, readings(15), until=15)
    assert samples.values[:, 0].tolist() == [number + 0.25 for number in range(5, 20)]
    assert samples.label.tolist() == [1] * 5 + [0] * 10
    assert source.missed == 0


def test_nothing_of_an_earlier_run_of_the_board_comes_again(bridge: Bridge) -> None:
    source = source_of(bridge, rate=10.0)
    hear(bridge, source, schema(), readings(0, 50), until=5)
    later = Schema("run-2", *(getattr(schema(), name) for name in ("board", "firmware", "channels", "rate")))
    bridge.server.publish(later)
    hear(bridge, source, readings(0, 50), until=4)
    source = reopened(bridge, source, 10.0)
    samples = hear(bridge, source, readings(50, 50), until=9)
    assert samples.values.min() > 40, "only what follows the fifty of the second run"


@pytest.mark.parametrize("changed", ["another run", "samples missed"])
def test_a_label_from_before_a_restart_is_forgotten_when_another_may_have_come(bridge: Bridge, changed: str) -> None:
    source = source_of(bridge)
    hear(bridge, source, schema(), Label(1.7e9, "busy"), readings(0), until=5)
    source = reopened(bridge, source)
    if changed == "another run":
        bridge.server.publish(Schema("run-2", "pump", "1.0", schema().channels, RATE))
    samples = hear(bridge, source, readings(7), until=5)
    assert samples.label.tolist() == [-1] * 5


def test_a_label_that_came_meanwhile_holds_whatever_was_missed(bridge: Bridge) -> None:
    source = source_of(bridge)
    hear(bridge, source, schema(), Label(1.7e9, "busy"), readings(0), until=5)
    source = reopened(bridge, source)
    samples = hear(bridge, source, Label(1.7e9, "idle"), readings(7), until=5)
    assert source.missed == 2
    assert samples.label.tolist() == [0] * 5


@pytest.mark.parametrize("rate", [10.0, 40.0, 120.0])
def test_resampling_goes_on_where_it_was(bridge: Bridge, rate: float) -> None:
    whole, parted = source_of(bridge, rate=rate), source_of(bridge, rate=rate)
    expected, found = [], []
    expected.append(hear(bridge, whole, schema(), until=0))
    wait_for(lambda: (parted.read(), bridge.server.listeners == 2)[1], "both")
    for start in range(0, 300, 23):
        bridge.server.publish(readings(start, 23))
        end = 1.7e9 + (start + 22) / RATE
        for source, parts in ((whole, expected), (parted, found)):
            wait_for(
                lambda source=source, parts=parts, end=end: (
                    parts.append(source.read()) or any(len(p.time) and p.time[-1] > end - 1.01 / rate for p in parts)
                ),
                "samples",
            )
        position = parted.position
        parted.close()
        parted = BridgeSource(bridge.path, ("ax", "ay"), rate, 0.0, NAMES.number, position)
    for name in ("time", "values"):
        one, other = (np.concatenate([getattr(part, name) for part in parts]) for parts in (expected, found))
        assert one.tolist() == other.tolist()


@pytest.mark.parametrize(("first", "second"), [(RATE, 100.0), (100.0, RATE)])
def test_a_schema_that_nothing_followed_yet_moves_no_position(bridge: Bridge, first: float, second: float) -> None:
    source = source_of(bridge)
    hear(bridge, source, schema(rate=first), readings(0, 50, first), until=24)
    before = source.position
    bridge.server.publish(schema(rate=second))
    wait_for(lambda: (source.read(), f"{second:g} Hz" in source.state())[1], "the schema")
    assert source.position == before == f"{50 if first == RATE else 49} -1 run-1"


def test_a_schema_that_is_said_again_interrupts_no_resampling(bridge: Bridge) -> None:
    source = source_of(bridge, rate=120.0)
    samples = hear(bridge, source, schema(), readings(0), schema(), readings(5), until=21)
    assert np.allclose(np.diff(samples.time), 1 / 120, atol=1e-5)


@pytest.mark.parametrize("position", ["", "x", "1 2", "a b run-1", " " * 9])
def test_a_position_that_cannot_be_read_is_none(tmp_path: Path, position: str) -> None:
    source = BridgeSource(tmp_path / "absent.sock", ("ax",), RATE, 0.0, NAMES.number, position)
    assert source.position == ""


def test_an_agent_that_hears_a_bridge_or_reads_senml_has_no_use_for_a_serial_port() -> None:
    program = """
import sys
import agent.wiring, agent.sources.bridge, agent.sources.payloads, firmware_bridge.config
print({"serial", "rich"} & {name.partition(".")[0] for name in sys.modules})
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
