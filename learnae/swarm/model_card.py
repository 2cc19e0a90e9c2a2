"""The card of an exported model: what must be known to use it without the swarm."""

import io
import json
import shlex
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from learnae.privacy.spent import READING, WINDOW, PrivacySpent
from learnae.swarm.features import WindowStatistics
from learnae.swarm.manifest import AUTOENCODER, CLASSIFICATION, FORECAST, Manifest
from learnae.text import shown

_STATISTICS = "all means, then standard deviations, minima, maxima, mean absolute steps"
_PERSONAL = "tuned with one machine's own rows, which nothing protects: those who get it can learn of them"
_OWN_LOOP = "what members' own programs take it for"
CARD_FILE = "learnae.json"  # in the archive that a .keras file is, and that a .tflite file has at its end


def card(manifest: Manifest, spent: Collection[PrivacySpent | None] = (), is_personal: bool = False) -> dict[str, Any]:
    """Return the card; ``input`` and ``output`` tell how a row is made of raw data, and what the model says of it.

    ``spent`` holds what each peer whose updates are known says of differential privacy, None of one without. A
    personal model is one that a peer has tuned with own rows, unprotected.
    """
    own, privacy = manifest.is_own_loop, {"updates": manifest.privacy.to_fields(), "spent": _spent(spent)}
    return {
        "swarm": str(manifest.swarm),
        "name": manifest.name,
        "task": manifest.task,
        "loss": manifest.loss,
        "input": _OWN_LOOP if own else f"{_sizes(manifest.model.input_shape)}: {_input(manifest)}",
        "output": _OWN_LOOP if own else f"{_sizes(manifest.model.output_shape)}: {_output(manifest)}",
        "classes": list(manifest.classes),
        "columns": list(manifest.columns),
        "features": manifest.features.to_fields() if manifest.features else None,
        "privacy": {**privacy, "personal": _PERSONAL} if is_personal else privacy,
    }


def _spent(all_spent: Collection[PrivacySpent | None]) -> dict[str, Any] | None:
    """Return what holds for the rows of each peer with differential privacy, and how many ``peers`` are ``without``."""
    known = [spent for spent in all_spent if spent]
    if not known:
        return None
    worst = PrivacySpent(
        max(spent.epsilon for spent in known),
        max(spent.delta for spent in known),
        max(spent.releases for spent in known),
        READING if all(spent.protects == READING for spent in known) else WINDOW,
    )
    return {**worst.to_fields(), "peers": len(known), "without": len(all_spent) - len(known)}


def with_card(data: bytes, facts: Mapping[str, Any]) -> bytes:
    """Return ``data`` with the card ``facts`` as CARD_FILE.

    In a .keras file it is one more member. A .tflite file gets an archive at its end, as TFLite's files with
    metadata have it (https://ai.google.dev/edge/litert/models/metadata): a runtime ignores both.
    """
    file = io.BytesIO(data)
    with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as archive:
        member = zipfile.ZipInfo(CARD_FILE)  # of no date: the same model is the same file
        archive.writestr(member, json.dumps(facts, indent=1, ensure_ascii=False), zipfile.ZIP_DEFLATED)
    return file.getvalue()


def shown_by(path: Path) -> str:
    """Return the command that shows the card in ``path``."""
    return f"unzip -p {shlex.quote(str(path))} {CARD_FILE}"


def _sizes(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _input(manifest: Manifest) -> str:
    features = manifest.features
    if features is None:
        named = shown(manifest.columns) or "the columns of a row, but for the label, in their order"
        order = ", row-major" if len(manifest.model.input_shape) > 1 else ""
        return f"{named}{order}; as they were given to train on"
    window = f"{features.window} samples at {features.rate:g} Hz of {', '.join(features.channels)}"
    made = f"{_STATISTICS} of {window}" if isinstance(features, WindowStatistics) else window
    return f"{made}; (value - shift) / scale, see features"


def _output(manifest: Manifest) -> str:
    if manifest.task == AUTOENCODER:
        return "the row again; the mean squared difference is the anomaly score"
    if manifest.task == FORECAST and (features := manifest.features):
        channels = ", ".join(features.channels)
        return f"the next {features.ahead} samples, each of {channels}; value * scale + shift, see features"
    if manifest.task != CLASSIFICATION:
        return "the number in the label's column, as it was given to train on"
    if manifest.model.output_shape == (1,):
        return f"how likely it is {_classes(manifest, 'class 1', last=True)}"
    return f"how likely each class is: {_classes(manifest, 'the labels 0, 1, …')}"


def _classes(manifest: Manifest, otherwise: str, last: bool = False) -> str:
    return ", ".join(manifest.classes[-1:] if last else manifest.classes) or otherwise
