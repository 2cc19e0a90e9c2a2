"""Weights that carry rows away are seen before anything is trained on them; weights that were only trained are not."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from bench.rigs.attacked import WRIST, dataset_of, person, raw_windows, updates
from learnae.audit.imprint import imprint
from learnae.audit.own_rows import OwnRows
from learnae.audit.reconstruction import changes, errors, quotients
from learnae.models.dataset import Dataset
from learnae.models.traps.trap_check import TrapCheck
from learnae.swarm.manifest import Manifest
from learnae.swarm.presets import dense_config, preset
from learnae.weights.codecs import Vector

pytestmark = pytest.mark.slow


def check_of(manifest: Manifest, number: int = 1, rows: int = 300) -> TrapCheck:
    data = dataset_of(manifest, person(number, manifest).part(np.arange(rows)))
    return TrapCheck(manifest.definition, manifest.objective, data.train)


def verdict(check: TrapCheck, manifest: Manifest, weights: Vector) -> str:
    start = manifest.definition.initial(manifest.seed)
    return check(weights, start, start)


def rare(manifest: Manifest, share: float) -> Vector:
    """Return weights whose units each fire on a ``share`` of another person's rows."""
    vector = manifest.definition.initial(manifest.seed)
    kernel, bias = manifest.definition.split(vector)[0]
    bias[:] = -np.quantile(person(2).rows @ kernel, 1 - share, axis=0)
    return vector


def test_units_of_one_direction_are_seen_with_no_row_at_all() -> None:
    manifest = raw_windows(64, 26, 32, 1e-5)
    trap = imprint(manifest.definition, person(2, manifest).rows, np.random.default_rng(1))
    check = TrapCheck(manifest.definition, manifest.objective, dataset_of(manifest, person(1, manifest)).train)
    empty = dataset_of(manifest, person(1, manifest).part(np.zeros(0, np.int64)))
    assert "64 of 64 units" in verdict(check, manifest, trap)
    assert "64 of 64 units" in verdict(TrapCheck(manifest.definition, manifest.objective, empty.train), manifest, trap)
    mixed = manifest.definition.initial(5)
    kernel, bias = manifest.definition.split(mixed)[1][:2]
    (trap_kernel, trap_bias) = manifest.definition.split(trap)[1][:2]
    kernel[:, ::4], bias[::4] = trap_kernel[:, ::4] * -1, trap_bias[::4]
    assert "16 of 64 units" in verdict(check, manifest, mixed), "not only neighbours are compared"


WIDE = replace(WRIST, config=dense_config(30, (256,), 7, "softmax"))


@pytest.mark.parametrize("fires", [0.9, 0.25, 0.05])
@pytest.mark.parametrize("units", [16, 256])
def test_a_grid_of_thresholds_is_seen_whatever_share_its_units_fire_on(fires: float, units: int) -> None:
    """A few of many units are enough to cut the rows apart that they fire on."""
    trap, rows = WIDE.definition.initial(5), person(2).rows
    kernel, bias = WIDE.definition.split(trap)[0]
    kernel[:, :units] = kernel[:, :1] * np.linspace(0.5, 2, units)
    levels = np.linspace(1 - fires, 1, units, endpoint=False)
    bias[:units] = -np.quantile(rows @ kernel[:, 0], levels) * np.linspace(0.5, 2, units)
    assert f"{units} of 256 units" in verdict(check_of(WIDE), WIDE, trap)


def test_directions_that_differ_where_rows_do_not_vary_are_one() -> None:
    """Eight columns say nothing: no two units are parallel, and all say the same."""
    manifest = replace(WIDE, config=dense_config(38, (256,), 7, "softmax"), features=None)
    data = Dataset(manifest.model, manifest.objective)
    data.add(np.hstack([person(1).rows[:300], np.full((300, 8), 0.5)]), person(1).targets[:300])
    check = TrapCheck(manifest.definition, manifest.objective, data.train)
    trap = manifest.definition.initial(5)
    kernel, bias = manifest.definition.split(trap)[0]
    assert verdict(check, manifest, trap) == ""
    kernel[:30], kernel[30:] = kernel[:30, :1], np.random.default_rng(1).normal(size=(8, 256))
    bias[:] = -np.quantile(data.train.rows @ kernel, np.linspace(0.2, 0.8, 256), axis=0).diagonal()
    assert "256 of 256 units of the first layer tell the same" in verdict(check, manifest, trap)


@pytest.mark.parametrize("share", [0.12, 0.02, 0.005, 0.0005])
def test_units_that_fire_on_hardly_any_row_are_seen(share: float) -> None:
    assert "fire" in verdict(check_of(WRIST), WRIST, rare(WRIST, share))
    assert verdict(check_of(WRIST, rows=8), WRIST, rare(WRIST, share)) == "", "eight rows tell nothing"


def test_what_is_worse_than_saying_always_the_same_is_seen() -> None:
    garbage = 20 * WRIST.definition.initial(9)
    assert "the loss on own rows" in verdict(check_of(WRIST), WRIST, garbage)


def test_a_filter_that_spans_the_window_is_no_way_round() -> None:
    manifest = preset("wrist-cnn", 1)
    kernel, bias = manifest.definition.split(trap := manifest.definition.initial(0))[0]
    kernel[:], bias[:] = kernel[..., :1], np.linspace(-1, 1, len(bias))
    assert "16 of 16 units" in verdict(check_of(manifest), manifest, trap)


@pytest.mark.parametrize("manifest", [WRIST, WIDE], ids=["64 units", "256 units"])
def test_members_who_begin_with_two_exercises_each_are_no_traps_to_one_another(manifest: Manifest) -> None:
    def part(number: int) -> OwnRows:
        rows = person(number, manifest)
        return rows.part(np.flatnonzero(np.isin(rows.targets, (number % 7, (number + 3) % 7))))

    data = {number: dataset_of(manifest, part(number)).train for number in range(1, 9)}
    checks = [TrapCheck(manifest.definition, manifest.objective, rows) for rows in data.values()]
    learnt = [updates(manifest, part(number), 2)[-1] for number in data]
    merged = np.mean(learnt, axis=0, dtype=np.float64).astype(np.float32)
    assert {verdict(check, manifest, merged) for check in checks} == {""}
    said = {verdict(check, manifest, weights) for check in checks for weights in learnt}
    assert not any("units" in each for each in said), "one alone, never merged, may be far off, but has no such units"


@pytest.mark.parametrize("name", ["wrist", "wrist-cnn"])
def test_what_other_people_have_learnt_is_no_trap(name: str) -> None:
    manifest = preset(name, 1)
    check = check_of(manifest)
    for number in (2, 3):
        *_, learnt = updates(manifest, person(number, manifest), 8)
        assert verdict(check, manifest, learnt) == ""


def test_what_all_started_from_is_no_sign() -> None:
    start = rare(WRIST, 0.02)
    assert check_of(WRIST)(start, start, start) == ""


COLUMN = replace(preset("hepmass", 1), config=dense_config(28, (64,), 1, "sigmoid"))
VALUES = np.array([-1.4, -0.7, 0.0, 0.7, 1.4])
DRAWN = 256  # rows of an update at least


def along_a_column(values: np.ndarray, rows_drawn: int, count: int = 4000) -> TrapCheck:
    """Return a check with rows whose last column has some of ``values``."""
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(count, 28))
    rows[:, -1] = rng.choice(values, count)
    data = Dataset(COLUMN.model, COLUMN.objective)
    data.add(rows, (rng.random(count) < 0.5).astype(int))
    return TrapCheck(COLUMN.definition, COLUMN.objective, data.train, rows_drawn)


def looking(thresholds: Sequence[float], signs: Sequence[int] = (1,)) -> Vector:
    """Return weights with a unit for each of ``thresholds``, along the last column, in the directions of ``signs``."""
    weights, directions = COLUMN.definition.initial(5), np.resize(signs, len(thresholds))
    kernel, bias = COLUMN.definition.split(weights)[0]
    kernel[:, : len(thresholds)] = 0
    kernel[-1, : len(thresholds)] = directions
    bias[: len(thresholds)] = -directions * np.array(thresholds)
    return weights


BETWEEN = [-1.05, -0.35, 0.35, 1.05]  # the five values


def test_a_strong_column_of_few_values_is_no_trap() -> None:
    """Peers that know signal of one mass each come to five or six units along the mass."""
    check = along_a_column(VALUES, DRAWN)
    for signs in ((1,), (1, -1)):
        honest = looking([*BETWEEN, -0.4, 0.4], signs)
        assert verdict(check, COLUMN, honest) == ""
        for few in (along_a_column(VALUES, 0), along_a_column(VALUES, DRAWN, count=70)):
            assert "6 of 64 units" in verdict(few, COLUMN, honest), "of few rows each part is of few"


@pytest.mark.parametrize("signs", [(1,), (1, -1)])
def test_thresholds_that_part_few_rows_along_a_column_are_a_trap(signs: tuple[int, ...]) -> None:
    check = along_a_column(np.linspace(-1.7, 1.7, 4000), DRAWN)
    close = np.linspace(-1.5, 1.5, 20)
    assert "20 of 64 units" in verdict(check, COLUMN, looking(close, signs))
    assert "6 of 64 units" in verdict(check, COLUMN, looking([0.5, 0.501, 0.502, 0.503, 0.504, -1], signs))
    assert "40 of 64 units" in verdict(check, COLUMN, looking(np.linspace(-3, 3, 40), signs)), "too many to ask"
    assert "8 of 64 units" in verdict(check, COLUMN, looking(BETWEEN * 2, signs)), "the same rows are no rows"


def test_two_directions_in_turn_hide_nothing() -> None:
    """Neighbours in order part many rows, each and the next but one few."""
    check = along_a_column(np.linspace(-1.7, 1.7, 4000), DRAWN)
    trap = looking(np.repeat(np.linspace(-0.02, 0.02, 8), 2))
    kernel = COLUMN.definition.split(trap)[0][0]
    kernel[0, 1:16:2] = 0.13  # cosine 0.992
    assert "16 of 64 units" in verdict(check, COLUMN, trap)


def test_a_trap_in_small_steps_is_seen_when_its_units_are_of_one_direction() -> None:
    check, own = along_a_column(np.linspace(-1.7, 1.7, 4000), DRAWN), COLUMN.definition.initial(COLUMN.seed)
    start, trap = own, looking(np.linspace(-1, 1, 16))
    for _ in range(200):
        merged = own + (trap - own) / np.float32(20)
        if "units of the first layer have the direction of another" in check(merged, own, start):
            break
        own = merged
    kernel = COLUMN.definition.split(own)[0][0][:, :16].astype(float)
    directions = kernel / np.linalg.norm(kernel, axis=0)
    near = np.abs(directions.T @ directions) - np.eye(16) > 0.99
    assert near.any(axis=0).sum() <= 4


def test_what_passes_gives_no_row() -> None:
    """Parts of just as many rows as are let through, with thresholds at own quantiles: more than any attacker knows."""
    manifest = raw_windows(12, 8, 32, 1e-5)
    own = person(1, manifest)
    rebuilt = []
    for seed in range(3):
        trap = imprint(manifest.definition, own.rows, np.random.default_rng(seed))
        check = TrapCheck(manifest.definition, manifest.objective, dataset_of(manifest, own).train, DRAWN)
        found = changes(manifest.definition, updates(manifest, own, 10, trap, lambda _, trap=trap: trap, seed))  # type: ignore[misc]
        rebuilt.append(int((errors(quotients(found), own.rows) < 0.2).sum()))
        assert check._parting_few(trap, 1, np.arange(12)) <= 4, "they are let through"
    assert rebuilt == [0, 0, 0]


def some_imprinted(manifest: Manifest, units: int, seed: int) -> Vector:
    """Return trap weights of which so many ``units`` have one direction; each part is one of the own rows."""
    like = person(1, manifest).rows
    trap = imprint(manifest.definition, like, np.random.default_rng(seed))
    kernel, bias = manifest.definition.split(trap)[1]
    told = np.sort(like.reshape(len(like), -1) @ kernel[:, 0])[len(like) // 2 :][: units + 1]
    honest = manifest.definition.split(manifest.definition.initial(seed))[1]
    kernel[:, units:], bias[units:] = honest[0][:, units:], honest[1][units:]
    bias[:units] = -(told[1:] + told[:-1]) / 2  # more than any attacker knows
    return trap


@pytest.mark.parametrize("units", [8, 16])
def test_units_of_one_direction_are_turned_apart_and_then_give_no_row(units: int) -> None:
    manifest = raw_windows(64, 26, 32, 1e-5)
    own, start = person(1, manifest), manifest.definition.initial(manifest.seed)
    check = TrapCheck(manifest.definition, manifest.objective, dataset_of(manifest, own).train, DRAWN)

    def rebuilt(weights: Vector, seed: int) -> int:
        found = changes(manifest.definition, updates(manifest, own, 10, weights, lambda _: weights, seed))
        return int((errors(quotients(found), own.rows) < 0.2).sum())

    for seed in range(3):
        trap = some_imprinted(manifest, units, seed)
        assert f"{units} of 64 units" in check(trap, start, start)
        assert rebuilt(trap, seed) > 0, "it would work"
        turned = check.turned_apart(trap, start)
        assert turned is not None
        assert check(turned, start, start) == ""
        assert rebuilt(turned, seed) == 0


def test_too_many_units_of_one_direction_are_not_turned() -> None:
    """Who sends them is to be named."""
    manifest = raw_windows(64, 26, 32, 1e-5)
    check, start = check_of(manifest), manifest.definition.initial(manifest.seed)
    assert check.turned_apart(some_imprinted(manifest, 17, 1), start) is None
    assert check.turned_apart(start, start) is None, "there are none"


@pytest.mark.parametrize("length", [1e-40, 1e-30, 1e25, 3.4e38])
def test_units_of_any_length_are_turned_to_numbers_or_not_at_all(length: float) -> None:
    manifest = raw_windows(64, 26, 32, 1e-5)
    check, start, trap = check_of(manifest), manifest.definition.initial(manifest.seed), some_imprinted(manifest, 8, 1)
    kernel = manifest.definition.split(trap)[1][0]
    kernel[:, :8] = np.sign(kernel[:, :8]) * np.float32(length)
    turned = check.turned_apart(trap, start)
    assert turned is None if length > 1e38 else np.isfinite(turned).all()


def test_a_loss_that_most_others_have_on_own_rows_is_no_sign() -> None:
    start, check = WRIST.definition.initial(WRIST.seed), check_of(WRIST)
    far = [20 * WRIST.definition.initial(seed) for seed in (9, 10, 11)]
    assert "the loss" in check(far[0], start, start, far[:1]), "of two none is most"
    assert "the loss" in check(far[0], start, start, [*far[:1], start, start])
    assert check(far[0], start, start, far) == "", "own rows are unlike theirs"
    broken = np.full_like(start, np.nan)
    assert "the loss" in check(far[0], start, start, [broken, start, start])
