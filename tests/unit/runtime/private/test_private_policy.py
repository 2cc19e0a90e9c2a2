"""What a peer's updates keep to, by manifest and by owner."""

from dataclasses import replace

import pytest
from keras_configs import dense, layer, sequential

from learnae.config.privacy_section import PrivacySection
from learnae.errors import ConfigurationError, ModelError
from learnae.privacy.policy import PrivacyPolicy, TrainingPrivacy
from learnae.runtime.private.policy import overlap, training_privacy
from learnae.swarm.manifest import Manifest
from learnae.swarm.presets import preset

AGREED = TrainingPrivacy(4.0, 1e-5, 40, 0.5, "reading")


def agreed(policy: TrainingPrivacy | None = AGREED) -> Manifest:
    return replace(preset("wrist", 0), privacy=PrivacyPolicy(policy))


def test_without_any_demand_there_is_none() -> None:
    assert training_privacy(agreed(None), PrivacySection()) is None


@pytest.mark.parametrize(
    ("section", "epsilon", "delta"),
    [
        (PrivacySection(), 4.0, 1e-5),
        (PrivacySection(epsilon=8.0), 4.0, 1e-5),
        (PrivacySection(epsilon=8.0, delta=1e-6), 4.0, 1e-6),
        (PrivacySection(epsilon=1.0, delta=1e-3), 1.0, 1e-5),
        (PrivacySection(delta=1e-9), 4.0, 1e-5),
    ],
)
def test_the_stricter_of_both_counts(section: PrivacySection, epsilon: float, delta: float) -> None:
    assert training_privacy(agreed(), section) == replace(AGREED, epsilon=epsilon, delta=delta)


def test_an_owner_alone_may_ask_for_it() -> None:
    assert training_privacy(agreed(None), PrivacySection(epsilon=2.0)) == TrainingPrivacy(2.0)


def test_in_how_many_partitions_rows_are_is_the_owners_matter() -> None:
    said = agreed(replace(AGREED, partitions=4))
    assert [training_privacy(said, PrivacySection(partitions=n)).partitions for n in (0, 1, 9)] == [4, 1, 9]  # type: ignore[union-attr]
    assert training_privacy(agreed(None), PrivacySection(epsilon=2.0, partitions=9)) == TrainingPrivacy(
        2.0, partitions=9
    )


def test_partitions_without_noise_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"'wrist' carry no noise.*privacy.epsilon"):
        training_privacy(agreed(None), PrivacySection(partitions=4))
    for wrong in (-1, 101):
        with pytest.raises(ConfigurationError, match=rf"privacy.partitions is {wrong}; .*from 1 .*to 100"):
            PrivacySection(partitions=wrong)


def test_noise_that_fits_into_no_memory_is_refused() -> None:
    """A manifest is small, and may ask for a hundred vectors as long as its model."""
    config = sequential(dense(400, "softmax"), shape=(1000,))
    privacy = PrivacyPolicy(replace(AGREED, partitions=100))
    wide = Manifest("wide", config, "sparse_categorical_crossentropy", privacy=privacy)
    with pytest.raises(ModelError, match=r"99 earlier steps on 400,400 weights is 302 MiB; use at most 21"):
        training_privacy(wide, PrivacySection())
    assert training_privacy(wide, PrivacySection(partitions=21))


def test_a_model_that_mixes_rows_is_refused() -> None:
    config = sequential(layer("Dense", units=4), layer("BatchNormalization"), dense(2, "softmax"), shape=(3,))
    manifest = Manifest("mixing", config, "sparse_categorical_crossentropy")
    assert training_privacy(manifest, PrivacySection()) is None
    with pytest.raises(ModelError, match="BatchNormalization"):
        training_privacy(manifest, PrivacySection(epsilon=4.0))


@pytest.mark.parametrize(
    ("hop", "protects", "rows"), [(50, "reading", 2), (30, "reading", 4), (100, "reading", 1), (50, "window", 1)]
)
def test_a_reading_is_in_each_window_that_overlaps_there(hop: int, protects: str, rows: int) -> None:
    manifest = agreed()
    assert manifest.features is not None
    manifest = replace(manifest, features=replace(manifest.features, hop=hop))
    assert overlap(manifest, replace(AGREED, protects=protects)) == rows
    assert overlap(replace(preset("hepmass", 0)), replace(AGREED, protects=protects)) == 1
