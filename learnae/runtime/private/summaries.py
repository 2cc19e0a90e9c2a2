"""Summaries of a role's peer: what it releases, and what it learns from those of others."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from learnae.adapters.local.state_store import LocalStateStore
from learnae.models.dataset import Dataset
from learnae.peer.summaries.lessons import Lessons
from learnae.peer.summaries.releasing import Releasing
from learnae.samples.dp_statistics import Statistics, layout_of, overlap_of, why_none
from learnae.swarm.manifest import Manifest
from learnae.system.paths import SUMMARIES_FILE


def releasing_of(
    manifest: Manifest,
    directory: Path,
    statistics: Statistics | Dataset,
    is_alone: Callable[[], bool] = lambda: False,
    is_private: bool = False,
) -> Releasing | None:
    """Return what releases summaries of ``statistics``, or of a dataset's training rows; None where there are none.

    ``is_private`` says that this peer's updates are differentially private, by its owner's wish if not the manifest's.
    """
    layout = layout_of(manifest)
    if layout is None:
        return None

    def rows() -> int:
        return len(statistics.train) if isinstance(statistics, Dataset) else statistics.rows

    def sums() -> Statistics:
        return Statistics.of(layout, statistics.train) if isinstance(statistics, Dataset) else statistics

    store, overlap = LocalStateStore(directory / SUMMARIES_FILE), overlap_of(manifest)
    is_barred = (is_private or manifest.privacy.training is not None) and not manifest.privacy.summary.beside_training
    return Releasing(manifest.privacy, sums, rows, store, is_alone, lambda: is_barred and not is_alone(), overlap)


def lessons_of(manifest: Manifest, dataset: Dataset) -> Lessons | None:
    """Return what fills ``dataset.drawn``; None where a swarm has no summaries."""
    layout = layout_of(manifest)
    return Lessons(layout, dataset, np.random.default_rng()) if layout else None


def summary_facts(manifest: Manifest, releasing: Releasing | None, lessons: Lessons | None) -> dict[str, Any]:
    """Return what the status says of summaries: of the own, of those that teach, and how unlike own rows are."""
    if releasing is None or lessons is None:
        return {"summaries": why_none(manifest)}
    return {"summaries": releasing.status() | {"teachers": lessons.teachers}, "drift": lessons.drift()}
