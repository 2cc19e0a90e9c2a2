"""From configuration to the adapters that cross this machine's border: the one list of them."""

from __future__ import annotations

from typing import Protocol

from learnae.adapters.machine import Place
from learnae.adapters.outside import Outside


class Connections(Protocol):
    """The sections of a role's configuration that name other machines."""


def connect(config: Connections, place: Place) -> Outside:  # noqa: ARG001 - nothing crosses a border yet
    """Everything configured, not yet reachable perhaps; raises ConfigurationError.

    Nothing here waits for a network: a peer works alone until the first link is there.
    """
    return Outside()
