"""``kill -9`` of an agent while it samples: at most the last second is missing, and nothing is said twice."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sensors import Sysfs, board_manifest, make_swarm

from agent.buffer import SampleBuffer
from agent.cli import main
from agent.sources.polled import BATCH, PolledSource
from learnae.adapters.local import LocalStateStore
from learnae.home import STATE_FILE
from learnae.identity import Identity
from learnae.observer import Observer
from learnae.ports import Samples
from learnae.state import PeerState

KILLS = 100
LONGEST = 1.1  # seconds that an agent lives: starts, samples, trains, publishes
LOST = 1.0 - BATCH  # seconds of readings that a crash may cost; the source itself holds back some


def run_agent(config: Path, witness: Path) -> None:
    """What the child does until it is killed. All that the sensor has ever given is written down elsewhere, too."""
    log = os.open(witness, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    read = PolledSource.read

    def seen(source: PolledSource) -> Samples:
        samples = read(source)
        os.write(log, samples.time.tobytes())
        return samples

    PolledSource.read = seen  # type: ignore[method-assign]
    main(["run", "--config", str(config)])


def kill_after(seconds: float, *arguments: Any) -> float:
    """Let an agent live for so long; returns when it died."""
    child = os.fork()
    if child == 0:
        try:
            run_agent(*arguments)
        finally:
            os._exit(1)  # only an error ends it before it is killed
    time.sleep(seconds)
    died = time.time()
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), "the agent ended by itself: see its traceback"
    return died


def recorded(state: Path) -> np.ndarray:
    """The times of all readings on the disk."""
    buffer = SampleBuffer(state / "samples.db", 6, 10**7, 10**9)
    status = buffer.status()
    assert (status["damaged"], status["failures"], status["dropped"]) == (0, 0, 0)
    times = [chunk.samples.time for chunk in buffer.after(0, 10**6)]
    buffer.close()
    return np.concatenate(times) if times else np.zeros(0)


@pytest.mark.slow
def test_killed_100_times_while_sampling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEARNAE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LEARNAE_TRAIN__ENGINE", "numpy")
    swarm, state, witness = make_swarm(tmp_path / "home"), tmp_path / "state", tmp_path / "witness"
    config, rng = tmp_path / "agent.toml", random.Random(3)
    longest_loss, sampled, last_seq = 0.0, 0, -1
    observer = Observer(swarm)
    with Sysfs(tmp_path / "sys") as sysfs:
        config.write_text(f'[peer]\nstate = "{state}"\n[train]\npause = 0.03\n{sysfs.section()}holdout = 0.0\n')
        for _ in range(KILLS):
            witness.unlink(missing_ok=True)
            died = kill_after(rng.uniform(0.0, LONGEST), config, witness)
            taken = np.frombuffer(witness.read_bytes()) if witness.exists() else np.zeros(0)
            missing = np.setdiff1d(taken, recorded(state)) if len(taken) else taken
            longest_loss = max(longest_loss, died - missing.min(initial=died))
            sampled += len(taken)
            data = LocalStateStore(state / STATE_FILE).load()
            if data is not None:
                PeerState.from_bytes(data)
            observer.refresh()
            seqs = [node.seq for cid in observer.tangle.cids() if (node := observer.tangle.node(cid))]
            assert sorted(seqs) == list(range(len(seqs))), "a seq is missing or was used twice"
            assert max(seqs, default=-1) >= last_seq
            last_seq = max(seqs, default=-1)
    print(f"{sampled} readings taken, {len(recorded(state))} kept, {longest_loss:.2f} s lost at most, seq {last_seq}")
    assert longest_loss <= LOST
    assert sampled > 20 * KILLS, "the agent hardly sampled"
    assert last_seq > KILLS // 4, "the agent hardly trained"
    assert len(recorded(state)) > sampled / 4
    assert not observer.tangle.is_banned(Identity.load(state / "key.pem").author)
    assert PeerState.from_bytes((state / STATE_FILE).read_bytes()).weights.shape == (board_manifest().model.count,)
