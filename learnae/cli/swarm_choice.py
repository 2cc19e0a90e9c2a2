"""Which swarm a command is about."""

from __future__ import annotations

from learnae.config.loading import find_section
from learnae.config.sections import SwarmSection
from learnae.swarm.directory import Swarm, find_swarm, swarms_here


def choose_swarm(text: str = "") -> Swarm:
    """Open the swarm ``text``; without it, the only one here, or else the one that is configured.

    Raises ManifestError if there is no such swarm, ConfigurationError if there is none, or no single one.
    """
    if not text and len(swarms_here()) != 1:
        text = find_section(SwarmSection, "swarm").id
    return find_swarm(text)
