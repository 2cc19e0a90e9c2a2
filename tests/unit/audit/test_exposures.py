"""What a definition means for rows, in plain words: each of its dangers is named, and none that is not there."""

from dataclasses import replace

import pytest

from bench.rigs.attacked import WRIST, raw_windows
from learnae.audit.exposures import exposures
from learnae.ipld.cid import RAW, Cid
from learnae.privacy.policy import PrivacyPolicy, TrainingPrivacy
from learnae.swarm.manifest import Manifest
from learnae.swarm.presets import preset

PRIVATE = replace(WRIST, privacy=PrivacyPolicy(TrainingPrivacy(epsilon=4.0)))


@pytest.mark.parametrize(
    ("manifest", "said", "unsaid"),
    [
        (
            WRIST,
            ["rows of 30 values (figures of windows)", "frames of at most 8 bits"],
            ["raw", "epsilon", "starting weights"],
        ),
        (raw_windows(8, 1, 1, 0.1), ["rows of 600 values (raw readings)", "f32 hide nothing"], ["at most 8 bits"]),
        (preset("wrist-cnn", 1), ["raw readings over time, 54 values at 50 places"], ["f32"]),
        (PRIVATE, ["a single window: epsilon 4, delta 1e-05"], ["no noise"]),
        (replace(WRIST, start=(Cid.of(RAW, b"weights"),)), ["starting weights"], ["epsilon"]),
    ],
)
def test_each_danger_is_named(manifest: Manifest, said: list[str], unsaid: list[str]) -> None:
    text = "\n".join(exposures(manifest))
    assert [part for part in said if part not in text] == []
    assert [part for part in unsaid if part in text] == []


def test_what_the_owner_demands_counts() -> None:
    assert "a single window: epsilon 2" in "\n".join(exposures(WRIST, TrainingPrivacy(epsilon=2.0)))
