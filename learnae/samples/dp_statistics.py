"""Summaries: sums over private rows, with noise, that others draw rows from. Pure.

A row x, clipped to the L2 norm R = 0.8 sqrt(columns), adds to the sums of its class (0.3, u, u^2) with u = x / R, or
in the full form (0.3, u, u u^T), whose products off the diagonal, said once, count sqrt 2 times. So no row moves all
sums together by more than sqrt(0.3^2 + 1 + 1) in L2 norm, whatever it holds. Where targets are values, a row is its
values and its targets jointly, in one group. Each sum is a whole number of steps of 2^-11, and so is its noise: the
low bits of a floating-point sum would tell of the rows (Mironov 2012).

The noise is Gaussian, and its size exact (Balle & Wang 2018): all releases of a member, and the moment at which the
first comes, are together (epsilon, delta)-differentially private for one row more or less. Windows that overlap share
readings: where a manifest protects readings, the noise is as many times larger as windows share one.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from learnae.basics.light_numpy import norms_of, unique
from learnae.models.dataset import Rows
from learnae.models.graph import token_count
from learnae.privacy.accountant import mu_for
from learnae.privacy.noise.gaussian import Normals, fresh_normals
from learnae.privacy.policy import MASKED, NONE, PrivacyPolicy
from learnae.protocol.bodies import (
    COUNT_STEPS,
    DIAGONAL,
    FULL,
    READING,
    SUMMARY_BYTES,
    SUMMARY_STEPS,
    Summary,
    SummaryNoise,
    group_size,
)
from learnae.swarm.manifest import AUTOENCODER, CLASSIFICATION, Manifest

GATE = 1 / 16  # of epsilon: what the moment of the first release costs (learnae.peer.summaries.releasing)
MAX_ROWS = 1 << 20  # in a summary: more could not be said in int32
MASKED_ROWS = 60_000  # of one member in a masked sum, which leaves room for its noise
_RADIUS = 0.8  # times sqrt(columns): cuts long rows, which costs little; the noise is as large as the longest may be
_SUM_BYTES = 4
_CHUNK = 256  # rows at once

Array = NDArray[np.float64]
Sums = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Layout:
    """What the sums of a swarm's summaries are about: rows of ``columns`` values, ``inputs`` of which the model sees.

    There is a group for each of ``classes``, then one for rows of unknown class; without classes that one alone.
    """

    form: str
    columns: int
    inputs: int
    classes: int = 0

    @property
    def groups(self) -> int:
        """Count the groups."""
        return self.classes + 1

    @property
    def size(self) -> int:
        """Count the sums of a group."""
        return group_size(self.form, self.columns)

    @property
    def radius(self) -> float:
        """Return the L2 norm that longer rows are cut to."""
        return _RADIUS * math.sqrt(self.columns)

    @property
    def sensitivity(self) -> float:
        """Return how far one row can move all sums together, in steps: rounding included."""
        return math.hypot(COUNT_STEPS, SUMMARY_STEPS, SUMMARY_STEPS) + math.sqrt(self.size) / 2

    def fits(self, summary: Summary) -> bool:
        """Return True if ``summary`` says sums of this layout."""
        return (summary.form, summary.columns, summary.groups) == (self.form, self.columns, self.groups)


def layout_of(manifest: Manifest) -> Layout | None:
    """Return what a swarm's summaries are about; None where there are none (``why_none``).

    Products of columns are left out where they do not fit into a message.
    """
    if why_none(manifest):
        return None
    layout = _layout(manifest, manifest.privacy.summary.form)
    return layout if _fits(layout) else _layout(manifest, DIAGONAL)


def why_none(manifest: Manifest) -> str:
    """Return why a swarm has no summaries; empty if it has."""
    if manifest.privacy.summary.form == NONE:
        return "the swarm's manifest asks for none"
    if manifest.is_own_loop:
        return "only members' own programs know its rows"
    if len(manifest.model.input_shape) != 1:
        return "a sample's rows are raw windows or images, of which sums of columns tell nothing"
    if manifest.task == CLASSIFICATION and not manifest.class_count:
        return "a row may have several classes at once"
    if token_count(manifest.config) is not None:
        return "values are numbers of tokens"
    layout = _layout(manifest, DIAGONAL)
    return "" if _fits(layout) else f"{layout.groups} groups of {layout.columns} columns do not fit into a message"


def _layout(manifest: Manifest, form: str) -> Layout:
    inputs, outputs = math.prod(manifest.model.input_shape), math.prod(manifest.model.output_shape)
    if manifest.task == CLASSIFICATION:
        return Layout(form, inputs, inputs, manifest.class_count)
    return Layout(form, inputs if manifest.task == AUTOENCODER else inputs + outputs, inputs)


def _fits(layout: Layout) -> bool:
    return layout.groups * layout.size * _SUM_BYTES <= SUMMARY_BYTES


def most_rows(manifest: Manifest) -> int:
    """Return how many rows of one member its summaries are of, at most."""
    return MASKED_ROWS if manifest.privacy.summary.sharing == MASKED else MAX_ROWS


def overlap_of(manifest: Manifest) -> int:
    """Return how many rows share what is protected: 1 where that is a row."""
    training, features = manifest.privacy.training, manifest.features
    if training is None or training.protects != READING or features is None:
        return 1
    return -(-features.span // features.hop)


def noise_of(layout: Layout, privacy: PrivacyPolicy, overlap: int) -> SummaryNoise:
    """Return the noise of each release of one member."""
    said = privacy.summary
    mu = mu_for(said.epsilon * (1 - GATE), said.delta) / math.sqrt(said.releases)
    return SummaryNoise(said.epsilon, said.delta, overlap, math.ceil(overlap * layout.sensitivity / mu))


class Statistics:
    """The sums over at most ``most`` rows of one ``layout``, in steps; ``rows`` counts them, ``skipped`` those that
    hold no numbers."""

    def __init__(self, layout: Layout, most: int = MAX_ROWS) -> None:
        self.layout = layout
        self.most = most
        self.rows = 0
        self.skipped = 0
        self._sums: Sums = np.zeros((layout.groups, layout.size), np.int64)

    @classmethod
    def of(cls, layout: Layout, rows: Rows, most: int = MAX_ROWS) -> "Statistics":
        """Sum up the newest rows of a dataset."""
        statistics = cls(layout, most)
        statistics.add(rows.rows[-most:], rows.targets[-most:])
        return statistics

    def add(self, rows: NDArray[np.float32], targets: NDArray[np.generic]) -> None:
        """Take in ``rows`` (n, inputs) with their classes (n,), -1 where unknown, or their targets (n, ...)."""
        for start in range(0, min(len(rows), self.most - self.rows), _CHUNK):
            part = slice(start, min(start + _CHUNK, start + self.most - self.rows))
            self._add(rows[part], np.asarray(targets[part]))

    def _add(self, rows: NDArray[np.float32], targets: NDArray[np.generic]) -> None:
        layout, groups = self.layout, np.zeros(len(rows), np.int64)
        values = rows.reshape(len(rows), layout.inputs).astype(np.float64)
        if layout.classes:
            known = targets.reshape(len(rows)).astype(np.int64)
            groups = np.where((known >= 0) & (known < layout.classes), known, layout.classes)
        elif layout.columns > layout.inputs:
            values = np.hstack([values, targets.reshape(len(rows), -1).astype(np.float64)])
        usable = np.isfinite(values).all(axis=1)
        self.skipped += int(len(rows) - usable.sum())
        self.rows += int(usable.sum())
        found, steps = groups[usable], steps_of(layout, values[usable])
        for group in unique(found):  # a tenth of the time of np.add.at
            self._sums[group] += steps[found == group].sum(axis=0)

    def sums(self) -> Sums:
        """Return the sums (groups * size,), exact: never to leave this machine."""
        return self._sums.ravel().copy()

    def release(
        self, number: int, privacy: PrivacyPolicy, overlap: int = 1, normals: Normals = fresh_normals
    ) -> Summary:
        """Make release ``number`` with fresh noise, ``normals`` in units of its standard deviation."""
        layout, noise = self.layout, noise_of(self.layout, privacy, overlap)
        drawn = np.rint(normals(layout.groups * layout.size) * noise.deviation).astype(np.int64)
        limit = np.iinfo(np.int32)
        noisy = np.clip(self.sums() + drawn, limit.min, limit.max)
        return Summary(number, noise, layout.form, layout.columns, layout.groups, noisy.astype("<i4").tobytes())


def steps_of(layout: Layout, values: Array) -> Sums:
    """Return what rows (n, columns) add to the sums of their group (n, size)."""
    with np.errstate(over="ignore"):
        norms = norms_of(values, 1)
    largest = np.abs(values).max(axis=1, keepdims=True, initial=1.0)
    norms = np.where(np.isfinite(norms), norms, largest * norms_of(values / largest, 1))
    units = values / np.maximum(norms, layout.radius)
    squares = units**2
    if layout.form == FULL:
        first, second = np.triu_indices(layout.columns)
        squares = units[:, first] * units[:, second] * np.where(first == second, 1.0, math.sqrt(2))
    moments = np.rint(np.hstack([units, squares]) * SUMMARY_STEPS).astype(np.int64)
    return np.hstack([np.full((len(values), 1), COUNT_STEPS), moments])
