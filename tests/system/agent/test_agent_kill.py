"""``kill -9`` of an agent while it samples: all that was recorded is there, and nothing is said twice.

How long a reading may wait until it is recorded is in the unit tests of the reader (tests/unit/agent/ingestion): no
machine is too slow for that.
"""

import json
import os
import random
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from messages_here import seqs_in
from nightly import how_many
from programs import PATIENCE
from sensors import Sysfs, board_manifest, make_swarm

from agent.cli import main
from agent.ingestion.buffer import SampleBuffer
from agent.ingestion.recorder import Recorder
from agent.sources.polled import PolledSource
from learnae.adapters.local.state_store import LocalStateStore
from learnae.peer.state import PeerState
from learnae.ports import Samples
from learnae.protocol.identity import Identity
from learnae.runtime.observer import Observer
from learnae.system.paths import STATE_FILE

KILLS = how_many(30, 100)
LONGEST = 60  # things that the sensor does while an agent lives, about a second: it starts, samples, trains, publishes
ASKED, GIVEN, RECORDING, RECORDED = "asked", "given", "recording", "recorded"


def run_agent(config: Path, witness: Path) -> None:
    """What the child does until it is killed. What is asked for and done is written down elsewhere, too."""
    log = os.open(witness, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    read, record = PolledSource.read, Recorder.record

    def say(event: str, times: tuple[float, ...] = ()) -> None:
        os.write(log, f"{json.dumps([event, *times])}\n".encode())

    def seen_read(source: PolledSource) -> Samples:
        say(ASKED)
        samples = read(source)
        say(GIVEN, tuple(samples.time.tolist()))
        return samples

    def seen_record(recorder: Recorder) -> None:
        say(RECORDING)
        record(recorder)
        say(RECORDED)

    PolledSource.read = seen_read  # type: ignore[method-assign]
    Recorder.record = seen_record  # type: ignore[method-assign]
    main(["run", "--config", str(config)])


def promised(witness: Path) -> tuple[list[float], list[float]]:
    """The times of all readings that the sensor has given, and of those that have to be on the disk."""
    given: list[float] = []
    waiting = covered = done = 0  # of those given: with the recorder when the source was asked again, and so on
    for line in witness.read_text().splitlines():
        event, *times = json.loads(line)
        if event == ASKED:
            waiting = len(given)
        elif event == GIVEN:
            given += times
        elif event == RECORDING:
            covered = waiting
        else:
            done = covered
    return given, given[:done]


def kill_at(event: str, count: int, moment: float, config: Path, witness: Path) -> None:
    """Let an agent live for so many events, and ``moment`` seconds. No machine is too slow for it."""
    witness.write_bytes(b"")
    deadline = time.monotonic() + PATIENCE
    child = os.fork()
    if child == 0:
        try:
            run_agent(config, witness)
        finally:
            os._exit(1)  # only an error ends it before it is killed
    while os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        if witness.read_text().count(f'"{event}"') >= count or time.monotonic() > deadline:
            break
        time.sleep(0.005)
    time.sleep(moment)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), "the agent ended by itself: see its traceback"


def recorded(state: Path) -> np.ndarray:
    """The times of all readings on the disk."""
    buffer = SampleBuffer(state / "samples.db", 6, 10**7, 10**9)
    status = buffer.status()
    assert (status["damaged"], status["failures"], status["dropped"]) == (0, 0, 0)
    times = [chunk.samples.time for chunk in buffer.after(0, 10**6)]
    buffer.close()
    return np.concatenate(times) if times else np.zeros(0)


@pytest.mark.slow
def test_killed_again_and_again_while_sampling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEARNAE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LEARNAE_TRAIN__ENGINE", "numpy")
    swarm, state, witness = make_swarm(tmp_path / "home"), tmp_path / "state", tmp_path / "witness"
    config, rng = tmp_path / "agent.toml", random.Random(3)
    sampled, due, at_risk, last_seq = 0, 0, 0, -1
    with Sysfs(tmp_path / "sys") as sysfs:
        config.write_text(
            f'[peer]\nstate = "{state}"\n[publish]\nevery = 0.03\n'
            f"[privacy]\nrows = 0\ndraws = 0\nmerge_first = false\n{sysfs.section()}holdout = 0.0\n"
        )
        for number in range(10 * KILLS):  # the last ones where the machine is so slow that little has happened
            if number >= KILLS and at_risk and sampled > 20 * KILLS and last_seq > KILLS // 4 and due > sampled / 4:
                break
            event, most = rng.choice([(ASKED, LONGEST), (RECORDED, 2)])
            kill_at(event, rng.randint(0, most), rng.uniform(0.0, 0.2), config, witness)
            given, safe = promised(witness)
            missing = set(given) - set(recorded(state).tolist()) if given else set()
            assert not missing & set(safe), "recorded, and lost"
            sampled, due, at_risk = sampled + len(given), due + len(safe), at_risk + bool(missing)
            data = LocalStateStore(state / STATE_FILE).load()
            if data is not None:
                PeerState.from_bytes(data)
            seqs = seqs_in(swarm)
            first, newest = (seqs[0], seqs[-1]) if seqs else (0, -1)  # what is older is forgotten, as there is newer
            assert seqs == list(range(first, newest + 1)), "a seq is missing or was used twice"
            assert newest >= last_seq
            last_seq = newest
    print(f"{sampled} readings given, {due} recorded, {len(recorded(state))} kept, {at_risk} kills lost some")
    assert at_risk, "every kill came when all was recorded"
    assert sampled > 20 * KILLS, "the agent hardly sampled"
    assert last_seq > KILLS // 4, "the agent hardly trained"
    assert due > sampled / 4
    observer = Observer(swarm)
    assert observer.refresh()
    assert not observer.tangle.is_banned(Identity.load(state / "key.pem").author)
    assert PeerState.from_bytes((state / STATE_FILE).read_bytes()).weights.shape == (board_manifest().model.count,)
