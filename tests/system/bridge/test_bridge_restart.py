"""``kill -9`` of an agent again and again while a bridge goes on: every sample is recorded once, in order."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from programs import Programs, wait_for
from sensors import CHANNELS, RATE, make_swarm

from agent.ingestion.buffer import SampleBuffer
from firmware_bridge.config import SOCKET_VARIABLE
from firmware_bridge.records import Channel, Readings, Schema
from firmware_bridge.socket_api.server import Server

KILLS = 5
LONGEST = 2.0  # seconds that an agent lives on: it commits twice a second
ROWS = 5  # in a record: a board at 50 Hz sends ten a second


class Board:
    """A bridge's server that says numbered samples at 50 Hz, from a thread, until the context ends."""

    def __init__(self, path: Path) -> None:
        self.server = Server(path)
        self.said = 0
        self.begun = time.time()
        self._quiet, self._over = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.server.publish(Schema("run-1", "imu", "1.0", tuple(Channel(name, "") for name in CHANNELS), RATE))

    def __enter__(self) -> Board:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self.server.close()

    def silence(self) -> None:
        self._quiet.set()

    def _run(self) -> None:
        while not self._over.wait(0.005):
            if not self._quiet.is_set() and self.begun + (self.said + ROWS) / RATE < time.time():
                self.server.publish(readings(self.said, self.begun))
                self.said += ROWS
            self.server.step()


def readings(start: int, begun: float) -> Readings:
    numbers = np.arange(start, start + ROWS, dtype=np.float64)
    return Readings(start, begun + start / RATE, 1 / RATE, numbers[:, None] + np.arange(len(CHANNELS)) / 8)


@pytest.fixture
def board(programs: Programs) -> Iterator[Board]:
    with Board(programs.root / "bridge.sock") as running:
        yield running


def recorded(state: Path) -> tuple[np.ndarray, np.ndarray]:
    """Times and values on the disk."""
    if not (state / "samples.db").exists():
        return np.zeros(0), np.zeros((0, len(CHANNELS)))
    buffer = SampleBuffer(state / "samples.db", len(CHANNELS), 10**7, 10**9)
    chunks = [chunk.samples for chunk in buffer.after(0, 10**6)]
    buffer.close()
    times = [np.zeros(0), *(chunk.time for chunk in chunks)]
    return np.concatenate(times), np.concatenate([np.zeros((0, len(CHANNELS))), *(chunk.values for chunk in chunks)])


@pytest.mark.slow
def test_an_agent_that_is_killed_again_and_again_records_every_sample_once(programs: Programs, board: Board) -> None:
    make_swarm(programs.home)
    state, rng = programs.root / "state", random.Random(5)
    config = programs.root / "agent.toml"
    config.write_text(f'[peer]\nstate = "{state}"\n[source]\nkind = "bridge"\nholdout = 0.0\n')
    where = {SOCKET_VARIABLE: str(board.server.path)}
    for number in range(KILLS):
        agent, kept = programs.start("agent", "run", "--config", config, environment=where), len(recorded(state)[0])
        if number % 2 == 0:  # the others may not even get as far as that
            wait_for(lambda kept=kept: len(recorded(state)[0]) > kept, "samples")
        time.sleep(rng.uniform(0.0, LONGEST))
        agent.kill()
        agent.wait()
    programs.start("agent", "run", "--config", config, environment=where)
    board.silence()
    wait_for(lambda: recorded(state)[1][-1, 0] == board.said - 1, "the last sample")
    times, values = recorded(state)
    first = int(values[0, 0])
    expected = np.arange(first, board.said)
    assert values[:, 0].tolist() == expected.tolist()
    assert (values == expected[:, None] + np.arange(len(CHANNELS)) / 8).all()
    assert np.allclose(times, board.begun + expected / RATE, atol=1e-6)
