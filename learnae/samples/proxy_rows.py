"""Rows drawn from summaries: what a group's noisy sums say of its rows, who lies, and samples that look alike. Pure.

A summary's author may have written anything: what no rows can have is projected to what some have, and groups
that are unlike the same class of all others are dropped. The fewer than half that lie do not move a median far.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from learnae.basics.light_numpy import median, medians_of, norm
from learnae.protocol.bodies import COUNT_STEPS, FULL, SUMMARY_STEPS, Summary
from learnae.samples.dp_statistics import Layout

LEAST_ROWS = 20  # of a group that rows are drawn from, noise included
_CLEAR = 2.0  # times the noise in its count: fewer rows may be none at all
_MOST_NOISE = 0.5  # in a mean, of the usual deviation of a column: more teaches what is not so
_SHRINKAGE = 0.15  # of covariances towards their diagonal: that of some 60 rows and 30 columns is hardly known
_LEAST_VARIANCE, _MOST_VARIANCE = 0.01, 20.0  # in any direction, of columns scaled to about one
_FEW = 3  # of a class: the median of fewer is that of one of them
_CLEARLY = 2.0  # times: honest people's means of classes that are alike lie nearer to the other one now and then
_WIDEST = 4.0  # times the median of a class: variances of a group, squared distance of its mean

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Group:
    """What a summary says of the rows of class ``label``, None where it is unknown or there are no classes.

    About ``count`` rows; ``mean`` (columns,), ``covariance`` (columns, columns), or variances alone (columns,), as the
    sums have them: noise may make variances negative. ``noise`` is about the standard deviation of what noise adds to
    each value of the mean, ``square_noise`` to each variance.
    """

    label: int | None
    count: float
    mean: Array
    covariance: Array
    noise: float
    square_noise: float

    @property
    def variances(self) -> Array:
        """Return the variance of each column."""
        return self.covariance if self.covariance.ndim == 1 else np.diagonal(self.covariance)

    @property
    def spreads(self) -> Array:
        """Return the standard deviation of each column, as rows can have it."""
        return np.sqrt(np.clip(self.variances, _LEAST_VARIANCE, _MOST_VARIANCE))


def groups_of(layout: Layout, summary: Summary, least: float = LEAST_ROWS) -> list[Group]:
    """Return what ``summary`` says, group by group; without those of fewer than ``least`` rows, or about as few as
    there is noise. None of a summary of another layout."""
    if not layout.fits(summary):
        return []
    sums = np.frombuffer(summary.sums, "<i4").astype(np.int64)
    return read_groups(layout, sums, summary.noise.deviation, least)


def read_groups(layout: Layout, sums: NDArray[np.int64], deviation: float, least: float = LEAST_ROWS) -> list[Group]:
    """Return what ``sums`` (groups * size,) with noise of that ``deviation`` say: of one member, or of several."""
    found = []
    for index, part in enumerate(sums.reshape(layout.groups, layout.size).astype(np.float64)):
        count = part[0] / COUNT_STEPS
        if count >= max(least, _CLEAR * deviation / COUNT_STEPS):
            mean, covariance = _moments(layout, part[1:] / (SUMMARY_STEPS * count))
            noise, label = (
                deviation * layout.radius / (SUMMARY_STEPS * count),
                index if index < layout.classes else None,
            )
            found.append(Group(label, count, mean, covariance, noise, noise * layout.radius))
    return found


def _moments(layout: Layout, means: Array) -> tuple[Array, Array]:
    """Return mean and covariance (or variances) of rows from the ``means`` of what they add."""
    columns, radius = layout.columns, layout.radius
    mean = means[:columns] * radius
    mean *= min(1.0, radius / max(norm(mean), 1e-9))
    squares = means[columns:] * radius**2
    if layout.form != FULL:
        return mean, squares - mean**2
    first, second = np.triu_indices(columns)
    products = np.zeros((columns, columns))
    products[first, second] = products[second, first] = np.where(first == second, squares, squares / math.sqrt(2))
    return mean, products - np.outer(mean, mean)


def is_clear(groups: Sequence[Group]) -> bool:
    """Return True if one member's means are known well enough to teach: all of its classes do, or none.

    Some alone would teach that the others are seldom.
    """
    if not groups:
        return False
    spread = math.sqrt(max(float(np.mean([group.variances.mean() for group in groups])), _LEAST_VARIANCE))
    return median([group.noise for group in groups]) <= _MOST_NOISE * spread


def steadied(groups: Sequence[Group], among: Sequence[Group] = ()) -> list[Group]:
    """Return ``groups`` with covariances that rows can have.

    Each covariance is moved to that of all groups together (those ``among`` which they are), as far as its own noise
    makes it differ from that (Ledoit & Wolf 2004), and a part of the way to its diagonal, as that of some 60 rows is
    hardly known without noise.
    """
    if not groups:
        return []
    among = among or groups
    counts = np.array([group.count for group in among])
    usual = np.tensordot(counts / counts.sum(), np.array([group.covariance for group in among]), 1)
    shares = [_noise_share(group, usual) for group in groups]
    return [
        replace(group, covariance=_possible((1 - share) * group.covariance + share * usual))
        for group, share in zip(groups, shares, strict=True)
    ]


def _noise_share(group: Group, usual: Array) -> float:
    """Return how much of the squared difference of a covariance to the usual one is noise, 0 to 1."""
    noise = group.square_noise**2 * (1.0 if usual.ndim == 1 else 0.5)  # a product off the diagonal has half of it
    return min(1.0, noise / max(float(np.mean((group.covariance - usual) ** 2)), 1e-12))


def _possible(covariance: Array) -> Array:
    if covariance.ndim == 1:
        return np.clip(covariance, _LEAST_VARIANCE, _MOST_VARIANCE)
    covariance = (1 - _SHRINKAGE) * covariance + _SHRINKAGE * np.diag(np.diagonal(covariance))
    values, directions = np.linalg.eigh(covariance)
    return (directions * np.clip(values, _LEAST_VARIANCE, _MOST_VARIANCE)) @ directions.T


def believable(groups: Mapping[bytes, Sequence[Group]]) -> dict[bytes, list[Group]]:
    """Drop each author's groups that are unlike the same class of the others.

    One goes whose mean lies clearly nearer to another class's median mean, whose variances are together more than 4
    times the class's median, or whose mean lies further from the median mean than 4 times the median squared distance
    and the median of all variances together; all of an author's go of which more than half lie nearer to another
    class at all. Two of a class are too few to tell which of them is right: they stay.
    """
    by_label: dict[int | None, list[Group]] = {}
    for said in groups.values():
        for group in said:
            by_label.setdefault(group.label, []).append(group)
    medians = {label: medians_of([group.mean for group in found]) for label, found in by_label.items()}
    usual = {label: median(_squared(found, medians[label])) for label, found in by_label.items()}
    spreads = {label: median([group.variances.sum() for group in found]) for label, found in by_label.items()}

    def squared(group: Group, label: int | None) -> float:
        return float(_squared([group], medians[label])[0])

    def nearness(group: Group) -> float:
        """Return how many times further the own class is than the nearest other one."""
        others = [squared(group, label) for label in medians if None not in (label, group.label)]
        if len(by_label[group.label]) < _FEW or not others:
            return 0.0
        return squared(group, group.label) / max(min(others), 1e-9)

    def is_usual(group: Group) -> bool:
        if len(by_label[group.label]) < _FEW:
            return True
        spread = spreads[group.label]
        is_near = squared(group, group.label) <= _WIDEST * usual[group.label] + spread
        return is_near and group.variances.sum() <= _WIDEST * spread and nearness(group) <= _CLEARLY

    def kept(said: Sequence[Group]) -> list[Group]:
        if sum(nearness(group) > 1 for group in said) > len(said) / 2:
            return []
        return [group for group in said if is_usual(group)]

    return {author: kept(said) for author, said in groups.items()}


def _squared(groups: Sequence[Group], centre: Array) -> Array:
    """Return the squared distances (n,) of the groups' means to ``centre`` (columns,)."""
    return np.asarray(np.square(np.array([group.mean for group in groups]) - centre).sum(axis=1))


def draw(group: Group, count: int, rng: np.random.Generator) -> Array:
    """Draw ``count`` rows (count, columns) that have about the group's mean and covariance."""
    if group.covariance.ndim == 1:
        return group.mean + rng.standard_normal((count, len(group.mean))) * np.sqrt(group.covariance)
    values, directions = np.linalg.eigh(group.covariance)
    factor = directions * np.sqrt(np.maximum(values, 0))
    return group.mean + rng.standard_normal((count, len(group.mean))) @ factor.T


def draw_proxy(
    layout: Layout, groups: Mapping[bytes, Sequence[Group]], count: int, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Draw about ``count`` rows of everybody's kind: as many of each class, and in it of each author.

    ``groups`` are what is believable, by author. Without groups of a known class there are none.
    """
    known = [group for said in groups.values() for group in said if group.label is not None]
    known = steadied(known, known)
    authors = Counter(group.label for group in known)
    share = count / max(len(authors), 1)
    return draw_rows(layout, known, [math.ceil(share / authors[group.label]) for group in known], rng)


def draw_rows(
    layout: Layout, groups: Sequence[Group], counts: Sequence[int], rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Draw so many rows of each group: rows (n, inputs), and their classes (n,) or targets (n, outputs).

    Of a swarm with classes, ``groups`` must all have a label. Where rows are their own targets, these are the rows.
    """
    drawn = [draw(group, count, rng) for group, count in zip(groups, counts, strict=True)]
    values = np.concatenate([np.empty((0, layout.columns)), *drawn]).astype(np.float32)
    if layout.classes:
        return values, np.repeat([group.label or 0 for group in groups], counts).astype(np.float32)
    rows = values[:, : layout.inputs]
    return rows, values[:, layout.inputs :] if layout.columns > layout.inputs else rows
