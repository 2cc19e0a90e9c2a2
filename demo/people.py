"""The shipped recordings as one private file a person, and as windows for the final exam."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np

from learnae.models.dataset import Dataset
from learnae.samples.recordings import shipped_recording
from learnae.swarm.manifest import Manifest
from learnae.swarm.presets import demo_data
from trainer_node.datasets.loading import add_recording

PEOPLE = range(1, 9)
HOLDOUT = 0.3  # the last share of each exercise, in time


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
