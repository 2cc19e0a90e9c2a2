"""A swarm that has nothing of everybody's to judge by judges on own held-out rows."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from learnae.errors import ManifestError
from learnae.ipld.cid import RAW, Cid
from learnae.models.dataset import Dataset
from learnae.peer.following import Replica
from learnae.peer.learning.jury import Jury, jury_of
from learnae.privacy.policy import NONE, PrivacyPolicy, SummaryPrivacy, TrainingPrivacy
from learnae.swarm.manifest import Manifest
from learnae.swarm.presets import dense_config, preset
from learnae.weights.codecs import Vector
from learnae.weights.merge import OWN, MergePolicy, Vote

MERGE = MergePolicy(rule=OWN)
VALUES = Manifest("values", dense_config(2, (), 1, "linear"), "mean_squared_error", merge=MERGE)
GOOD, LIE = np.array([1, -1, 0], np.float32), np.array([-1, 1, 0], np.float32)  # kernel, bias


def data_of(manifest: Manifest, rows: int) -> Dataset:
    data = Dataset(manifest.model, manifest.objective, autoencoder=manifest.is_autoencoder)
    drawn = np.random.default_rng(0).normal(size=(rows, 2))
    data.add(drawn, drawn @ [[1], [-1]], holdout=True)
    return data


def heard(jury: Jury, own: Vector, *others: Vector) -> list[int]:
    replicas = {
        bytes([number]): Replica(vector, 100, 0, False, Cid.of(RAW, vector.tobytes() + bytes([number])))
        for number, vector in enumerate(others)
    }
    jury.sit(Vote(own, 100, 0, False), replicas, now=0)
    return [author[0] for author in jury.heard(replicas)]


def jury(data: Dataset, manifest: Manifest = VALUES, **options: Any) -> Jury | None:
    return jury_of(manifest, None, data.holdout, options.get("is_private", False))


def test_liars_are_muted_once_there_are_rows_to_tell_by_and_heard_again() -> None:
    data = data_of(VALUES, 19)
    found = jury(data)
    assert found
    assert heard(found, GOOD, GOOD, LIE) == [0, 1]
    data.add([[1.0, 0.5]], [[0.5]], holdout=True)
    assert heard(found, GOOD, 0.9 * GOOD, LIE) == [0]
    (why,) = found.status().values()
    assert why.endswith("on own rows, knowing nothing has 1, the own 0.00")
    assert heard(found, GOOD, 0.9 * GOOD, 0.8 * GOOD) == [0, 1]


def test_rows_that_come_later_are_judged_by_too() -> None:
    data = data_of(VALUES, 20)
    found = jury(data)
    assert found
    assert heard(found, GOOD, LIE) == []
    drawn = np.random.default_rng(1).normal(size=(400, 2))
    data.add(drawn, drawn @ [[-1], [1]], holdout=True)  # all is the other way round now
    assert heard(found, LIE, GOOD, LIE) == [1]


def test_values_that_never_vary_tell_nothing() -> None:
    data = Dataset(VALUES.model, VALUES.objective)
    data.add(np.ones((30, 2)), np.zeros((30, 1)), holdout=True)
    found = jury(data)
    assert found
    assert heard(found, GOOD, LIE) == [0]


def test_raw_windows_without_summaries_are_judged() -> None:
    manifest = replace(preset("wrist-cnn", 1), merge=MERGE, privacy=PrivacyPolicy(summary=SummaryPrivacy(form=NONE)))
    data, rng = Dataset(manifest.model, manifest.objective), np.random.default_rng(0)
    data.add(rng.normal(size=(20, *manifest.model.input_shape)), rng.integers(0, 7, 20), holdout=True)
    found, weights = jury(data, manifest), manifest.definition.initial(1)
    assert found
    assert heard(found, weights, weights.copy(), 2.5 * weights) == [0]


def test_who_pays_for_each_tale_of_its_rows_judges_by_none() -> None:
    assert jury(data_of(VALUES, 30), is_private=True) is None
    with pytest.raises(ManifestError, match=r"merge\.rule own takes .* no privacy\.epsilon"):
        replace(VALUES, privacy=PrivacyPolicy(training=TrainingPrivacy(4.0)))


def test_a_manifest_says_the_rule() -> None:
    assert Manifest.from_bytes(VALUES.to_bytes()).merge.rule == OWN
