"""What ``learnae join`` says that a swarm will cost this machine, before anything of it is spent."""

from collections.abc import Mapping
from typing import Any

from learnae.basics.memory import memory_left
from learnae.cli.output import human_bytes
from learnae.config.privacy_section import PrivacySection
from learnae.config.sections import GatewaySection, IotaSection, LanSection, MqttSection, PublishSection
from learnae.runtime.costs import FOLLOWED, Costs, check_room, check_trainable, followed, measured_step, why_no_step
from learnae.runtime.publishing import LOCAL_SECONDS, publish_policy
from learnae.swarm.manifest import Manifest
from learnae.text import counted, significant

_DAY_SECONDS = 86_400
_TRAINER = "trainer"


def check_affordable(manifest: Manifest, role: str) -> None:
    """Raise ConfigurationError if this machine has no memory for a member of that ``role``."""
    (check_trainable if role == _TRAINER else check_room)(manifest, memory_left())


def costs_of(manifest: Manifest, role: str, mqtt: MqttSection, lan: LanSection) -> dict[str, Any]:
    """Return what a member pays that is reached so: bytes of memory, seconds a step (None untried), rows and updates.

    ``warning`` says why it does not train, or what it should not.
    """
    costs, left = Costs.of(manifest), memory_left()
    policy = publish_policy(
        PublishSection(), mqtt, GatewaySection(), IotaSection(), lan, max(LOCAL_SECONDS.values()),
        metered=manifest.privacy.training is not None,
    )  # fmt: skip
    trains = role == _TRAINER
    warning = check_trainable(manifest, left) if trains else why_no_step(manifest, left, 0)
    return {
        "parameters": costs.parameters,
        "weight_bytes": costs.weight_bytes,
        "followed_bytes": followed(manifest, FOLLOWED[role], left) * costs.weight_bytes,
        "step_bytes": costs.learning_bytes + costs.step_bytes,
        "step_seconds": measured_step(manifest) if trains or not warning else None,
        "steps": manifest.training.steps,
        "batch": manifest.training.batch,
        "rows_per_update": PrivacySection().draws,
        "update_bytes": costs.update_bytes,
        "bytes_per_day": round(costs.update_bytes * _DAY_SECONDS * 1000 / policy.every),
        "warning": warning if trains or not warning else f"this agent would send summaries, and not train: {warning}",
    }


def costs_note(costs: Mapping[str, Any], only_keras: str) -> dict[str, str]:
    """Return ``costs_of`` as three fields for people, and a warning; with ``only_keras``, no step is known."""
    size, others, step = (human_bytes(costs[key]) for key in ("weight_bytes", "followed_bytes", "step_bytes"))
    seconds, rows = costs["step_seconds"], counted(costs["batch"], "row")
    if only_keras:
        told = "only Keras can tell how long it takes"
    elif seconds is None:
        told = f"not tried here, {step} of memory"
    else:
        told = f"{significant(seconds)} s on this machine with NumPy, {step} of memory"
    return {
        "model": f"{costs['parameters']:,} parameters, {size}; {others} of memory for those of others",
        "step": f"of {rows}: {told}; {counted(costs['steps'], 'step')} at a time",
        "sends": f"{human_bytes(costs['update_bytes'])} an update of {costs['rows_per_update']} or more rows drawn, "
        f"at most {human_bytes(costs['bytes_per_day'])} a day",
        **({"warning": costs["warning"]} if costs["warning"] else {}),
    }
