"""Summaries of a role's peer: what it releases, and what it learns from those of others."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from learnae.adapters.local.state_store import LocalStateStore
from learnae.models.dataset import Dataset
from learnae.peer.summaries.lessons import Lessons
from learnae.peer.summaries.releasing import Releasing
from learnae.privacy.masking.noise_share import Integers
from learnae.privacy.policy import MASKED
from learnae.samples.dp_statistics import Layout, Statistics, layout_of, most_rows, noise_of, overlap_of, why_none
from learnae.swarm.manifest import Manifest
from learnae.system.paths import SUMMARIES_FILE

if TYPE_CHECKING:
    from learnae.peer.masking.summary_source import SummarySource


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
        return _statistics(manifest, layout, statistics)

    store, overlap = LocalStateStore(directory / SUMMARIES_FILE), overlap_of(manifest)
    is_barred = (is_private or manifest.privacy.training is not None) and not manifest.privacy.summary.beside_training
    return Releasing(manifest.privacy, sums, rows, store, is_alone, lambda: is_barred and not is_alone(), overlap)


def _statistics(manifest: Manifest, layout: Layout, given: Statistics | Dataset) -> Statistics:
    return Statistics.of(layout, given.train, most_rows(manifest)) if isinstance(given, Dataset) else given


def addend_of(
    manifest: Manifest, statistics: Statistics | Dataset | None, releasing: Releasing | None
) -> "Callable[[int], SummarySource | None]":
    """Return what gives, at a time, what this peer adds to masked sums: nothing before ``releasing`` lets it."""
    layout, privacy = layout_of(manifest), manifest.privacy
    if layout is None or statistics is None or releasing is None or privacy.summary.sharing != MASKED:
        return lambda _: None
    from learnae.peer.masking.summary_source import SummarySource  # noqa: PLC0415 - ciphers, for no other swarm

    deviation = noise_of(layout, privacy, overlap_of(manifest)).deviation

    def sums() -> Integers:
        return _statistics(manifest, layout, statistics).sums()

    source = SummarySource(layout, sums, deviation, privacy.summary.releases)
    return lambda now: source if releasing.has_opened(now, manifest.limits.horizon) else None


def lessons_of(manifest: Manifest, dataset: Dataset) -> Lessons | None:
    """Return what fills ``dataset.drawn``; None where a swarm has no summaries."""
    layout = layout_of(manifest)
    if layout is None:
        return None
    deviation = noise_of(layout, manifest.privacy, overlap_of(manifest)).deviation
    return Lessons(layout, dataset, np.random.default_rng(), deviation)


def summary_facts(manifest: Manifest, releasing: Releasing | None, lessons: Lessons | None) -> dict[str, Any]:
    """Return what the status says of summaries: of the own, of those that teach, and how unlike own rows are."""
    if releasing is None or lessons is None:
        return {"summaries": why_none(manifest)}
    return {"summaries": releasing.status() | {"teachers": lessons.teachers}, "drift": lessons.drift()}
