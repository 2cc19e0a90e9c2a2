"""The shipped recordings: a private file for each person, the final exam, what all reach without the swarm."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np

from learnae.models.dataset import Dataset
from learnae.models.reference.numpy_learner import NumpyLearner, evaluate
from learnae.peer.learning.personal import Choice, personal_of
from learnae.ports import BlockStore
from learnae.samples.files.examples import add_recording
from learnae.samples.recordings import shipped_recording
from learnae.swarm.manifest import Manifest
from learnae.swarm.presets import demo_data
from learnae.weights.codecs import Vector

PEOPLE = range(1, 9)
HOLDOUT = 0.3  # the last share of each exercise, in time
ALONE_STEPS = 6_000  # accuracy no longer moves well before
POOLED_STEPS = 20_000
_SEED = 7


def write_private_file(person: int, path: Path) -> None:
    """Write all samples of one person as a recording for one peer alone."""
    with resources.as_file(demo_data()) as source:
        recording = shipped_recording(source, person)
    np.savez(path, allow_pickle=False, time=recording.time, signal=recording.values, label=recording.label)


@dataclass(frozen=True, slots=True)
class Exam:
    """Everybody's rows: ``people`` one dataset a person, ``everybody`` all of them together."""

    people: list[Dataset]
    everybody: Dataset


def make_exam(manifest: Manifest) -> Exam:
    """Return all rows for the baselines and the final judgement; no peer ever sees them."""
    people = [_dataset(manifest, [person]) for person in PEOPLE]
    return Exam(people, _dataset(manifest, list(PEOPLE)))


def _dataset(manifest: Manifest, people: list[int]) -> Dataset:
    dataset = Dataset(manifest.model, manifest.objective)
    with resources.as_file(demo_data()) as source:
        for person in people:
            add_recording(dataset, manifest, shipped_recording(source, person), HOLDOUT)
    return dataset


def accuracy(manifest: Manifest, weights: Vector, exam: Exam) -> float:
    """Return the accuracy of ``weights`` on all held-out windows."""
    holdout = exam.everybody.holdout
    metrics = evaluate(manifest.definition, manifest.objective, weights, holdout.rows, holdout.targets)
    assert metrics is not None
    assert metrics.accuracy is not None
    return metrics.accuracy


def train_alone(manifest: Manifest, exam: Exam) -> list[float]:
    """Train on each person's windows alone; return the accuracies on those of all people."""
    return [accuracy(manifest, _train(manifest, data, ALONE_STEPS), exam) for data in exam.people]


def train_pooled(manifest: Manifest, exam: Exam) -> float:
    """Train on all windows in one place: what the swarm must come near without moving them."""
    return accuracy(manifest, _train(manifest, exam.everybody, POOLED_STEPS), exam)


def choose_own(manifest: Manifest, exam: Exam, common: Sequence[Vector], store: BlockStore) -> list[Choice]:
    """Make each person's own model as its peer would: ``common`` (count,) is what that peer has of the swarm's."""
    chosen = []
    for data, vector in zip(exam.people, common, strict=True):
        personal = personal_of(manifest, data, store, is_on=True)
        assert personal is not None
        chosen.append(personal.settle(vector))
    return chosen


def _train(manifest: Manifest, data: Dataset, steps: int) -> Vector:
    batch, rng = manifest.training.batch, np.random.default_rng(_SEED)
    learner = NumpyLearner(manifest.definition, manifest.objective, manifest.optimiser, data, batch, rng)
    learner.load(manifest.definition.initial(manifest.seed))
    learner.train(steps)
    return learner.weights()
