"""Weights that carry rows away are seen before anything is trained on them; weights that were only trained are not."""

import numpy as np
import pytest

from bench.rigs.attacked import WRIST, dataset_of, person, raw_windows, updates
from learnae.audit.imprint import imprint
from learnae.models.traps.trap_check import TrapCheck
from learnae.swarm.manifest import Manifest
from learnae.swarm.presets import preset
from learnae.weights.codecs import Vector


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
