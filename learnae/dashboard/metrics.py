"""The peer's own figures in Prometheus' text format, version 0.0.4. Pure: a status in, a text out.

No series is of another peer: a swarm of a thousand would be a thousand series each. Names are in base units.
https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from learnae.basics.headline import STATES

GAUGE, COUNTER = "gauge", "counter"
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


@dataclass(frozen=True, slots=True)
class Family:
    """One metric: its name, kind and what it says. ``labels`` are those beside peer and swarm."""

    name: str
    kind: str
    about: str
    labels: tuple[str, ...] = ()


Sample = tuple[float | int | bool | None, tuple[str, ...]]  # value, and those of the family's labels


def exposition(status: Mapping[str, Any], state: str) -> str:
    """Return the text for the status of a peer (Peer.status), whose headline has this ``state``."""
    base = {"peer": str(status["name"]), "swarm": str(status["swarm"])}
    lines: list[str] = []
    for family, samples in _families(status, state):
        said = [(value, labels) for value, labels in samples if value is not None]
        if not said:
            continue
        lines += [f"# HELP {family.name} {family.about}", f"# TYPE {family.name} {family.kind}"]
        for value, labels in said:
            pairs = {**base, **dict(zip(family.labels, labels, strict=True))}
            inner = ",".join(f'{name}="{text.translate(_ESCAPES)}"' for name, text in pairs.items())
            lines.append(f"{family.name}{{{inner}}} {_number(value)}")
    return "\n".join(lines) + "\n"


def _families(status: Mapping[str, Any], state: str) -> Iterator[tuple[Family, Sequence[Sample]]]:
    def one(name: str, kind: str, about: str, value: Any) -> tuple[Family, Sequence[Sample]]:
        return Family(name, kind, about), [(value, ())]

    said = (str(status["software"]), str(status["role"]), str(status.get("engine", "")))
    build = Family("learnae_build_info", GAUGE, "Always 1; the labels say what runs.", ("version", "role", "engine"))
    yield build, [(1, said)]
    states = Family("learnae_state", GAUGE, "1 for the state that the peer is in.", ("state",))
    yield states, [(each == state, (each,)) for each in STATES]
    seconds = status["time"] / 1000
    yield one("learnae_status_timestamp_seconds", GAUGE, "When the peer said this, Unix time.", seconds)
    yield one("learnae_steps_total", COUNTER, "Optimiser steps taken.", status["steps"])
    yield one("learnae_accuracy_ratio", GAUGE, "Right answers on own held-out rows.", status["accuracy"])
    yield one("learnae_loss", GAUGE, "Loss on own held-out rows.", status["loss"])
    yield one("learnae_r2_ratio", GAUGE, "Variance explained on own held-out rows.", status.get("r2"))
    yield one("learnae_mean_absolute_error", GAUGE, "On own held-out rows.", status.get("mae"))
    yield one("learnae_training_loss", GAUGE, "Loss of the last training steps.", status["training_loss"])
    own = (status.get("personal") or {}).get("score")
    yield one("learnae_personal_score_ratio", GAUGE, "Of the model for this machine alone.", own)
    yield one("learnae_live_peers", GAUGE, "Peers that have published lately, this one too.", status["peers"])
    yield one("learnae_followed_peers", GAUGE, "Others whose weights are here.", status["following"])
    yield one("learnae_muted_peers", GAUGE, "Others whose weights are not merged now.", len(status.get("muted") or ()))
    yield one("learnae_messages", GAUGE, "Messages of the tangle that are kept.", status["messages"])
    sent = Family("learnae_traffic_bytes_total", COUNTER, "Bytes of messages and weights.", ("direction",))
    yield sent, [(status["bytes_out"], ("out",)), (status["bytes_in"], ("in",))]
    found = Family("learnae_problems_total", COUNTER, "Errors that were met and survived.", ("problem",))
    yield found, [(count, (name,)) for name, count in sorted(status["problems"].items())]
    yield one("learnae_training_rows", GAUGE, "Own rows to train on.", status.get("training_rows"))
    yield one("learnae_held_out_rows", GAUGE, "Own rows to measure on.", status["holdout_rows"])
    yield one("learnae_training_seconds_total", COUNTER, "Time spent on training.", status.get("training_seconds"))
    spent = status["privacy"] or {}
    yield one("learnae_privacy_epsilon", GAUGE, "Spent of differential privacy.", spent.get("epsilon"))
    yield one("learnae_privacy_releases_total", COUNTER, "Noisy releases.", spent.get("releases"))
    yield from _agent(status)


def _agent(status: Mapping[str, Any]) -> Iterator[tuple[Family, Sequence[Sample]]]:
    """Yield what only agents have."""
    yield Family("learnae_samples_total", COUNTER, "Windows made of readings."), [(status.get("samples"), ())]
    buffer, inference, resources = (status.get(name) or {} for name in ("buffer", "inference", "resources"))
    yield Family("learnae_buffer_bytes", GAUGE, "Readings on the disk."), [(buffer.get("bytes"), ())]
    yield Family("learnae_buffer_readings", GAUGE, "Readings on the disk."), [(buffer.get("readings"), ())]
    yield Family("learnae_inferences_total", COUNTER, "Windows judged by the model."), [(inference.get("count"), ())]
    yield Family("learnae_inference_score", GAUGE, "Score of the newest window."), [(inference.get("score"), ())]
    limit = inference.get("threshold")
    yield Family("learnae_anomaly_threshold", GAUGE, "Scores beyond it are anomalies."), [(limit, ())]
    heat = resources.get("temperature")
    yield Family("learnae_temperature_celsius", GAUGE, "Of the board."), [(heat, ())]


def _number(value: float | int | bool) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else f"{'+' if value > 0 else '-'}Inf"
    return repr(value + 0)
