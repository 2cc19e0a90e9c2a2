"""``kill -9`` at random instants of a private peer: what it reports is never less than what it has released."""

import random
import time
from pathlib import Path

import numpy as np
import pytest
from children import PROCESSES, kill
from nightly import how_many
from witnessed import Witnessed, witnessed

from learnae.adapters.local.clock import SystemClock
from learnae.adapters.local.gossip import LocalGossip
from learnae.adapters.local.state_store import LocalStateStore
from learnae.basics.overriding import override
from learnae.config.privacy_section import PrivacySection
from learnae.models.batch_learner import ClippedSum
from learnae.models.dataset import Array, Dataset
from learnae.models.reference.numpy_learner import NumpyLearner
from learnae.peer.peer import Options, Ports, compose_peer
from learnae.privacy.accountant import epsilon_of, mu_of, noise_multiplier
from learnae.privacy.policy import PrivacyPolicy, TrainingPrivacy
from learnae.protocol.bodies import Update
from learnae.protocol.messages import open_message
from learnae.runtime.private.learner import Private, as_agreed
from learnae.runtime.workspace import Workspace
from learnae.simulation.in_memory import SilentMonitor
from learnae.swarm.directory import create_swarm, open_swarm
from learnae.swarm.manifest import Manifest, TrainingPolicy
from learnae.swarm.presets import dense_config
from learnae.system.paths import STATE_FILE

KILLS = how_many(12, 100)
POLICY = TrainingPrivacy(epsilon=8.0, releases=100_000)
MANIFEST = Manifest(
    "victim", dense_config(4, (), 2, "softmax"), "sparse_categorical_crossentropy",
    training=TrainingPolicy(4, 8), privacy=PrivacyPolicy(POLICY),
)  # fmt: skip


class Counted(NumpyLearner):
    """Says in ``log`` that rows are about to take part in a step."""

    log: Path

    @override
    def clipped_sum(self, rows: Array, targets: Array, bound: float) -> ClippedSum:
        if len(rows):
            with self.log.open("ab", buffering=0) as file:
                file.write(b".")
        return super().clipped_sum(rows, targets, bound)


def private_learner(directory: Path, log: Path) -> Private:
    data, rng = Dataset(MANIFEST.model, MANIFEST.objective), np.random.default_rng(0)
    data.add(rng.normal(size=(64, 4)), rng.integers(0, 2, 64))
    learner = Counted(MANIFEST.definition, MANIFEST.objective, MANIFEST.optimiser, data, 8, rng)
    learner.log = log
    return as_agreed(learner, data, MANIFEST, PrivacySection(), directory)


def run_peer(swarm: Path, directory: Path, said: Path, steps: Path) -> None:
    """What the child does until it is killed: boot, then release as fast as it can."""
    workspace = Workspace(open_swarm(swarm), directory)
    private = private_learner(directory, steps)
    gossip, state = LocalGossip(swarm, workspace.name), LocalStateStore(directory / STATE_FILE)
    ports = Ports(Witnessed(swarm, said), gossip, private.learner, state, SilentMonitor(), SystemClock())
    options = Options("victim", "agent", 8, privacy=private.spent, recall=private.recall)
    peer = compose_peer(workspace.identity, MANIFEST, ports, options)
    while True:
        peer.tick()
        time.sleep(MANIFEST.limits.interval / 1000)


def updates(log: Path) -> list[Update]:
    """All updates that were ever about to be shown, each once."""
    messages = (open_message(data, MANIFEST.swarm, MANIFEST.limits) for data in witnessed(log))
    found = {message.seq: message.body for message in messages}
    return [body for _, body in sorted(found.items()) if isinstance(body, Update)]


@pytest.mark.slow
def test_killed_again_and_again_it_never_reports_too_little(tmp_path: Path) -> None:
    swarm, directory = create_swarm(MANIFEST, tmp_path / "swarm").directory, tmp_path / "peer"
    said, steps, rng = tmp_path / "said", tmp_path / "steps", random.Random(5)
    noise = noise_multiplier(POLICY.epsilon, POLICY.delta, POLICY.releases)
    for number in range(10 * KILLS):
        if number >= KILLS and len(updates(said)) > KILLS:
            break
        process = PROCESSES.Process(target=run_peer, args=(swarm, directory, said, steps))
        before = steps.stat().st_size if steps.exists() else 0
        process.start()
        deadline = time.monotonic() + 60
        while (steps.stat().st_size if steps.exists() else 0) <= before and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(rng.uniform(0.0, 0.2))
        kill(process)
        taken = steps.stat().st_size
        reported = private_learner(directory, tmp_path / "unused").spent()
        assert reported is not None
        assert reported.releases >= taken, "a step was taken that is not paid for"
        assert reported.epsilon >= epsilon_of(mu_of([noise] * taken), POLICY.delta) * (1 - 1e-9)
    told = [update.privacy for update in updates(said)]
    assert len(told) > KILLS
    counts = [spent.releases for spent in told if spent]
    assert len(counts) == len(told)
    assert counts == sorted(set(counts)), "a release was counted twice"
    assert counts[-1] >= 4 * len(counts)
