"""What a peer's updates keep to: what all members agreed on, or what its owner demands, whichever is stricter. Pure."""

import math
from dataclasses import replace

from learnae.config.privacy_section import PrivacySection
from learnae.errors import ConfigurationError, ModelError
from learnae.models.definition import ModelDefinition
from learnae.models.optimisers import OptimiserPolicy
from learnae.privacy.policy import TrainingPrivacy
from learnae.privacy.spent import READING
from learnae.swarm.manifest import Manifest

_LINEAR_RATE, _RATE = 0.1, 0.03  # of a model of one layer, of a deeper one
_NOISE_BYTES = 8  # that each weight takes in the noise that one earlier step added
_MOST_NOISE = 64 << 20  # bytes that noise of earlier steps may take


def training_privacy(manifest: Manifest, section: PrivacySection) -> TrainingPrivacy | None:
    """Return the stricter epsilon and the stricter delta of both; None if neither asks for differential privacy.

    In how many partitions rows are is the owner's matter, as it is a question of time. Raises ModelError if the swarm's
    model cannot be trained so, ConfigurationError for partitions of a peer without noise.
    """
    agreed, policy = manifest.privacy.training, manifest.privacy.training
    if section.epsilon:
        own = TrainingPrivacy(section.epsilon, section.delta)
        policy = own
        if agreed:
            policy = replace(agreed, epsilon=min(agreed.epsilon, own.epsilon), delta=min(agreed.delta, own.delta))
    if section.partitions and not policy:
        raise ConfigurationError(
            f"privacy.partitions is {section.partitions}, and updates in {manifest.name!r} carry no noise",
            "set privacy.epsilon, too, such as 4, or leave privacy.partitions out",
        )
    if policy:
        policy = replace(policy, partitions=section.partitions or policy.partitions)
        check_possible(manifest, policy)
    return policy


def check_agreed(manifest: Manifest) -> None:
    """Raise ModelError if the swarm's members agree on differential privacy, and its model cannot be trained so."""
    if manifest.privacy.training:
        check_possible(manifest, manifest.privacy.training)


def check_possible(manifest: Manifest, policy: TrainingPrivacy) -> None:
    """Raise ModelError unless each row has a gradient of its own, which can be bounded, and noise fits into memory."""
    try:
        manifest.definition.check_row_gradients()
    except ModelError as error:
        raise ModelError(
            f"differential privacy of {manifest.name!r}: {error.problem}",
            "use a model without that layer, or no --epsilon (privacy.epsilon)",
        ) from error
    each, earlier = manifest.model.count * _NOISE_BYTES, policy.partitions - 1
    if earlier * each > _MOST_NOISE:
        raise ModelError(
            f"differential privacy of {manifest.name!r} in {policy.partitions} partitions: the noise of {earlier} "
            f"earlier steps on {manifest.model.count:,} weights is {earlier * each / (1 << 20):,.0f} MiB",
            f"use at most {1 + _MOST_NOISE // each} (--partitions, privacy.partitions)",
        )


def optimiser_of(manifest: Manifest) -> OptimiserPolicy:
    """Return the members' optimiser if they agreed on noise, else the one that few steps with noise need."""
    return manifest.optimiser if manifest.privacy.training else private_optimiser(manifest)


def private_optimiser(manifest: Manifest) -> OptimiserPolicy:
    """Return the optimiser of few steps with noise: Adam, which does not mind how many rows there are."""
    model = manifest.model
    is_linear = isinstance(model, ModelDefinition) and sum(bool(layer.shapes) for layer in model.layers) <= 1
    return OptimiserPolicy("adam", learning_rate=_LINEAR_RATE if is_linear else _RATE)


def overlap(manifest: Manifest, policy: TrainingPrivacy) -> int:
    """Return in how many rows one protected thing can be: a reading is in each window that overlaps there."""
    features = manifest.features
    if policy.protects != READING or features is None:
        return 1
    return math.ceil(features.span / features.hop)
