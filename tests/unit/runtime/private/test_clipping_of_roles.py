"""Both roles clip unless their owner says otherwise: each row's gradient, or where rows have none, the update."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_configs import dense, layer, sequential

import agent.wiring
import trainer_node.wiring
from agent.config import AgentConfig, AgentTrainSection
from agent.sources.section import SourceSection
from demo.people import write_private_file
from learnae.cli.output import clipping_note
from learnae.config.privacy_section import PrivacySection
from learnae.config.sections import PeerSection, SwarmSection
from learnae.ports import Learner
from learnae.swarm.directory import create_swarm
from learnae.swarm.manifest import Manifest
from learnae.swarm.presets import preset
from trainer_node.config import DataSection, TrainerConfig, TrainerTrainSection

WRIST = preset("wrist", 0)
NORMED = sequential(dense(8), layer("BatchNormalization"), dense(7, "softmax"), shape=(30,))


def peer(role: str, manifest: Manifest, directory: Path, engine: str, **privacy: Any) -> Any:
    """Wire a role on one person's recording."""
    recording = directory / "person.npz"
    write_private_file(1, recording)
    swarm = create_swarm(manifest, directory / "swarm").directory
    common = {
        "peer": PeerSection(name="me", state=str(directory / "me")),
        "swarm": SwarmSection(id=str(swarm)),
        "privacy": PrivacySection(**privacy),
    }
    if role == "agent":
        source = SourceSection(file=str(recording))
        agents = AgentConfig(**common, source=source, train=AgentTrainSection(engine=engine))
        return agent.wiring.build(agents, lambda: agents)._linked.peer  # type: ignore[attr-defined]
    train = TrainerTrainSection(engine=engine)
    trainers = TrainerConfig(**common, data=DataSection(file=str(recording)), train=train)
    load = trainer_node.wiring.load_configured
    return trainer_node.wiring.build(trainers, lambda: trainers, load)._linked.peer  # type: ignore[attr-defined]


def innermost(learner: Any) -> Learner:
    while hasattr(learner, "inner"):
        learner = learner.inner
    found: Learner = learner
    return found


ENGINES = [
    ("agent", "numpy"),
    pytest.param("agent", "tflite", marks=pytest.mark.modules("ai_edge_litert", "flatbuffers")),
    ("trainer", "numpy"),
    pytest.param("trainer", "jax", marks=pytest.mark.modules("keras", "jax")),
]


@pytest.mark.parametrize(("role", "engine"), ENGINES)
def test_each_row_is_clipped_unless_the_owner_says_otherwise(role: str, engine: str, tmp_path: Path) -> None:
    for privacy, wanted in (({}, True), ({"clip": False}, False)):
        directory = tmp_path / str(wanted)
        directory.mkdir()
        found = peer(role, WRIST, directory, engine, **privacy)
        learner: Any = innermost(found.training.learner)
        assert learner.clips_rows == wanted
        assert found.training.clip is None
    assert clipping_note(WRIST) == {}


@pytest.mark.parametrize("role", ["agent", "trainer"])
def test_where_layers_mix_rows_the_update_is_clipped_and_that_is_said(role: str, tmp_path: Path) -> None:
    manifest = Manifest("normed", NORMED, "sparse_categorical_crossentropy", features=WRIST.features)
    found = peer(role, manifest, tmp_path, "numpy")
    assert not innermost(found.training.learner).clips_rows  # type: ignore[attr-defined]
    training, norms = found.training, []
    training.learner.load(manifest.definition.initial(0))
    agent_rows = innermost(training.learner).data  # type: ignore[attr-defined]
    if not len(agent_rows.train):
        agent_rows.add(np.random.default_rng(0).normal(size=(64, 30)), np.arange(64) % 7)
    for steps in (2, 2, 60):
        before = training.learner.weights()
        training.between_merges = steps
        while not training.is_done:
            training.train()
        training.end_cycle()
        norms.append(float(np.linalg.norm(training.learner.weights() - before)))
    assert norms[2] < 3 * norms[0]  # 60 steps are not 30 times as far as 2
    assert "BatchNormalization" in clipping_note(manifest)["clipping"]
