"""The only things that the page can ask for, by path: an invite, and the label of readings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from learnae.config.sections import LanSection, MqttSection
from learnae.dashboard.server import Write
from learnae.errors import ConfigurationError
from learnae.swarm.directory import Swarm


def invites_of(swarm: Swarm, mqtt: MqttSection, lan: LanSection) -> dict[str, Write]:
    """Return what lets others into ``swarm``; nothing where members do not come in by invite."""
    if swarm.manifest.membership is None:
        return {}
    from learnae.dashboard.inviting import Inviting  # noqa: PLC0415 - ciphers, for which open swarms have no use

    return {"/api/invite": Inviting(swarm, mqtt, lan)} if Inviting.is_possible(swarm) else {}


def labels_of(give: Callable[[str, float | None], None]) -> dict[str, Write]:
    """Return what labels readings by ``give``, which takes the class ("" for none) and seconds (None for always)."""

    def label(wish: Mapping[str, Any]) -> dict[str, Any]:
        name, seconds = wish.get("label"), wish.get("seconds")
        if not isinstance(name, str):
            raise ConfigurationError("label is no text", 'send {"label": "CLASS"}, or "" for none')
        if seconds is not None and (isinstance(seconds, bool) or not isinstance(seconds, (int, float))):
            raise ConfigurationError("seconds is no number", "send seconds, or null")
        give(name, seconds)
        return {"label": name or None, "seconds": seconds}

    return {"/api/label": label}
