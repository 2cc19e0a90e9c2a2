"""What a swarm's definition means for its members' rows, in plain words, from a look at it alone."""

import math

from learnae.models.definition import ModelDefinition
from learnae.models.layers.dense import KernelLayer
from learnae.models.layers.over_time import Conv1D
from learnae.privacy.policy import TrainingPrivacy
from learnae.swarm.features import RAW_KIND
from learnae.swarm.manifest import Manifest
from learnae.weights.codecs import EXACT


def exposures(manifest: Manifest, training: TrainingPrivacy | None = None) -> list[str]:
    """Return two to four lines: what members could compute of rows, and what speaks against it.

    ``training`` is what the owner demands beside the manifest, if it is stricter.

    >>> from learnae.swarm.presets import preset
    >>> for line in exposures(preset("wrist", 1)):
    ...     print(line)
    updates tell rows of 30 values (figures of windows) as far as few were trained on: the first layer adds them up
    no noise hides a single row: what does is how many there are (privacy.rows), clipping, and frames of at most 8 bits
    """
    lines = [_row_line(manifest)]
    training = training or manifest.privacy.training
    exact = sorted({manifest.codec.keyframe, manifest.codec.delta} & set(EXACT))
    if training:
        lines.append(
            f"noise hides a single {training.protects}: epsilon {training.epsilon:g}, delta {training.delta:g}, "
            "whatever members compute"
        )
    else:
        means = "how many there are (privacy.rows), clipping, and frames of at most 8 bits"
        if exact:
            means = f"how many there are (privacy.rows), and clipping; frames in {' and '.join(exact)} hide nothing"
        lines.append(f"no noise hides a single row: what does is {means}")
    if manifest.start:
        lines.append(
            "its author has chosen the starting weights: they may be made to part rows (learnae audit tries it)"
        )
    if manifest.only_keras:
        lines.append("only Keras knows the model: nothing looks for traps in its weights")
    return lines


def _row_line(manifest: Manifest) -> str:
    what = "rows"
    if manifest.features:
        what = "raw readings" if manifest.features.kind == RAW_KIND else "figures of windows"
    first = _first_kernel(manifest)
    if first is None:
        return f"updates are computed from {what}: how much they tell of one is not known for this model"
    width = math.prod(first.kernel[:-1])
    if isinstance(first, Conv1D) and first.sliding.count > 1:
        return (
            f"updates mix {what} over time, {width} values at {first.sliding.count} places: what they tell of one "
            f"window is a mean of its parts"
        )
    told = f"rows of {width} values" + (f" ({what})" if manifest.features else "")
    return f"updates tell {told} as far as few were trained on: the first layer adds them up"


def _first_kernel(manifest: Manifest) -> KernelLayer | None:
    """Return the first layer with a kernel; None where there is none, or where only Keras knows."""
    if not isinstance(manifest.model, ModelDefinition):
        return None
    return next((layer for layer in manifest.model.layers if isinstance(layer, KernelLayer)), None)
