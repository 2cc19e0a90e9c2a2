"""A swarm in virtual time whose members rate each other: noisy classes, of which one member alone learns too little.

One has wrong labels, one few rows, and one says lies in place of what it measures.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import numpy as np

from learnae.errors import EncodingError
from learnae.ipld.cid import RAW
from learnae.models.dataset import Dataset
from learnae.models.optimisers import OptimiserPolicy
from learnae.peer.contributions.book import ContributionBook, Score
from learnae.peer.contributions.rating import Rating
from learnae.protocol.announcements import PREFIX_BYTES
from learnae.protocol.bodies import Contributions
from learnae.protocol.limits import HOUR, Limits
from learnae.protocol.messages import Message, open_message
from learnae.simulation.simulator import Member, Setting, Simulation
from learnae.swarm.manifest import Manifest, TrainingPolicy
from learnae.swarm.presets import dense_config
from learnae.weights.merge import JUDGED, MergePolicy

SEED, COLUMNS, CLASSES, MEMBERS = 4, 10, 4, 7
WRONG, FEW, LIAR, VICTIM = 0, 1, 2, 3
USEFUL = range(2, MEMBERS)
CENTRES = np.random.default_rng(5).normal(0, 1, (CLASSES, COLUMNS))
MANIFEST = Manifest(
    "blobs",
    dense_config(COLUMNS, (16,), CLASSES, "softmax"),
    "sparse_categorical_crossentropy",
    training=TrainingPolicy(8, 32),
    optimiser=OptimiserPolicy("adam", learning_rate=0.01),
    merge=MergePolicy(rule=JUDGED, half_life=10_000),
    limits=Limits(horizon=3 * HOUR),  # it measures each 1.25 s, and says it first after 7.5 s
)


def person(number: int) -> Dataset:
    """Rows of noisy classes, all of them below 0, so few that one alone learns them by heart."""
    rng = np.random.default_rng(number)
    data = Dataset(MANIFEST.model, MANIFEST.objective)
    for rows, is_holdout in ((12 if number == FEW else 120, False), (40, True)):
        classes = rng.integers(0, CLASSES, rows)
        values = -np.abs(0.5 + np.abs(CENTRES[classes]) + rng.normal(0, 0.9, (rows, COLUMNS)))
        is_wrong = number == WRONG and not is_holdout
        data.add(values, (classes + 1) % CLASSES if is_wrong else classes, is_holdout)
    return data


class Keeper(Member):
    """Keeps all that was ever said."""

    is_archive = True


def simulate(manifest: Manifest = MANIFEST, people: int = MEMBERS, seconds: int = 45) -> Simulation:
    """Run a swarm in which one peer says lies in place of what it measures."""
    setting = Setting(seed=SEED, follow=MEMBERS - 1, summaries=True)
    simulation = Simulation(manifest, [person(number) for number in range(people)], setting, make=Keeper)
    liar = simulation.members[LIAR].peer.rating
    if liar is not None:
        liar.due = lambda now: lie(simulation, liar, now)  # type: ignore[method-assign]
    simulation.run(seconds * 1000)
    return simulation


def lie(simulation: Simulation, rating: Rating, now: int) -> Contributions | None:
    """Say that the victim does harm, and that the liar and a friend are of the greatest use."""
    if Rating.due(rating, now) is None:
        return None
    lies = {VICTIM: -1000, LIAR: 1000, FEW: 1000}
    return said_of({author_of(simulation, number): percent for number, percent in lies.items()})


def author_of(simulation: Simulation, number: int) -> bytes:
    return simulation.members[number].identity.author


def book_at(simulation: Simulation, number: int) -> ContributionBook:
    rating = simulation.members[number].peer.rating
    assert rating is not None
    return rating.book


def scores(book: ContributionBook, simulation: Simulation) -> dict[int, Score]:
    found = book.scores([member.identity.author for member in simulation.members])
    return {
        number: found[author]
        for number in range(len(simulation.members))
        if (author := author_of(simulation, number)) in found
    }


def statements(simulation: Simulation) -> Iterator[Message]:
    """Yield all that were ever said in the clear."""
    blocks = {cid: data for member in simulation.members for cid, data in member.host.blocks.items()}
    for cid, data in blocks.items():
        if cid.codec == RAW:
            continue
        with suppress(EncodingError):  # the manifest and records are blocks, too
            message = open_message(data, simulation.manifest.swarm, simulation.manifest.limits)
            if isinstance(message.body, Contributions):
                yield message


def said_of(percents: dict[bytes, int]) -> Contributions:
    names = {author[:PREFIX_BYTES]: percent for author, percent in percents.items()}
    return Contributions(tuple(sorted(names)), tuple(names[name] for name in sorted(names)))
