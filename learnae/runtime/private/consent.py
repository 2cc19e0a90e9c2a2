"""What a swarm's definition asks of its members that tells their rows, and who has accepted that."""

import math
from collections.abc import Collection
from dataclasses import asdict

from learnae.config.privacy_section import PrivacySection
from learnae.errors import ConfigurationError
from learnae.models.definition import ModelDefinition
from learnae.models.layers.dense import KernelLayer
from learnae.swarm.directory import is_created_here
from learnae.swarm.features import RAW_KIND
from learnae.swarm.manifest import Manifest
from learnae.weights.codecs import EXACT

EXACT_FRAMES, RAW_WINDOWS, FOREIGN_START = KEYS = ("exact_frames", "raw_windows", "foreign_start")
_PARTS = 5  # of a window, at least, for a unit to see but one of them


def demands(manifest: Manifest, is_private: bool) -> dict[str, str]:
    """Return what ``manifest`` asks for, in words, by the keys of ``[privacy]`` that accept it.

    Where updates are differentially private (``is_private``), raw windows are no matter.
    """
    found = {}
    exact = {manifest.codec.keyframe, manifest.codec.delta} & set(EXACT)
    if exact:
        found[EXACT_FRAMES] = f"frames in {' and '.join(sorted(exact))}, of which rows can be computed more exactly"
    if manifest.features and manifest.features.kind == RAW_KIND and not is_private and not _looks_at_parts(manifest):
        found[RAW_WINDOWS] = "raw windows for a Dense layer, whose updates are sums of the readings themselves"
    if manifest.start:
        found[FOREIGN_START] = "starting weights that its author has chosen, perhaps so that updates tell rows"
    return found


def check_consent(manifest: Manifest, section: PrivacySection, accepted: Collection[str] = ()) -> None:
    """Raise ConfigurationError, in one line, if the owner has not accepted what the swarm asks for.

    Who made a swarm in this home has accepted it. ``accepted`` are keys beside those of the ``section``.
    """
    is_private = manifest.privacy.training is not None or section.epsilon > 0
    given = {*accepted, *(key for key in KEYS if asdict(section)[key])}
    missing = {key: what for key, what in demands(manifest, is_private).items() if key not in given}
    if missing and not is_created_here(manifest.swarm):
        keys = " and ".join(f"privacy.{key} = true" for key in missing)
        raise ConfigurationError(
            f"swarm {manifest.name!r} wants {'; '.join(missing.values())}",
            f"if you trust who made it: learnae join --accept {','.join(missing)}, or {keys} (docs/privacy.md)",
        )


def read_accepted(text: str) -> tuple[str, ...]:
    """Read the keys of ``--accept``; raises ConfigurationError."""
    keys = tuple(dict.fromkeys(key.strip() for key in text.split(",") if key.strip()))
    for key in keys:
        if key not in KEYS:
            raise ConfigurationError(f"--accept {key}", f"give {', '.join(KEYS)}, or some of them")
    return keys


def _looks_at_parts(manifest: Manifest) -> bool:
    """Return True if each unit of the first layer sees a small part of a window, at many places.

    A convolution as long as the window is a Dense layer by another name. False where nothing is known.
    """
    if not isinstance(manifest.model, ModelDefinition):
        return False
    first = next((layer for layer in manifest.model.layers if isinstance(layer, KernelLayer)), None)
    return first is not None and _PARTS * math.prod(first.kernel[:-1]) <= math.prod(manifest.model.input_shape)
