"""The attacks work on a member that nothing protects: else it would mean nothing that they fail on another."""

from dataclasses import replace

import numpy as np
import pytest

from bench.rigs.attacked import WRIST, person, raw_windows, updates
from learnae.audit.channel import telling, told
from learnae.audit.imprint import imprint
from learnae.audit.membership import membership
from learnae.audit.reconstruction import changes, errors, only_row, quotients, row_space, shares
from learnae.models.reference.numpy_model import predict
from learnae.weights.frames import FramePolicy

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("number", range(1, 5))
def test_the_first_update_after_one_row_is_that_row(number: int) -> None:
    own = person(number).part(np.array([number]))
    found = only_row(changes(WRIST.definition, updates(WRIST, own, 1))[0])
    assert found is not None
    assert errors(found[None], own.rows)[0] < 0.02


@pytest.mark.parametrize("count", [2, 5, 10, 29])
def test_updates_of_few_rows_span_their_space(count: int) -> None:
    everything = person(1)
    chosen = np.random.default_rng(count).permutation(len(everything.rows))
    own = everything.part(chosen[:count])
    space = row_space(changes(WRIST.definition, updates(replace(WRIST, codec=FramePolicy("q8", "q8")), own, 11)), count)
    assert shares(space, own.rows).min() > 0.85
    if count <= 10:  # the rows have 30 features: the space of 29 holds nearly all that there can be
        assert np.median(shares(space, person(2).rows)) < shares(space, own.rows).min()


@pytest.mark.parametrize(
    ("count", "least", "most"), [(1, 0.99, 1.0), (5, 0.88, 1.0), (29, 0.65, 0.85), (100, 0.5, 0.66)]
)
def test_the_fewer_rows_the_surer_is_who_is_a_member(count: int, least: float, most: float) -> None:
    found = []
    for number in range(1, 5):
        everything = person(number)
        chosen = np.random.default_rng(number).permutation(len(everything.rows))
        own, others = everything.part(chosen[:count]), everything.part(chosen[count:])
        found.append(membership(WRIST.definition, updates(WRIST, own, 11), own.rows, others.rows))
    assert least <= np.mean(found) <= most


def test_a_batch_of_one_raw_window_is_sent_as_it_is() -> None:
    manifest = raw_windows(hidden=16, steps=1, batch=1, rate=1e-3)
    own = person(1, manifest)
    found = quotients(changes(manifest.definition, updates(manifest, own, 250)))
    assert np.mean(errors(found, own.rows) < 0.01) > 0.3


@pytest.mark.parametrize(("codec", "is_read"), [("q8", True), ("q4", False), ("top10", False)])
def test_frames_coarser_than_eight_bits_send_no_window_as_it_is(codec: str, is_read: bool) -> None:
    manifest = replace(raw_windows(hidden=16, steps=1, batch=1, rate=1e-3), codec=FramePolicy("q8", codec))
    own = person(1, manifest)
    near = errors(quotients(changes(manifest.definition, updates(manifest, own, 40))), own.rows)
    assert (near.min() < 0.05) == is_read


def test_trap_weights_part_the_rows_of_a_batch() -> None:
    count = 20
    manifest = raw_windows(512, 1, 32, 1e-3)
    own, like = person(1, manifest), np.concatenate([person(number, manifest).rows for number in (2, 3, 4)])
    trap = imprint(manifest.definition, like, np.random.default_rng(1))
    found = quotients(changes(manifest.definition, updates(manifest, own, count, trap)))
    near = errors(found, own.rows)
    assert np.sum(near < 0.01) > 70
    assert np.sum(near < 0.05) > 70
    honest = quotients(changes(manifest.definition, updates(manifest, own, count)))
    assert np.sum(errors(honest, own.rows) < 0.2) < np.sum(near < 0.2) / 4


def test_a_trap_that_a_member_sends_later_works_as_well() -> None:
    manifest = raw_windows(512, 26, 32, 1e-5)
    own, like = person(1, manifest), person(2, manifest).rows
    trap = imprint(manifest.definition, like, np.random.default_rng(1))
    seen = updates(manifest, own, 6, received=lambda number: trap if number == 3 else None)
    changed = [trap, *seen[4:]]
    assert np.sum(errors(quotients(changes(manifest.definition, changed)), own.rows) < 0.01) > 70


def test_a_score_can_be_a_feature() -> None:
    rows = person(1).rows
    for feature in (0, 7, 29):
        scores = predict(WRIST.definition, telling(WRIST.definition, feature), rows.astype(np.float32))[:, -1]
        assert np.median(np.abs(told(scores) - rows[:, feature])) < 1e-4
        coarse = np.round(scores, 2)
        assert len(np.unique(coarse)) < 100, "two digits tell the few steps of a scale"
