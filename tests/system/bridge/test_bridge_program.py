"""From real firmware on a simulated AVR board, over a pseudo-terminal and the bridge, to a listener."""

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from boards import BUTTON, HANG, SimulatedBoard
from programs import PATIENCE, clean_environment, wait_for

from agent.ingestion.buffer import SampleBuffer
from agent.sources.bridge import BridgeSource
from firmware_bridge.records import Channel, Label, LinkState, Readings, Schema
from firmware_bridge.senml.codec import from_json
from firmware_bridge.socket_api.client import Client

pytestmark = [pytest.mark.engine("gcc", "avr-gcc"), pytest.mark.modules("serial")]

CHANNELS = (Channel("count", "count"), Channel("voltage", "V"))
A_WHILE = 30.0  # seconds that dates may be wrong by on a machine that stands still; else see test_bridge_clock


class Bridges:
    """Runs ``firmware-bridge`` and ends what it started."""

    def __init__(self, root) -> None:
        self.root, self.socket = root, root / "bridge.sock"
        self.started: list[subprocess.Popen] = []

    def command(self, *words) -> list[str]:
        return [sys.executable, "-m", "firmware_bridge", *map(str, words)]

    def environment(self) -> dict[str, str]:
        return clean_environment(LEARNAE_HOME=str(self.root), XDG_CONFIG_HOME=str(self.root))

    def run(self, *words, timeout: float = 2 * PATIENCE) -> subprocess.CompletedProcess:
        return subprocess.run(
            self.command(*words), env=self.environment(), capture_output=True, text=True, check=False, timeout=timeout
        )

    def start(self, port, *words) -> subprocess.Popen:
        log = (self.root / "log").open("ab")
        process = subprocess.Popen(
            self.command("run", "--port", port, "--socket", self.socket, *words), env=self.environment(), stderr=log
        )
        self.started.append(process)
        return process

    @property
    def log(self) -> str:
        return (self.root / "log").read_text()

    def end(self) -> None:
        for process in self.started:
            process.kill()
            process.wait()


@pytest.fixture
def bridges(tmp_path):
    bridges = Bridges(tmp_path)
    yield bridges
    bridges.end()


class Listener:
    """Collects what a client hears."""

    def __init__(self, bridges: Bridges) -> None:
        self.client = Client(bridges.socket)
        self.records: list = []

    def until(self, condition, what: str) -> None:
        def heard():
            self.records += self.client.read()
            return condition(self)

        wait_for(heard, what)

    def samples(self) -> int:
        return sum(record.rows for record in self.records if isinstance(record, Readings))

    def streams(self) -> list[list[Readings]]:
        """Readings of each stream, in order."""
        found: dict[str, list[Readings]] = {}
        for record in self.records:
            if isinstance(record, Schema):
                current = found.setdefault(record.stream, [])
            elif isinstance(record, Readings):
                current.append(record)
        return list(found.values())

    def states(self) -> list[str]:
        return [record.state for record in self.records if isinstance(record, LinkState)]


def assert_whole(stream: list[Readings]) -> None:
    """Every sample, once, in order, with the right values, at the right times."""
    first = stream[0].sequence  # a board that nobody has heard yet keeps its newest samples
    sequence = [number for each in stream for number in range(each.sequence, each.sequence + each.rows)]
    assert sequence == list(range(first, first + len(sequence)))
    values = np.concatenate([each.values for each in stream])
    np.testing.assert_array_equal(values[:, 0], np.array(sequence, np.uint16).astype(np.int16))
    assert ((values[:, 1] > 0.45) & (values[:, 1] < 4.55)).all()  # the triangle at ADC0
    # a board that sends much at once, as a bridge was late, measures some samples late
    assert np.median(np.abs(np.diff(values[:, 1]))) == pytest.approx(0.08, abs=0.01)
    between = np.diff(np.concatenate([each.times for each in stream]))
    assert (between > 0).all()
    assert np.median(between) == pytest.approx(0.02, abs=0.001)  # but for moments in which the machine held us up


class Recording:
    """An agent's source and its sample buffer on disk, as the recorder moves readings from one to the other."""

    def __init__(self, bridges: Bridges) -> None:
        self.source = BridgeSource(bridges.socket, ["voltage", "count"], 50.0, 1.0, {"pressed": 1}.get)
        self.buffer = SampleBuffer(bridges.root / "samples.db", 2, 10_000, 1 << 24)
        self.readings = 0

    def record(self) -> int:
        """How many have come so far."""
        samples = self.source.read()
        if len(samples.time):
            self.buffer.append("board", samples)
            self.buffer.commit()
            self.readings += len(samples.time)
        return self.readings

    def stored(self) -> tuple[np.ndarray, np.ndarray]:
        chunks = self.buffer.after(0, 10_000)
        return tuple(np.concatenate([getattr(each.samples, name) for each in chunks]) for name in ("values", "label"))

    def close(self) -> None:
        self.source.close()
        self.buffer.close()


@pytest.mark.parametrize("mcu", ["atmega328p", pytest.param("atmega2560", marks=pytest.mark.slow)])
def test_every_sample_of_real_firmware_arrives_also_after_a_hang(bridges, mcu):
    begun = time.time()
    board = SimulatedBoard(bridges.root, mcu)
    bridges.start(board.device)
    wait_for(bridges.socket.exists, "the bridge")
    listener, recording = Listener(bridges), Recording(bridges)
    recording.record()  # connects
    with board:
        listener.until(lambda it: it.samples() >= 50, "a second of samples")
        board.pull(BUTTON, low=True)
        listener.until(lambda it: any(isinstance(record, Label) for record in it.records), "the label")
        board.pull(BUTTON, low=False)
        listener.until(lambda it: it.samples() >= 70, "more samples")
        board.pull(HANG, low=True)
        board.pull(HANG, low=False)  # after the chip has seen it; its watchdog bites after half a second
        listener.until(lambda it: len(it.streams()) >= 2 and len(it.streams()[-1]) > 10, "samples after the reset")
    listener.until(lambda it: it.states()[-1:] == ["down"], "the end")
    wait_for(lambda: recording.record() >= listener.samples(), "the buffer to have it, too")
    values, labels = recording.stored()
    recording.close()
    schemas = [record for record in listener.records if isinstance(record, Schema)]
    assert {(each.board, each.firmware, each.channels, each.rate) for each in schemas} == {
        ("avr-node", "1.0", CHANNELS, 50.0)
    }
    before_hang, after_hang = listener.streams()
    assert_whole(before_hang)
    assert_whole(after_hang)
    assert after_hang[0].sequence == 0  # the bridge was there from the first on
    assert "reset" in listener.states()
    assert "missed" not in listener.states()
    assert "reset by the watchdog" in bridges.log
    assert [record.name for record in listener.records if isinstance(record, Label)][:1] == ["pressed"]
    dates = np.concatenate([each.times for stream in listener.streams() for each in stream])
    assert begun - A_WHILE < dates[0] < dates[-1] < time.time() + A_WHILE
    heard = np.concatenate([each.values for stream in listener.streams() for each in stream])
    np.testing.assert_array_equal(values, heard[:, ::-1].astype(np.float32))  # the buffer has all of it, once
    assert set(labels) == {-1, 1}


@pytest.mark.slow
def test_an_unplugged_board_comes_back_and_a_restarted_bridge_loses_nothing(bridges):
    board = SimulatedBoard(bridges.root)
    first = bridges.start(board.device)
    listener, second = Listener(bridges), Listener(bridges)
    wait_for(bridges.socket.exists, "the bridge")
    with board:
        listener.until(lambda it: it.samples() >= 20, "samples")
        board.unplug()
        listener.until(lambda it: "down" in it.states(), "the bridge to notice")
        board.plug()
        listener.until(lambda it: len(it.streams()) == 2 and it.samples() > 40, "samples again")
        second.until(lambda it: it.samples() >= 10, "a second listener")
        first.send_signal(signal.SIGTERM)
        assert first.wait(PATIENCE) == 0
        bridges.start(board.device, "--verbose")
        have = listener.samples()
        listener.until(lambda it: it.samples() > have + 50, "samples from the new bridge")
    for stream in listener.streams():
        numbers = [number for each in stream for number in range(each.sequence, each.sequence + each.rows)]
        assert len(set(numbers)) == len(numbers)
        assert numbers == sorted(numbers)
    lost = sum(record.missed for record in listener.records if isinstance(record, LinkState))
    last = listener.streams()[-1]
    assert last[-1].sequence + last[-1].rows - last[0].sequence == sum(each.rows for each in last) + lost
    assert "the bridge was stopped" in [r.reason for r in listener.records if isinstance(r, LinkState)]


@pytest.mark.slow
def test_a_killed_bridge_loses_nothing_that_it_has_confirmed(bridges):
    with SimulatedBoard(bridges.root) as board:
        bridges.start(board.device)
        listener = Listener(bridges)
        listener.until(lambda it: it.samples() >= 10, "samples")
        for number in range(5):
            bridges.started[-1].kill()
            bridges.started[-1].wait()
            bridges.start(board.device)
            have = listener.samples()
            listener.until(lambda it, have=have, number=number: it.samples() > have + 5 + 3 * number, "more samples")
    (stream,) = listener.streams()
    numbers = [number for each in stream for number in range(each.sequence, each.sequence + each.rows)]
    missed = [record.missed for record in listener.records if isinstance(record, LinkState) and record.missed]
    gaps = [(before, after) for before, after in itertools.pairwise(numbers) if after != before + 1]
    assert numbers == sorted(set(numbers))
    assert sum(after - before - 1 for before, after in gaps) == sum(missed)  # what the board had no room for, and told


def test_a_wished_rate_is_a_new_schema(bridges):
    with SimulatedBoard(bridges.root) as board:
        (bridges.root / "bridge.toml").write_text("[board]\nrate = 100.0\n")
        bridges.start(board.device, "--config", bridges.root / "bridge.toml")
        listener = Listener(bridges)
        listener.until(lambda it: [r.rate for r in it.records if isinstance(r, Schema)][-1:] == [100.0], "the rate")
        have = listener.samples()
        listener.until(lambda it: it.samples() > have + 50, "samples at it")
    steps = [record.step for record in listener.records if isinstance(record, Readings)]
    assert steps[-1] == pytest.approx(0.01, rel=0.01)


def test_check_and_monitor_say_what_the_board_measures(bridges):
    with SimulatedBoard(bridges.root) as board:
        found = bridges.run("check", "--port", board.device, "--json")
        assert found.returncode == 0, found.stderr
        assert json.loads(found.stdout)["channels"] == {"count": "count", "voltage": "V"}
        assert "avr-node" in bridges.run("check", "--port", board.device).stdout
        bridges.start(board.device)
        wait_for(bridges.socket.exists, "the bridge")
        busy = bridges.run("check", "--port", board.device)
        lines = bridges.run("monitor", "--socket", bridges.socket, "--json", "--count", 4).stdout.splitlines()
        pack = bridges.run("monitor", "--socket", bridges.socket, "--format", "senml", "--count", 5).stdout
        table = bridges.run("monitor", "--socket", bridges.socket, "--format", "table", "--count", 6).stdout
        command = bridges.command("monitor", "--socket", bridges.socket, "--json")
        watcher = subprocess.Popen(
            command, env=bridges.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert watcher.stdout.readline()
        watcher.send_signal(signal.SIGINT)
        out, err = watcher.communicate(timeout=60)
    assert (watcher.returncode, err) == (0, "")  # the way to end it; what has been begun is whole
    assert all(json.loads(line) for line in out.splitlines())
    assert busy.returncode == 75
    assert "another program holds" in busy.stderr
    kinds = [json.loads(line)["kind"] for line in lines]
    assert kinds[0] == "schema"
    assert "readings" in kinds
    names = {measurement.name: measurement.unit for measurement in from_json(pack.splitlines()[0], 0)}
    assert names == {"avr-node:count": "count", "avr-node:voltage": "V"}
    assert table.count("avr-node 1.0, 50 Hz") == 1
    assert "voltage" in table


@contextmanager
def speaking(words: Iterator[bytes]) -> Iterator[str]:
    """A port where one of ``words`` comes after another, twenty a second."""
    ours, theirs = os.openpty()
    tty.setraw(theirs)
    over = threading.Event()

    def speak() -> None:
        while not over.wait(0.05):
            os.write(ours, next(words))

    speaker = threading.Thread(target=speak)
    speaker.start()
    try:
        yield os.ttyname(theirs)
    finally:
        over.set()
        speaker.join()
        os.close(theirs)
        os.close(ours)


@pytest.mark.parametrize(
    ("said", "status", "words"),
    [
        pytest.param(b"", 75, "nothing comes from", marks=pytest.mark.slow),
        pytest.param(bytes(range(1, 200)) * 3, 75, "port.baud", marks=pytest.mark.slow),
        (b"\x05\x25\x03\xd4\x7f\x00", 78, "version 2"),
    ],
)
def test_a_board_that_cannot_be_used_is_named_with_the_remedy(bridges, said, status, words):
    with speaking(itertools.repeat(said)) as device:
        done = bridges.run("check", "--port", device)
    assert done.returncode == status, done.stderr
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_board_that_prints_senml_is_heard(bridges):
    (bridges.root / "bridge.toml").write_text('[port]\nprotocol = "senml"\n')
    packs = ([{"bn": "lamp:", "bt": 1.7e9 + n * 0.05, "n": "light", "u": "lx", "v": n}] for n in itertools.count())
    with speaking(json.dumps(pack).encode() + b"\n" for pack in packs) as device:
        found = bridges.run("check", "--config", bridges.root / "bridge.toml", "--port", device, "--json")
        bridges.start(device, "--config", bridges.root / "bridge.toml")
        listener = Listener(bridges)
        listener.until(lambda it: it.samples() >= 10, "samples")
    assert json.loads(found.stdout)["channels"] == {"light": "lx"}
    (stream,) = listener.streams()
    values = [each.values[0, 0] for each in stream]
    assert values == list(range(int(values[0]), int(values[0]) + len(values)))


def test_a_missing_port_and_a_missing_bridge_are_named(bridges):
    port = bridges.run("check", "--port", bridges.root / "ttyACM9")
    monitor = bridges.run("monitor", "--socket", bridges.socket)
    assert (port.returncode, monitor.returncode) == (75, 75)
    assert "is not there" in port.stderr
    assert "firmware-bridge run" in monitor.stderr


def test_a_wrong_configuration_ends_with_78(bridges):
    (bridges.root / "bridge.toml").write_text("[port]\nbuad = 9600\n")
    done = bridges.run("run", "--config", bridges.root / "bridge.toml")
    assert done.returncode == 78
    assert "did you mean 'baud'" in done.stderr


def test_run_says_why_there_are_no_readings_and_goes_on(bridges):
    process = bridges.start(bridges.root / "ttyACM9")
    listener = Listener(bridges)
    listener.until(
        lambda it: any("ttyACM9 is not there" in r.reason for r in it.records if isinstance(r, LinkState)), "why"
    )
    assert process.poll() is None
    assert bridges.log.count("ttyACM9 is not there") == 1
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0
    assert not bridges.socket.exists()
