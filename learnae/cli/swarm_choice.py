"""Which swarm a command is about."""

from pathlib import Path

from learnae.cli.progress import progress
from learnae.config.loading import find_section
from learnae.config.sections import SwarmSection
from learnae.runtime.observer import Observer
from learnae.swarm.directory import Swarm, find_swarm, swarms_here


def choose_swarm(text: str = "") -> Swarm:
    """Open the swarm ``text``; without it, the only one here, or else the configured one.

    Raises ManifestError if there is no such swarm, ConfigurationError if there is none, or no single one.
    """
    if not text and len(swarms_here()) != 1:
        text = find_section(SwarmSection, "swarm").id
    return find_swarm(text)


def observe(directory: Path) -> Observer:
    """Return an observer of the swarm in ``directory`` that has read what is here by now; raises as Observer does."""
    observer = Observer(directory)
    with progress("taking in what is published"):
        observer.refresh()
    return observer
