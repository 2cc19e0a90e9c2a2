"""When contributions are measured and said: seldom, in few bytes, and never where there is nothing to judge by."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from builders import NOW, Author, identity, tiny_manifest

from learnae.membership.policy import Founder, MembershipPolicy
from learnae.models.dataset import Dataset
from learnae.peer.contributions.rating import Rating, why_unrated
from learnae.peer.following import Replica
from learnae.peer.summaries.lessons import Lessons
from learnae.privacy.policy import MASKED, NONE, PrivacyPolicy, SummaryPrivacy
from learnae.protocol.bodies import Contributions
from learnae.protocol.limits import HOUR, MINUTE
from learnae.samples.dp_statistics import Statistics, layout_of
from learnae.simulation.in_memory import MemoryStateStore
from learnae.swarm.manifest import Manifest
from learnae.swarm.presets import dense_config
from learnae.weights.merge import MEAN, MergePolicy, Vote

MANIFEST = Manifest(
    "two", dense_config(2, (), 2, "softmax"), "sparse_categorical_crossentropy", merge=MergePolicy(rule=MEAN)
)
DAY = 24 * HOUR
FEW = MembershipPolicy.of("invite", [Founder(identity(1).author, identity(1).x25519)], 1)


def lessons(members: int) -> Lessons:
    layout = layout_of(MANIFEST)
    assert layout is not None
    found = Lessons(layout, Dataset(MANIFEST.model, MANIFEST.objective), np.random.default_rng(1))
    said = {}
    for number in range(members):
        rows, rng = Dataset(MANIFEST.model, MANIFEST.objective), np.random.default_rng(number)
        classes = rng.integers(0, 2, 400)
        rows.add(rng.normal(size=(400, 2)) + 2 * classes[:, None], classes)
        body = Statistics.of(layout, rows.train).release(1, MANIFEST.privacy, 1)
        said[bytes([number]) * 32] = Author(number).say(body=body.to_fields(), checkpoint=True, time=NOW)
    found.note(said)
    return found


def rating(members: int = 3) -> tuple[Rating, MemoryStateStore]:
    store = MemoryStateStore()
    return Rating(MANIFEST, bytes(32), lessons(members), store, seed=1), store


def replicas(count: int, version: int = 0) -> dict[bytes, Replica]:
    rng, found = np.random.default_rng(version), {}
    for number in range(1, count + 1):
        cid = Author(number).say(time=NOW + version).cid
        vector = rng.normal(size=MANIFEST.model.count).astype(np.float32)
        found[bytes([number]) * 32] = Replica(vector, 400, NOW, settled=False, cid=cid)
    return found


OWN = Vote(np.zeros(MANIFEST.model.count, np.float32), 400, NOW, settled=False)


@pytest.mark.parametrize(("members", "others", "is_measured"), [(3, 2, True), (2, 2, False), (3, 1, False)])
def test_it_takes_three_who_tell_of_their_rows_and_two_to_compare(members: int, others: int, is_measured: bool) -> None:
    found, _ = rating(members)
    assert found.measure(OWN, replicas(others), NOW, lambda: 0) == is_measured
    assert bool(found.book.measured) == is_measured


def test_the_same_replicas_are_measured_once_and_new_ones_not_before_it_is_time() -> None:
    found, _ = rating()
    assert found.measure(OWN, replicas(3), NOW, lambda: 0)
    assert not found.measure(OWN, replicas(3), NOW, lambda: 60_000)
    assert not found.measure(OWN, replicas(3, 1), NOW, lambda: 9_999)
    slow = iter([10_000, 12_000])
    assert found.measure(OWN, replicas(3, 1), NOW, lambda: next(slow))
    assert not found.measure(OWN, replicas(3, 2), NOW, lambda: 10_000 + 99_999), "a fiftieth of a core"
    assert found.measure(OWN, replicas(3, 2), NOW, lambda: 10_000 + 100_000)


def said_at(found: Rating, begin: int, end: int, is_new: bool = True) -> list[int]:
    times = []
    for time in range(begin, end, 10_000):
        if is_new:
            found.book.note_gains({bytes([1]) * 32: 0.1, bytes([2]) * 32: 0.3}, time)
            found._has_news = True
        if found.due(time) is not None:
            times.append(time - NOW)
    return times


def test_statements_are_few_and_small() -> None:
    """As docs/contributions.md says: 15 in the first day, then 8; a third of a horizon apart where nothing changes."""
    found, _ = rating()
    first = said_at(found, NOW, NOW + DAY)
    assert first[:4] == [MINUTE, 2 * MINUTE, 4 * MINUTE, 8 * MINUTE]
    assert len(first) == 15
    assert len(said_at(found, NOW + DAY, NOW + 2 * DAY)) == 8
    quiet = said_at(found, NOW + 2 * DAY, NOW + 4 * DAY, is_new=False)
    assert len(quiet) == 6
    assert all(later - earlier == DAY // 3 for earlier, later in itertools.pairwise(quiet))


def test_a_clock_that_was_set_back_neither_silences_it_for_a_year_nor_makes_it_talk() -> None:
    found, _ = rating()
    said_at(found, NOW, NOW + HOUR)
    found._has_news = True
    assert found.due(NOW - 365 * DAY) is not None
    assert len(said_at(found, NOW - 365 * DAY, NOW - 364 * DAY)) <= 15


def test_what_is_saved_is_gone_on_from_and_what_is_damaged_or_anothers_begun_anew() -> None:
    found, store = rating()
    said_at(found, NOW, NOW + HOUR)
    again = Rating(MANIFEST, bytes(32), lessons(3), store)
    again.begin()
    assert (again.book.said, again.book.statement()) == (found.book.said, found.book.statement())
    another = Rating(MANIFEST, bytes([9]) * 32, lessons(3), store)
    another.begin()
    assert another.book.measured == {}
    store.save(b"\0" * 50)
    damaged = Rating(MANIFEST, bytes(32), lessons(3), store)
    damaged.begin()
    assert damaged.book.measured == {}


def test_only_those_who_have_published_weights_are_heard_and_it_is_saved_in_time() -> None:
    found, store = rating()
    author = Author(1)
    message = author.say(body=Contributions((bytes([2]) * 8,), (100,)).to_fields(), time=NOW)
    found.note([message], speakers={})
    assert found.book.heard == {}
    found.note([message], speakers={author.author})
    found.keep([author.author], 0)
    before = store.load()
    found.note([author.say(body=Contributions((bytes([2]) * 8,), (90,)).to_fields(), time=NOW + 1)], {author.author})
    found.keep([author.author], 9 * MINUTE)
    assert store.load() == before, "an SD card wears out"
    found.keep([author.author], 10 * MINUTE)
    assert store.load() != before


@pytest.mark.parametrize(
    ("manifest", "why"),
    [
        (replace(MANIFEST, privacy=PrivacyPolicy(summary=SummaryPrivacy(form=NONE))), "has no summaries"),
        (
            replace(MANIFEST, membership=FEW, privacy=PrivacyPolicy(summary=SummaryPrivacy(sharing=MASKED))),
            "masks summaries",
        ),
        (tiny_manifest(), "no classes"),
    ],
    ids=["none", "masked", "values"],
)
def test_a_swarm_that_cannot_tell_says_why(manifest: Manifest, why: str) -> None:
    assert why in why_unrated(manifest)
    assert why_unrated(MANIFEST) == ""
