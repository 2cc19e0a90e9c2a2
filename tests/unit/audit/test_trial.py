"""The audit's trials: what works on a bare member fails on one with the product's defaults, and the other way."""

from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

from bench.rigs.attacked import WRIST, person, raw_windows
from learnae.audit.own_rows import demo_rows, rows_like, rows_of
from learnae.audit.picture import draw
from learnae.audit.trial import Guarding, Trial, Tried, unprotected
from learnae.models.dataset import Dataset
from learnae.models.reference.numpy_learner import NumpyLearner
from learnae.ports import Learner
from learnae.privacy.clipping import NormClip
from learnae.swarm.manifest import Manifest
from learnae.swarm.presets import PRESETS, preset

pytestmark = pytest.mark.slow


def clipped(manifest: Manifest, data: Dataset, rng: np.random.Generator) -> Learner:
    return NumpyLearner(
        manifest.definition, manifest.objective, manifest.optimiser, data, manifest.training.batch, rng, NormClip()
    )


DEFAULTS = Guarding(clipped, 100, 256, 0, looks_for_traps=True, shows_scores=False)
OPEN = Guarding(unprotected, 0, 0, 0, looks_for_traps=False, shows_scores=True)


def tried(manifest: Manifest, guarding: Guarding) -> list[Tried]:
    own = rows_of(manifest)
    return Trial(manifest, own, rows_like(manifest, own), guarding, 3.0).run()


def test_defaults_leave_nothing_of_a_hostile_manifest() -> None:
    one, members, trap, _ = tried(raw_windows(128, 8, 32, 1e-4), DEFAULTS)
    assert one.bare is not None
    assert one.bare < 0.01
    assert (one.guarded, one.why) == (None, "nothing is published of fewer than 100 rows")
    assert trap.bare is not None
    assert trap.bare > 0.05
    assert trap.guarded is None
    assert "direction of another" in trap.why
    assert members.bare is not None


def test_without_them_the_audit_says_so() -> None:
    one, _, trap, channel = tried(raw_windows(128, 8, 32, 1e-4), OPEN)
    assert one.guarded == one.bare
    assert trap.guarded == trap.bare
    assert channel.guarded is None
    *_, channel = tried(WRIST, OPEN)
    assert channel.bare is not None
    assert channel.bare < 1e-3
    assert channel.guarded is not None
    assert channel.guarded > 0.2


@pytest.mark.parametrize("name", PRESETS)
def test_all_presets_can_be_tried(name: str) -> None:
    manifest = replace(preset(name, 1), training=replace(preset(name, 1).training, steps=2))
    found = tried(manifest, DEFAULTS)
    assert len(found) == 4
    root = ElementTree.fromstring(draw("a <title> & more", found))
    assert len(root.findall("{http://www.w3.org/2000/svg}rect")) == 1 + 2 * 4


def test_at_the_default_floor_members_can_hardly_be_told() -> None:
    found = []
    for number in range(1, 9):
        own = person(number)
        trial = Trial(WRIST, own, own.rows, DEFAULTS, 5.0)
        found += [each.guarded for each in trial.run() if each.kind == "auc"]
    assert None not in found
    assert np.mean(np.array(found, np.float64)) <= 0.6


def test_held_out_rows_of_the_demo_are_no_rows_of_it() -> None:
    own = demo_rows(WRIST, 1)
    assert own is not None
    assert len(own.held_out) > 100
    assert not {row.tobytes() for row in own.rows} & {row.tobytes() for row in own.held_out}
